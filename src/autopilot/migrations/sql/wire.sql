-- Rows that travel in a migration's own message. Placeholders {} are filled with SQL literals.
-- What stands first and last answers with the transaction's id.

-- name: fence
-- The ledger row, before the author's first statement.
INSERT INTO automation.applied_migrations
    (version, name, file, sha256, normalized_sha256, statements, segments, started_at, duration_ms,
     run_id, triggered_by, commit_sha, tool_version, change, changes)
VALUES ({}, {}, {}, {}, {}, {}, {}, pg_catalog.clock_timestamp(), 0, {}, {}, {}, {}, {}, {}::text[])
RETURNING pg_catalog.pg_current_xact_id()::text

-- name: segment_done
INSERT INTO automation.migration_segments (version, segment, state, sha256, run_id, finished_at)
VALUES ({}, {}, 'done', {}, {}, pg_catalog.clock_timestamp())
ON CONFLICT (version, segment) DO UPDATE SET state = 'done', finished_at = excluded.finished_at
RETURNING pg_catalog.pg_current_xact_id()::text

-- name: ledger_finished
UPDATE automation.applied_migrations
SET finished_at = pg_catalog.clock_timestamp(),
    duration_ms = (extract(epoch FROM pg_catalog.clock_timestamp() - started_at) * 1000)::integer
WHERE version = {}
RETURNING pg_catalog.pg_current_xact_id()::text

-- name: supabase_row
INSERT INTO supabase_migrations.schema_migrations (version, name, statements) VALUES ({}, {}, {}::text[])
