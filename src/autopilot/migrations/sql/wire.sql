-- Rows that travel in a migration's own message. Placeholders {} are filled with SQL literals.

-- name: fence
-- The ledger row, before the author's first statement.
INSERT INTO automation.applied_migrations
    (version, name, file, sha256, normalized_sha256, statements, segments, started_at, duration_ms,
     run_id, triggered_by, commit_sha, tool_version)
VALUES ({}, {}, {}, {}, {}, {}, {}, pg_catalog.clock_timestamp(), 0, {}, {}, {}, {})

-- name: segment_done
INSERT INTO automation.migration_segments (version, segment, state, sha256, run_id, finished_at)
VALUES ({}, {}, 'done', {}, {}, pg_catalog.clock_timestamp())
ON CONFLICT (version, segment) DO UPDATE SET state = 'done', finished_at = excluded.finished_at

-- name: ledger_finished
UPDATE automation.applied_migrations
SET finished_at = pg_catalog.clock_timestamp(),
    duration_ms = (extract(epoch FROM pg_catalog.clock_timestamp() - started_at) * 1000)::integer
WHERE version = {}

-- name: supabase_row
INSERT INTO supabase_migrations.schema_migrations (version, name, statements) VALUES ({}, {}, {}::text[])
