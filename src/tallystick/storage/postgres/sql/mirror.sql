-- name: lock_objects
-- Of two readings of one object the later one stays, in whatever order they are kept: whoever keeps
-- one waits for the other. In order, so that two never wait for each other; 256 locks at most.
SELECT pg_advisory_xact_lock(%(lock)s, place) FROM (
    SELECT DISTINCT hashtext(stripe_id) & 255 AS place
    FROM unnest(%(ids)s::text[]) AS stripe_id ORDER BY place
) AS in_order;

-- name: standing
SELECT as_of, read_at, body FROM mirror_objects WHERE stripe_id = %s;

-- name: keep_object
INSERT INTO mirror_objects (
    stripe_id, kind, stripe_customer_id, stripe_subscription_id, test_clock_id, is_open, body,
    api_version, as_of, read_at, run
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (stripe_id) DO UPDATE SET
    stripe_customer_id = COALESCE(excluded.stripe_customer_id, mirror_objects.stripe_customer_id),
    stripe_subscription_id =
        COALESCE(excluded.stripe_subscription_id, mirror_objects.stripe_subscription_id),
    test_clock_id = COALESCE(excluded.test_clock_id, mirror_objects.test_clock_id),
    is_open = excluded.is_open,
    body = excluded.body, api_version = excluded.api_version, as_of = excluded.as_of,
    read_at = excluded.read_at, run = GREATEST(mirror_objects.run, excluded.run);

-- name: seen_in_run
UPDATE mirror_objects SET run = GREATEST(run, %s) WHERE stripe_id = %s;

-- name: find_object
SELECT kind, stripe_id, body, api_version, as_of, read_at FROM mirror_objects WHERE stripe_id = %s;

-- name: objects
SELECT kind, stripe_id, body, api_version, as_of, read_at FROM mirror_objects
WHERE kind = %(kind)s AND stripe_id > %(after)s AND body IS NOT NULL
    AND (is_open OR NOT %(only_open)s::boolean)
    AND (%(unseen_in)s::bigint IS NULL OR run < %(unseen_in)s)
ORDER BY stripe_id LIMIT %(limit)s;

-- name: ids_of_customer
SELECT stripe_id FROM mirror_objects
WHERE stripe_customer_id = %s AND kind = %s AND body IS NOT NULL ORDER BY stripe_id;

-- name: ids_on_clock
SELECT stripe_id FROM mirror_objects
WHERE test_clock_id = %s AND kind = %s AND body IS NOT NULL ORDER BY stripe_id;

-- name: keep_prices
-- Those that are known like that are not touched, so that readings of many subscriptions to few
-- prices do not wait for each other.
INSERT INTO mirror_prices (stripe_price_id, stripe_meter_id, is_metered)
SELECT DISTINCT ON (stripe_price_id) stripe_price_id, stripe_meter_id, is_metered
FROM unnest(%(ids)s::text[], %(meters)s::text[], %(metered)s::boolean[])
    AS read (stripe_price_id, stripe_meter_id, is_metered)
WHERE NOT EXISTS (
    SELECT FROM mirror_prices AS known
    WHERE known.stripe_price_id = read.stripe_price_id AND known.is_metered = read.is_metered
        AND known.stripe_meter_id IS NOT DISTINCT FROM read.stripe_meter_id
)
ORDER BY stripe_price_id
ON CONFLICT (stripe_price_id) DO UPDATE SET
    stripe_meter_id = excluded.stripe_meter_id, is_metered = excluded.is_metered;

-- name: prices
SELECT stripe_price_id, stripe_meter_id, is_metered FROM mirror_prices;

-- name: present_items
SELECT stripe_item_id, stripe_price_id, period_start_at, period_end_at, read_since
FROM mirror_items WHERE stripe_subscription_id = %s;

-- name: keep_item
INSERT INTO mirror_items (
    stripe_item_id, stripe_subscription_id, stripe_customer_id, stripe_price_id, period_start_at,
    period_end_at, read_since, began_at, ended_at
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (stripe_item_id) DO UPDATE SET
    stripe_price_id = excluded.stripe_price_id, period_start_at = excluded.period_start_at,
    period_end_at = excluded.period_end_at, read_since = excluded.read_since,
    began_at = COALESCE(excluded.began_at, mirror_items.began_at),
    ended_at = COALESCE(excluded.ended_at, mirror_items.ended_at);

-- name: know_item
-- An event may tell of an item that was never read: it is there no more.
INSERT INTO mirror_items (
    stripe_item_id, stripe_subscription_id, stripe_customer_id, read_since
) VALUES (%s, %s, %s, %s)
ON CONFLICT (stripe_item_id) DO NOTHING;

-- name: keep_past
INSERT INTO item_pasts (
    source, stripe_item_id, at, is_change, before_price_id, before_start_at, before_end_at,
    after_price_id, after_start_at, after_end_at
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (stripe_item_id, source) DO NOTHING;

-- name: keep_billed
INSERT INTO item_billed (stripe_item_id, start_at, end_at, stripe_price_id) VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING;

-- name: mark_sorted_due
-- What was reported of customers may lie in other periods than it was made for; what is due may be
-- being reported at this moment. In one order, so that two never wait for each other.
INSERT INTO report_due (customer, meter_key, mark)
SELECT customer, meter_key, nextval('due_marks') FROM (
    SELECT customer, meter_key FROM customer_links JOIN report_totals USING (customer)
    WHERE stripe_customer_id = ANY(%(stripe_ids)s::text[])
    UNION
    SELECT customer, meter_key FROM customer_links JOIN report_due USING (customer)
    WHERE stripe_customer_id = ANY(%(stripe_ids)s::text[])
    ORDER BY customer, meter_key
) AS sorted
ON CONFLICT (customer, meter_key) DO UPDATE SET mark = excluded.mark, not_before = 0;

-- name: items_of_customer
SELECT stripe_item_id, stripe_subscription_id, stripe_price_id, period_start_at, period_end_at,
    read_since, began_at, ended_at
FROM mirror_items WHERE stripe_customer_id = %s ORDER BY stripe_item_id;

-- name: pasts_of_customer
SELECT item_pasts.stripe_item_id, at, is_change, before_price_id, before_start_at, before_end_at,
    after_price_id, after_start_at, after_end_at
FROM mirror_items JOIN item_pasts USING (stripe_item_id) WHERE stripe_customer_id = %s;

-- name: billed_of_customer
-- Only usage: a licence is billed ahead, for a period that may never come to be like that.
SELECT item_billed.stripe_item_id, start_at, end_at, item_billed.stripe_price_id
FROM mirror_items JOIN item_billed USING (stripe_item_id)
    JOIN mirror_prices ON mirror_prices.stripe_price_id = item_billed.stripe_price_id
WHERE stripe_customer_id = %s AND is_metered ORDER BY start_at;

-- name: sync_state
-- Until a full sync has ended, its beginning is where a sweep may stop.
SELECT run, CASE WHEN began_at IS NULL THEN newest_event ELSE began_event END, began_at, synced_at,
    swept_at, calls_max
FROM sync_state;

-- name: sync_to_begin
-- Locked: of two that begin at once, the second one finds a sync under way.
SELECT began_at FROM sync_state FOR UPDATE;

-- name: begin_sync
UPDATE sync_state SET
    run = run + 1, began_event = %(newest_event)s, began_at = %(now)s, calls_max = %(calls_max)s;

-- name: forget_steps
DELETE FROM sync_steps;

-- name: add_step
INSERT INTO sync_steps (place, kind, after_id, is_done, objects, calls)
VALUES (%s, %s, NULL, false, 0, 0);

-- name: allow_calls
UPDATE sync_state SET calls_max = %s;

-- name: steps
SELECT kind, after_id, is_done, objects, calls FROM sync_steps ORDER BY place;

-- name: advance
UPDATE sync_steps SET after_id = %s, is_done = %s, objects = %s, calls = %s WHERE kind = %s;

-- name: finish_sync
UPDATE sync_state SET
    newest_event = COALESCE(began_event, newest_event), began_at = NULL, synced_at = %(now)s;

-- name: finish_sweep
UPDATE sync_state SET newest_event = COALESCE(%(newest_event)s::text, newest_event), swept_at = %(now)s;

-- name: customer_read_at
SELECT read_at FROM customer_readings WHERE stripe_customer_id = %s;

-- name: customer_read
INSERT INTO customer_readings (stripe_customer_id, read_at) VALUES (%s, %s)
ON CONFLICT (stripe_customer_id) DO UPDATE SET read_at = excluded.read_at;
