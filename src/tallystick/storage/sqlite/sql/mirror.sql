-- name: standing
SELECT as_of, read_at, body FROM mirror_objects WHERE stripe_id = ?;

-- name: keep_object
INSERT INTO mirror_objects (
    stripe_id, kind, stripe_customer_id, stripe_subscription_id, test_clock_id, is_open, body,
    api_version, as_of, read_at, run
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (stripe_id) DO UPDATE SET
    stripe_customer_id = COALESCE(excluded.stripe_customer_id, stripe_customer_id),
    stripe_subscription_id = COALESCE(excluded.stripe_subscription_id, stripe_subscription_id),
    test_clock_id = COALESCE(excluded.test_clock_id, test_clock_id), is_open = excluded.is_open,
    body = excluded.body, api_version = excluded.api_version, as_of = excluded.as_of,
    read_at = excluded.read_at, run = MAX(run, excluded.run);

-- name: seen_in_run
UPDATE mirror_objects SET run = MAX(run, ?) WHERE stripe_id = ?;

-- name: find_object
SELECT kind, stripe_id, body, api_version, as_of, read_at FROM mirror_objects WHERE stripe_id = ?;

-- name: objects
SELECT kind, stripe_id, body, api_version, as_of, read_at FROM mirror_objects
WHERE kind = :kind AND stripe_id > :after AND body IS NOT NULL
    AND (is_open = 1 OR NOT :only_open) AND (:unseen_in IS NULL OR run < :unseen_in)
ORDER BY stripe_id LIMIT :limit;

-- name: ids_of_customer
SELECT stripe_id FROM mirror_objects
WHERE stripe_customer_id = ? AND kind = ? AND body IS NOT NULL ORDER BY stripe_id;

-- name: ids_on_clock
SELECT stripe_id FROM mirror_objects
WHERE test_clock_id = ? AND kind = ? AND body IS NOT NULL ORDER BY stripe_id;

-- name: keep_price
INSERT INTO mirror_prices (stripe_price_id, stripe_meter_id, is_metered) VALUES (?, ?, ?)
ON CONFLICT (stripe_price_id) DO UPDATE SET
    stripe_meter_id = excluded.stripe_meter_id, is_metered = excluded.is_metered;

-- name: prices
SELECT stripe_price_id, stripe_meter_id, is_metered FROM mirror_prices;

-- name: present_items
SELECT stripe_item_id, stripe_price_id, period_start_at, period_end_at, read_since
FROM mirror_items WHERE stripe_subscription_id = ?;

-- name: keep_item
INSERT INTO mirror_items (
    stripe_item_id, stripe_subscription_id, stripe_customer_id, stripe_price_id, period_start_at,
    period_end_at, read_since, began_at, ended_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (stripe_item_id) DO UPDATE SET
    stripe_price_id = excluded.stripe_price_id, period_start_at = excluded.period_start_at,
    period_end_at = excluded.period_end_at, read_since = excluded.read_since,
    began_at = COALESCE(excluded.began_at, began_at),
    ended_at = COALESCE(excluded.ended_at, ended_at);

-- name: know_item
-- An event may tell of an item that was never read: it is there no more.
INSERT INTO mirror_items (
    stripe_item_id, stripe_subscription_id, stripe_customer_id, read_since
) VALUES (?, ?, ?, ?)
ON CONFLICT (stripe_item_id) DO NOTHING;

-- name: keep_past
INSERT INTO item_pasts (
    source, stripe_item_id, at, is_change, before_price_id, before_start_at, before_end_at,
    after_price_id, after_start_at, after_end_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (stripe_item_id, source) DO NOTHING;

-- name: keep_billed
INSERT INTO item_billed (stripe_item_id, start_at, end_at, stripe_price_id) VALUES (?, ?, ?, ?)
ON CONFLICT DO NOTHING;

-- name: next_mark
UPDATE installation SET due_mark = due_mark + 1;

-- name: mark_sorted_due
-- What was reported of a customer may lie in other periods than it was made for; what is due may be
-- being reported at this moment.
INSERT INTO report_due (customer, meter_key, mark)
SELECT customer, meter_key, due_mark FROM (
    SELECT customer, meter_key FROM customer_links JOIN report_totals USING (customer)
    WHERE stripe_customer_id = :stripe_id
    UNION
    SELECT customer, meter_key FROM customer_links JOIN report_due USING (customer)
    WHERE stripe_customer_id = :stripe_id
) CROSS JOIN installation WHERE true
ON CONFLICT (customer, meter_key) DO UPDATE SET mark = excluded.mark, not_before = 0;

-- name: items_of_customer
SELECT stripe_item_id, stripe_subscription_id, stripe_price_id, period_start_at, period_end_at,
    read_since, began_at, ended_at
FROM mirror_items WHERE stripe_customer_id = ? ORDER BY stripe_item_id;

-- name: pasts_of_customer
SELECT item_pasts.stripe_item_id, at, is_change, before_price_id, before_start_at, before_end_at,
    after_price_id, after_start_at, after_end_at
FROM mirror_items JOIN item_pasts USING (stripe_item_id) WHERE stripe_customer_id = ?;

-- name: billed_of_customer
-- Only usage: a licence is billed ahead, for a period that may never come to be like that.
SELECT item_billed.stripe_item_id, start_at, end_at, item_billed.stripe_price_id
FROM mirror_items JOIN item_billed USING (stripe_item_id)
    JOIN mirror_prices ON mirror_prices.stripe_price_id = item_billed.stripe_price_id
WHERE stripe_customer_id = ? AND is_metered = 1 ORDER BY start_at;

-- name: sync_state
-- Until a full sync has ended, its beginning is where a sweep may stop.
SELECT run, CASE WHEN began_at IS NULL THEN newest_event ELSE began_event END, began_at, synced_at,
    swept_at, calls_max
FROM sync_state;

-- name: sync_to_begin
SELECT began_at FROM sync_state;

-- name: begin_sync
UPDATE sync_state SET
    run = run + 1, began_event = :newest_event, began_at = :now, calls_max = :calls_max;

-- name: forget_steps
DELETE FROM sync_steps;

-- name: add_step
INSERT INTO sync_steps (place, kind, after_id, is_done, objects, calls) VALUES (?, ?, NULL, 0, 0, 0);

-- name: allow_calls
UPDATE sync_state SET calls_max = ?;

-- name: steps
SELECT kind, after_id, is_done, objects, calls FROM sync_steps ORDER BY place;

-- name: advance
UPDATE sync_steps SET after_id = ?, is_done = ?, objects = ?, calls = ? WHERE kind = ?;

-- name: finish_sync
UPDATE sync_state SET
    newest_event = COALESCE(began_event, newest_event), began_at = NULL, synced_at = :now;

-- name: finish_sweep
UPDATE sync_state SET newest_event = COALESCE(:newest_event, newest_event), swept_at = :now;

-- name: customer_read_at
SELECT read_at FROM customer_readings WHERE stripe_customer_id = ?;

-- name: customer_read
INSERT INTO customer_readings (stripe_customer_id, read_at) VALUES (?, ?)
ON CONFLICT (stripe_customer_id) DO UPDATE SET read_at = excluded.read_at;
