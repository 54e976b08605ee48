-- name: counted
-- A customer's events of one type in a period, with what they count for.
SELECT event.seq, received_at, source, event.id, type, customer, occurred_at, event.value,
    properties, is_history, correction.id IS NOT NULL, correction.value
FROM usage_events AS event LEFT JOIN LATERAL (
    SELECT id, value FROM event_corrections WHERE seq = event.seq ORDER BY id DESC LIMIT 1
) AS correction ON true
WHERE customer = %(customer)s AND type = %(type)s
    AND occurred_at >= %(from_at)s AND occurred_at < %(to_at)s;
