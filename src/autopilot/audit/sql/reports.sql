-- What is read back from the audit trail.

-- name: exists
SELECT to_regclass('automation.schema_versions') IS NOT NULL

-- name: timeline
SELECT activity_at, kind, status, coalesce(summary, ''), commit_sha, run_id FROM automation.recent_activity
WHERE (%(since)s::timestamptz IS NULL OR activity_at > %(since)s::timestamptz)
LIMIT %(limit)s

-- name: last_run
SELECT run_id, started_at, finished_at, state, commit_sha, triggered_by, notes
FROM automation.runs ORDER BY started_at DESC LIMIT 1

-- name: open_incidents
SELECT open_incidents FROM automation.system_health_summary

-- name: migration_of
SELECT run_id, status, versions, backup_file FROM automation.migration_log
WHERE %(wanted)s::text IS NULL OR run_id = %(wanted)s::text OR backup_file = %(wanted)s::text
ORDER BY id DESC LIMIT 1

-- name: rehearsed
-- The newest rehearsal of each of those texts.
SELECT DISTINCT ON (sha256) sha256, rehearsed_at, predicted_ms::float8, blocked FROM automation.rehearsed_files
WHERE sha256 = ANY (%s)
ORDER BY sha256, rehearsed_at DESC

-- name: knows_rehearsals
SELECT to_regclass('automation.rehearsed_files') IS NOT NULL

-- name: knows_restore_tests
SELECT to_regclass('automation.restore_tests') IS NOT NULL

-- name: restore_tests
-- The newest of all, and the newest that went well.
(SELECT tested_at, backup_file, status, coalesce(notes, '') FROM automation.restore_tests ORDER BY tested_at DESC, id DESC LIMIT 1)
UNION ALL
(SELECT tested_at, backup_file, status, coalesce(notes, '') FROM automation.restore_tests WHERE status = 'success'
 ORDER BY tested_at DESC, id DESC LIMIT 1)

-- name: knows_restore_points
SELECT to_regclass('automation.restore_points') IS NOT NULL

-- name: restore_point
SELECT how_back FROM automation.restore_points WHERE name = %s
