-- name: link_of_customer
SELECT stripe_customer_id FROM customer_links WHERE customer = %s;

-- name: customer_of_link
SELECT customer FROM customer_links WHERE stripe_customer_id = %s;

-- name: add_link
-- Adds nothing where the customer or the Stripe customer is linked by now.
INSERT INTO customer_links (customer, stripe_customer_id, test_clock_id, linked_at)
VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING;

-- name: mark_customer_due
-- A customer's usage from before becomes due.
INSERT INTO report_due (customer, meter_key, mark)
SELECT %(customer)s, meters.key, nextval('due_marks') FROM meters
WHERE EXISTS (
    SELECT FROM selections JOIN usage_rollups ON usage_rollups.selection_id = selections.id
    WHERE selections.definition::json ->> 'event_type' = meters.event_type
        AND usage_rollups.customer = %(customer)s
)
ORDER BY meters.key
ON CONFLICT (customer, meter_key) DO UPDATE SET mark = excluded.mark;

-- name: find_link
SELECT customer, stripe_customer_id, test_clock_id FROM customer_links WHERE customer = %s;

-- name: links
SELECT customer, stripe_customer_id, test_clock_id FROM customer_links ORDER BY customer;
