-- What people and dashboards read.

-- Health as changes, not as a row every five minutes.
CREATE VIEW automation.health_changes AS
SELECT id, checked_at, status, previous_status, response_time_ms, notes, run_id
FROM (SELECT h.*, lag(h.status) OVER (ORDER BY h.checked_at, h.id) AS previous_status FROM automation.health_log h) AS walked
WHERE previous_status IS DISTINCT FROM status;

CREATE VIEW automation.recent_activity AS
SELECT activity_at, kind, status, summary, commit_sha, run_id
FROM (
    SELECT ran_at AS activity_at,
           CASE status WHEN 'rollback' THEN 'rollback' ELSE 'migration' END AS kind,
           status,
           concat_ws(' — ', nullif(notes, ''), nullif(error_message, '')) AS summary,
           commit_sha, run_id, id
    FROM automation.migration_log
    UNION ALL
    SELECT checked_at, 'health', status,
           concat_ws(' — ', coalesce(previous_status, 'first look') || ' → ' || status, nullif(notes, '')),
           NULL, run_id, id
    FROM automation.health_changes
    UNION ALL
    SELECT deployed_at, 'deploy', status, concat_ws(' — ', platform, nullif(notes, '')), commit_sha, run_id, id
    FROM automation.deployment_log
) AS everything
ORDER BY activity_at DESC, kind, id DESC;

CREATE VIEW automation.dashboard_stats AS
SELECT h.uptime_24h, h.avg_response_time_24h, m.migrations_7d, m.failed_migrations_7d, m.rollbacks_7d,
       (SELECT max(checked_at) FROM automation.health_log) AS last_health_check,
       (SELECT max(ran_at) FROM automation.migration_log) AS last_migration
FROM (
    SELECT round(count(*) FILTER (WHERE status = 'healthy') * 100.0 / nullif(count(*), 0), 2) AS uptime_24h,
           round(avg(response_time_ms), 1) AS avg_response_time_24h
    FROM automation.health_log WHERE checked_at > now() - interval '24 hours'
) AS h, (
    SELECT count(*) AS migrations_7d,
           count(*) FILTER (WHERE status = 'failure') AS failed_migrations_7d,
           count(*) FILTER (WHERE status = 'rollback') AS rollbacks_7d
    FROM automation.migration_log WHERE ran_at > now() - interval '7 days'
) AS m;

CREATE VIEW automation.health_log_rollup AS
SELECT date_trunc('hour', checked_at) AS hour, count(*) AS checks,
       count(*) FILTER (WHERE status = 'healthy') AS healthy,
       count(*) FILTER (WHERE status = 'degraded') AS degraded,
       count(*) FILTER (WHERE status = 'unhealthy') AS unhealthy,
       round(avg(response_time_ms), 1) AS avg_response_time_ms,
       max(response_time_ms) AS max_response_time_ms
FROM automation.health_log GROUP BY 1 ORDER BY 1 DESC;

CREATE VIEW automation.health_log_daily AS
SELECT date_trunc('day', checked_at)::date AS day, count(*) AS checks,
       round(count(*) FILTER (WHERE status = 'healthy') * 100.0 / count(*), 2) AS uptime_percentage,
       round(avg(response_time_ms), 1) AS avg_response_time_ms,
       max(response_time_ms) AS max_response_time_ms
FROM automation.health_log GROUP BY 1 ORDER BY 1 DESC;

-- An incident: from the first bad look after a good one until the next good look.
CREATE VIEW automation.recent_incidents AS
SELECT id, checked_at AS started_at, status, notes,
       (SELECT min(g.checked_at) FROM automation.health_log g
        WHERE g.status = 'healthy' AND (g.checked_at, g.id) > (c.checked_at, c.id)) AS ended_at
FROM automation.health_changes c
WHERE status <> 'healthy' AND previous_status IS NOT DISTINCT FROM 'healthy' OR (status <> 'healthy' AND previous_status IS NULL)
ORDER BY checked_at DESC;

CREATE VIEW automation.system_health_summary AS
SELECT latest.status AS current_status, latest.checked_at AS last_health_check, latest.response_time_ms,
       (SELECT count(*) FROM automation.recent_incidents WHERE ended_at IS NULL) AS open_incidents,
       (SELECT status FROM automation.migration_log ORDER BY ran_at DESC, id DESC LIMIT 1) AS last_migration_status,
       (SELECT status FROM automation.deployment_log ORDER BY deployed_at DESC, id DESC LIMIT 1) AS last_deploy_status
FROM (SELECT 1) AS always
LEFT JOIN LATERAL (
    SELECT status, checked_at, response_time_ms FROM automation.health_log ORDER BY checked_at DESC, id DESC LIMIT 1
) AS latest ON true;
