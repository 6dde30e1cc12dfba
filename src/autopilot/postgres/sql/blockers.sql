-- Who keeps a session waiting. Placeholders {} are filled with SQL literals.

-- name: blockers
SELECT a.pid, a.usename, a.application_name, a.state,
       coalesce(extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.query_start)), 0)::bigint,
       pg_catalog.left(pg_catalog.regexp_replace(a.query, '\s+', ' ', 'g'), 80)
FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids({})) AS blocking (pid) JOIN pg_catalog.pg_stat_activity a USING (pid)
ORDER BY a.xact_start LIMIT 5
