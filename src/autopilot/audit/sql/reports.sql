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
