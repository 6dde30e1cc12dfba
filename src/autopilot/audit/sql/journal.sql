-- What a run writes about itself.

-- name: open_run
INSERT INTO automation.runs (run_id, commit_sha, triggered_by, host, tool_version) VALUES (%s, %s, %s, %s, %s)

-- name: nothing_to_do
INSERT INTO automation.runs (run_id, commit_sha, triggered_by, host, tool_version, state, finished_at)
VALUES (%s, %s, %s, %s, %s, 'nothing_to_do', clock_timestamp())

-- name: at_rest
SELECT NOT EXISTS (SELECT FROM automation.runs WHERE state = 'running')
   AND NOT EXISTS (SELECT FROM automation.migration_log WHERE status = 'pending')
   AND NOT EXISTS (SELECT FROM automation.deployment_log WHERE status IN ('triggered', 'building'))

-- name: runs_among
SELECT run_id FROM automation.runs WHERE run_id = ANY (%s)

-- name: close_run
UPDATE automation.runs SET state = %s, notes = %s, finished_at = clock_timestamp() WHERE run_id = %s AND state = 'running'

-- name: left_open
-- Runs that wrote no end, and those whose pending row nobody saw written.
SELECT r.run_id, r.commit_sha, r.triggered_by, r.state <> 'running', m.id, coalesce(m.versions, '{}'), m.backup_file
FROM automation.runs r LEFT JOIN automation.migration_log m ON m.run_id = r.run_id AND m.status = 'pending'
WHERE r.run_id <> %s AND (r.state = 'running' OR m.id IS NOT NULL) ORDER BY r.started_at

-- name: migration_begun
INSERT INTO automation.migration_log (commit_sha, status, notes, backup_file, triggered_by, run_id, versions, after_deploy)
VALUES (%s, 'pending', %s, %s, %s, %s, %s, %s) RETURNING id

-- name: migration_ended
UPDATE automation.migration_log
SET status = %s, notes = %s, duration_ms = coalesce(%s, duration_ms), error_message = %s
WHERE id = %s AND status = 'pending'

-- name: migration_refused
-- A pending row of this run may be there although the answer to it was lost: then that is the one.
WITH begun AS (
    UPDATE automation.migration_log
    SET status = 'failure', notes = %(notes)s, duration_ms = %(duration_ms)s, error_message = %(error)s
    WHERE run_id = %(run_id)s AND status = 'pending' RETURNING id
)
INSERT INTO automation.migration_log
    (commit_sha, status, notes, backup_file, duration_ms, error_message, triggered_by, run_id, versions)
SELECT %(commit_sha)s::text, 'failure', %(notes)s::text, %(backup_file)s::text, %(duration_ms)s::integer, %(error)s::text,
       %(triggered_by)s::text, %(run_id)s::text, %(versions)s::text[]
WHERE NOT EXISTS (SELECT FROM begun)

-- name: edit_accepted
INSERT INTO automation.migration_log (commit_sha, status, notes, duration_ms, triggered_by, run_id, versions)
VALUES (%s, 'success', %s, 0, %s, %s, %s)

-- name: repaired
-- Owes no deploy, and so is none that a later run makes up for.
INSERT INTO automation.migration_log (commit_sha, status, notes, backup_file, duration_ms, triggered_by, run_id, versions, after_deploy)
VALUES (%s, 'success', %s, %s, %s, %s, %s, '{}', true) RETURNING id

-- name: deployment_intended
INSERT INTO automation.deployment_log (platform, status, url, notes, migration_log_id, run_id, commit_sha)
VALUES (%s, 'triggered', %s, 'asking the host', %s, %s, %s) RETURNING id

-- name: deployment_moved
UPDATE automation.deployment_log
SET status = %(status)s, notes = %(notes)s, deploy_id = coalesce(%(deploy_id)s, deploy_id),
    finished_at = CASE WHEN %(status)s IN ('success', 'failed') THEN clock_timestamp() END
WHERE id = %(id)s

-- name: deploys_so_far
SELECT id, deployed_at, platform, deploy_id, status, commit_sha, notes
FROM automation.deployment_log ORDER BY deployed_at DESC, id DESC LIMIT 200

-- name: deploy_intended_since
SELECT min(d.deployed_at) FROM automation.deployment_log d JOIN automation.runs r USING (run_id)
WHERE d.commit_sha = %(commit_sha)s AND d.status = 'failed' AND r.state IN ('abandoned', 'stopped')
  AND NOT EXISTS (SELECT FROM automation.deployment_log later WHERE later.status = 'success' AND later.id > d.id)

-- name: deployments_left_open
SELECT d.id FROM automation.deployment_log d JOIN automation.runs r USING (run_id)
WHERE d.status IN ('triggered', 'building') AND r.state <> 'running' ORDER BY d.id

-- name: deploy_owed
-- The newest applied migration, when its run died or was stranded before a deploy was proven and none has been since.
SELECT m.id
FROM (SELECT * FROM automation.migration_log l WHERE status = 'success' AND NOT after_deploy
      AND NOT EXISTS (SELECT FROM automation.ways_back w WHERE w.migration_log_id = l.id AND w.undone_at IS NOT NULL)
      ORDER BY id DESC LIMIT 1) AS m
JOIN automation.runs r USING (run_id)
WHERE r.state IN ('abandoned', 'stranded', 'stopped')
  AND NOT EXISTS (SELECT FROM automation.deployment_log d
                  WHERE d.status = 'success' AND (d.migration_log_id = m.id OR d.deployed_at > m.ran_at))
  AND NOT EXISTS (SELECT FROM automation.runs later WHERE later.state = 'released' AND later.started_at > r.started_at)

-- name: health_seen
INSERT INTO automation.health_log (status, response_time_ms, checks, notes, run_id) VALUES (%s, %s, %s, %s, %s)

-- name: restore_tested
INSERT INTO automation.restore_tests
    (backup_file, sha256, status, restore_ms, size_bytes, seconds_per_gib, server_version, run_id, notes)
VALUES (%(backup_file)s, %(sha256)s, CASE WHEN %(restore_ms)s::integer IS NULL THEN 'failure' ELSE 'success' END,
        %(restore_ms)s, %(size_bytes)s, round(%(restore_ms)s / 1000.0 / (greatest(1, %(size_bytes)s) / 1073741824.0), 1),
        %(server_version)s, %(run_id)s, %(notes)s)

-- name: rehearsed
INSERT INTO automation.rehearsed_files (run_id, version, file, sha256, copy, duration_ms, predicted_ms, blocked, statements)
SELECT %(run_id)s, f.version, f.file, f.sha256, %(copy)s, f.duration_ms, f.predicted_ms, f.blocked, f.statements
FROM pg_catalog.jsonb_to_recordset(%(files)s) AS f (version text, file text, sha256 text, duration_ms numeric,
                                                    predicted_ms numeric, blocked jsonb, statements jsonb)

-- name: restore_point_made
INSERT INTO automation.restore_points (made_at, provider, name, run_id, how_back, details) VALUES (%s, %s, %s, %s, %s, %s)
