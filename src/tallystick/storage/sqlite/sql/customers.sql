-- name: link_of_customer
SELECT stripe_customer_id FROM customer_links WHERE customer = ?;

-- name: customer_of_link
SELECT customer FROM customer_links WHERE stripe_customer_id = ?;

-- name: add_link
-- Adds nothing where the customer or the Stripe customer is linked already.
INSERT INTO customer_links (customer, stripe_customer_id, test_clock_id, linked_at)
VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: mark_customer_due
-- A customer's usage from before the link becomes due with it.
INSERT INTO report_due (customer, meter_key, mark)
SELECT DISTINCT usage_spans.customer, meters.key, installation.due_mark
FROM installation CROSS JOIN usage_spans JOIN selections ON selections.id = usage_spans.selection_id
    JOIN meters ON meters.event_type = selections.definition ->> 'event_type'
WHERE usage_spans.customer = :customer
ON CONFLICT (customer, meter_key) DO UPDATE SET mark = excluded.mark;

-- name: next_mark
UPDATE installation SET due_mark = due_mark + 1;

-- name: find_link
SELECT customer, stripe_customer_id, test_clock_id FROM customer_links WHERE customer = ?;

-- name: links
SELECT customer, stripe_customer_id, test_clock_id FROM customer_links ORDER BY customer;
