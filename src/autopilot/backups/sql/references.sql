-- What the audit trail says of backups that may still be needed.

-- name: who
SELECT current_database(), (SELECT oid::bigint FROM pg_catalog.pg_database WHERE datname = current_database())

-- name: unconfirmed
-- Runs without a final end, unless a later one was released: its backup is the way back by now.
SELECT r.run_id, m.backup_file
FROM automation.runs r LEFT JOIN automation.migration_log m USING (run_id)
WHERE m.status = 'pending'
   OR (r.state IN ('running', 'stranded', 'abandoned', 'stopped')
       AND NOT EXISTS (SELECT FROM automation.runs later WHERE later.state = 'released' AND later.started_at > r.started_at))

-- name: last_attempt
-- A release that failed before it had a backup.
SELECT ran_at FROM automation.migration_log m
WHERE status = 'failure' AND backup_file IS NULL
  AND NOT EXISTS (SELECT FROM automation.migration_log later WHERE later.id > m.id AND later.backup_file IS NOT NULL)
ORDER BY id DESC LIMIT 1

-- name: counts_restores
SELECT to_regclass('automation.restore_tests') IS NOT NULL

-- name: restored
SELECT DISTINCT backup_file FROM automation.restore_tests WHERE status = 'success'
