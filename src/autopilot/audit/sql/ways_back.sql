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

-- name: transactions
-- The numbers of the transactions that applied those versions: their rows here were written in them.
SELECT xmin::text FROM automation.applied_migrations WHERE version = ANY (%(versions)s)
UNION SELECT xmin::text FROM automation.migration_segments WHERE version = ANY (%(versions)s) AND state = 'done'

-- name: first_after
-- A transaction right after the release: its row of the log was closed in it. Where a backup was put in place since, right after that:
-- what was written before lies in quarantine, and what is there bears the number of that restore.
SELECT xmin::text FROM automation.migration_log
WHERE id = greatest(%(id)s, (SELECT max(m.id) FROM automation.migration_log m JOIN automation.ways_back w ON w.migration_log_id = m.id
                             WHERE m.status = 'rollback' AND cardinality(w.versions) = 0))

-- name: ways_gone_since
-- Runs that went back on later releases, and what they put back is there: after the last restore.
SELECT DISTINCT run_id FROM automation.migration_log
WHERE status = 'rollback' AND id > greatest(%(id)s, (
    SELECT max(m.id) FROM automation.migration_log m JOIN automation.ways_back w ON w.migration_log_id = m.id
    WHERE m.status = 'rollback' AND cardinality(w.versions) = 0))
ORDER BY 1

-- name: rehearsed_rows
-- What the release wrote in its rehearsal, table by table (without its schema where that is public).
SELECT w ->> 'relation', sum((w ->> 'inserted')::bigint)::bigint, sum((w ->> 'updated')::bigint)::bigint, sum((w ->> 'deleted')::bigint)::bigint
FROM automation.rehearsed_files r, jsonb_array_elements(r.statements) s, jsonb_array_elements(s -> 'rows') w
WHERE r.run_id = %(run_id)s AND r.version = ANY (%(versions)s)
GROUP BY 1

-- name: rehearsed_emptied
SELECT DISTINCT e FROM automation.rehearsed_files r, jsonb_array_elements(r.statements) s, jsonb_array_elements_text(s -> 'rewrites') e
WHERE r.run_id = %(run_id)s AND r.version = ANY (%(versions)s) AND s ->> 'statement' ILIKE 'truncate%%'

-- name: undone_since
-- Runs that were in when a backup was taken, and were gone back on since.
SELECT DISTINCT w.run_id FROM automation.ways_back w JOIN automation.migration_log m ON m.id = w.migration_log_id
WHERE w.undone_at > %(at)s AND m.ran_at < %(at)s AND cardinality(w.versions) > 0 ORDER BY 1

-- name: applied_since
-- Versions that came after a backup by other ways than a release.
SELECT version FROM automation.applied_migrations WHERE finished_at > %s ORDER BY version

-- name: made_anew
-- Not a release: where its objects are since tables were put back from a backup. Older releases are undone by it.
INSERT INTO automation.ways_back
    (migration_log_id, run_id, kept_as, versions, before_snapshot, undone_at, undone_by, remade, notes)
VALUES (%(id)s, %(run_id)s, %(kept_as)s, '{}', '{}', clock_timestamp(), %(run_id)s, %(remade)s, %(notes)s)

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

-- name: last_recorded_id
SELECT migration_log_id FROM automation.ways_back
WHERE after_snapshot IS NOT NULL AND undone_at IS NULL ORDER BY migration_log_id DESC LIMIT 1

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

-- name: begun_before
SELECT EXISTS (SELECT FROM automation.migration_segments WHERE version = ANY (%s) AND run_id <> %s)

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
