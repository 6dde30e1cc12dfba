-- What releases left behind so that they can be undone.

-- name: begun
INSERT INTO automation.ways_back (migration_log_id, run_id, kept_as, versions, before_snapshot, proven, loses)
VALUES (%s, %s, %s, %s, %s::jsonb, %s, %s)

-- name: ended
UPDATE automation.ways_back SET after_snapshot = %s::jsonb WHERE migration_log_id = %s AND after_snapshot IS NULL

-- name: unended
-- Releases that are in and whose catalog nobody looked at afterwards; of the newest only can that be made up for.
SELECT w.migration_log_id
FROM automation.ways_back w JOIN automation.migration_log m ON m.id = w.migration_log_id
WHERE w.after_snapshot IS NULL AND m.status = 'success' AND w.undone_at IS NULL
  AND w.migration_log_id = (SELECT max(migration_log_id) FROM automation.ways_back)

-- name: releases
-- What can be undone, the newest first; of what failed only where some of it is in.
SELECT m.id, m.run_id, m.ran_at, m.versions, m.backup_file, w.kept_as, w.proven, coalesce(w.loses, '{}'),
       w.before_snapshot IS NOT NULL, w.after_snapshot IS NOT NULL, m.commit_sha, m.status = 'success'
FROM automation.migration_log m LEFT JOIN automation.ways_back w ON w.migration_log_id = m.id
WHERE w.undone_at IS NULL AND (m.status = 'success' OR (m.status = 'failure' AND w.migration_log_id IS NOT NULL AND (
  EXISTS (SELECT FROM automation.applied_migrations a WHERE a.run_id = m.run_id AND a.version = ANY (m.versions))
  OR EXISTS (SELECT FROM automation.migration_segments s WHERE s.run_id = m.run_id AND s.version = ANY (m.versions)))))
  AND m.versions && ARRAY(SELECT version FROM automation.applied_migrations UNION SELECT version FROM automation.migration_segments)
ORDER BY m.id DESC

-- name: known
SELECT to_regclass('automation.ways_back') IS NOT NULL

-- name: may_undo
-- Whether who asks may act as the role that releases run as.
SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'automation'

-- name: snapshots
SELECT before_snapshot::text, after_snapshot::text FROM automation.ways_back WHERE migration_log_id = %s

-- name: last_recorded
SELECT after_snapshot::text, taken_at, run_id FROM automation.ways_back
WHERE after_snapshot IS NOT NULL AND undone_at IS NULL ORDER BY migration_log_id DESC LIMIT 1

-- name: emptied
UPDATE automation.ways_back SET loses = loses || %s::text WHERE kept_as = %s AND undone_at IS NULL

-- name: went_back_at_once
UPDATE automation.runs SET state = 'rolled_back', notes = %s WHERE run_id = %s

-- name: undone
UPDATE automation.ways_back SET undone_at = clock_timestamp(), undone_by = %s, notes = %s, remade = %s WHERE migration_log_id = %s

-- name: remade
-- By later releases that are undone, in the order in which they were.
SELECT remade FROM automation.ways_back
WHERE migration_log_id > %s AND undone_at IS NOT NULL AND remade IS NOT NULL ORDER BY undone_at, migration_log_id DESC

-- name: rolled_back
INSERT INTO automation.migration_log (commit_sha, status, notes, backup_file, duration_ms, triggered_by, run_id, versions)
VALUES (%s, 'rollback', %s, %s, %s, %s, %s, %s) RETURNING id

-- name: forget_supabase
DELETE FROM supabase_migrations.schema_migrations WHERE version = ANY (%s)

-- name: forget_segments
DELETE FROM automation.migration_segments WHERE version = ANY (%s)

-- name: forget_ledger
DELETE FROM automation.applied_migrations WHERE version = ANY (%s)

-- name: prune
-- Snapshots older than the trash keeps what they speak of, but for the newest.
DELETE FROM automation.ways_back
WHERE taken_at < now() - make_interval(days => %s)
  AND migration_log_id < (SELECT max(migration_log_id) FROM automation.ways_back)

-- name: progress
SELECT coalesce(jsonb_agg(to_jsonb(s)), '[]')::text FROM automation.migration_segments s WHERE version = ANY (%s)

-- name: put_progress
INSERT INTO automation.migration_segments
SELECT * FROM jsonb_populate_recordset(NULL::automation.migration_segments, %s::jsonb)
