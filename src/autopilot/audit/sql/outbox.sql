-- Notices that are written, told and given up.

-- name: known
SELECT to_regclass('automation.outbox_deliveries') IS NOT NULL

-- name: open_page
-- The page that is open about this, or a new one; it gets graver, never less grave.
INSERT INTO automation.pages AS p (page, environment, about, severity, headline, opened_by)
VALUES (%(page)s, %(environment)s, %(about)s, %(severity)s, %(headline)s, %(run_id)s)
ON CONFLICT (environment, about) WHERE resolved_at IS NULL DO UPDATE
SET severity = CASE WHEN excluded.severity = 'critical' THEN 'critical' ELSE p.severity END
RETURNING page

-- name: resolve_page
UPDATE automation.pages SET resolved_at = clock_timestamp(), resolved_by = %(by)s
WHERE environment = %(environment)s AND about = %(about)s AND resolved_at IS NULL
RETURNING page, headline

-- name: page_of
SELECT page FROM automation.outbox WHERE key = %s

-- name: write
INSERT INTO automation.outbox (key, run_id, environment, action, severity, about, page, notice, written_at)
VALUES (%(key)s, %(run_id)s, %(environment)s, %(action)s, %(severity)s, %(about)s, %(page)s, %(notice)s, %(written_at)s)
ON CONFLICT (key) DO NOTHING RETURNING id

-- name: withdraw
-- What no channel was told yet is taken back, with the page that it alone opened.
WITH gone AS (
    DELETE FROM automation.outbox o WHERE key = %(key)s AND NOT EXISTS (
        SELECT FROM automation.outbox_deliveries d WHERE d.outbox_id = o.id AND (d.state <> 'waiting' OR d.tries > 0))
    RETURNING o.key, o.page
)
DELETE FROM automation.pages p USING gone
WHERE p.page = gone.page AND NOT EXISTS (SELECT FROM automation.outbox o WHERE o.page = gone.page AND o.key <> gone.key)

-- name: to_channels
INSERT INTO automation.outbox_deliveries AS d (outbox_id, channel, state, tries, not_before, held_by, moved_at, answer)
SELECT o.id, x.channel, x.state, x.tries, x.not_before, x.held_by, x.moved_at, x.answer
FROM automation.outbox o, pg_catalog.jsonb_to_recordset(%(deliveries)s) AS x (
    channel text, state text, tries integer, not_before timestamptz, held_by text, moved_at timestamptz, answer text)
WHERE o.key = %(key)s
ON CONFLICT (outbox_id, channel) DO UPDATE
SET state = excluded.state, tries = greatest(d.tries, excluded.tries), moved_at = excluded.moved_at, answer = excluded.answer
WHERE d.state = 'waiting' AND excluded.state <> 'waiting'

-- name: opened_at
-- Channels that were told of a page, or are to be.
SELECT DISTINCT d.channel FROM automation.outbox_deliveries d JOIN automation.outbox o ON o.id = d.outbox_id
WHERE o.page = %s AND o.action = 'open' AND d.state <> 'dead'

-- name: waiting
SELECT o.key, o.run_id, o.environment, o.action, o.severity, o.about, o.page, o.notice, o.written_at,
       d.channel, d.tries, d.not_before, d.held_by
FROM automation.outbox_deliveries d JOIN automation.outbox o ON o.id = d.outbox_id
WHERE d.state = 'waiting' ORDER BY o.written_at, o.id

-- name: any_waiting
SELECT EXISTS (SELECT FROM automation.outbox_deliveries WHERE state = 'waiting')

-- name: moved
UPDATE automation.outbox_deliveries d
SET state = %(state)s, tries = d.tries + 1, not_before = %(not_before)s, held_by = %(held_by)s, answer = %(answer)s,
    moved_at = clock_timestamp()
FROM automation.outbox o WHERE o.id = d.outbox_id AND o.key = ANY (%(keys)s) AND d.channel = %(channel)s AND d.state = 'waiting'

-- name: dead
SELECT o.key, o.written_at, d.channel, coalesce(d.answer, ''), o.notice ->> 'headline'
FROM automation.outbox_deliveries d JOIN automation.outbox o ON o.id = d.outbox_id
WHERE d.state = 'dead' ORDER BY o.id DESC LIMIT 20

-- name: revive
-- What was refused is to be tried again.
UPDATE automation.outbox_deliveries SET state = 'waiting', not_before = NULL, held_by = NULL WHERE state = 'dead'

-- name: open_pages
SELECT page, environment, about, severity, headline, opened_at, acked_at, acked_by, reminded_at
FROM automation.pages WHERE resolved_at IS NULL AND (%(environment)s::text IS NULL OR environment = %(environment)s::text)
ORDER BY opened_at

-- name: ack
UPDATE automation.pages SET acked_at = clock_timestamp(), acked_by = %(by)s
WHERE page = %(page)s AND resolved_at IS NULL AND acked_at IS NULL RETURNING page

-- name: remind
-- The pages that are due, each given to one run.
UPDATE automation.pages SET reminded_at = clock_timestamp()
WHERE environment = %(environment)s AND resolved_at IS NULL AND acked_at IS NULL AND severity = 'critical'
  AND coalesce(reminded_at, opened_at) < clock_timestamp() - make_interval(secs => %(every_s)s)
RETURNING page, environment, about, severity, headline, opened_at, acked_at, acked_by, reminded_at

-- name: take_turn
-- "autonote" in ASCII: one session at a time tells a database's notices.
SELECT pg_catalog.pg_try_advisory_lock(7022647215897146469)

-- name: give_turn
SELECT pg_catalog.pg_advisory_unlock(7022647215897146469)

-- name: prune
DELETE FROM automation.outbox o WHERE written_at < clock_timestamp() - interval '90 days'
AND NOT EXISTS (SELECT FROM automation.outbox_deliveries d WHERE d.outbox_id = o.id AND d.state = 'waiting')
AND NOT EXISTS (SELECT FROM automation.pages p WHERE p.page = o.page AND p.resolved_at IS NULL)
