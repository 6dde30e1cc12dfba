-- Who and where we are, who holds the lock, what dead runs left.

-- name: look
SELECT current_database(), current_user::text,
       (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),
       pg_catalog.pg_is_in_recovery(),
       pg_catalog.current_setting('default_transaction_read_only')::boolean,
       pg_catalog.has_database_privilege(current_database(), 'CREATE'),
       pg_catalog.pg_database_size(current_database()),
       EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name = 'client_connection_check_interval' AND context = 'user')

-- name: take_lock
SELECT pg_catalog.pg_try_advisory_lock(%s)

-- name: is_held
SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks
WHERE locktype = 'advisory' AND granted AND classid = %s AND objid = %s AND pid = pg_catalog.pg_backend_pid()

-- name: holder
SELECT a.application_name, pg_catalog.to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())

-- name: alive
-- Working sessions of other runs.
SELECT pid, application_name, coalesce(state, '') <> 'idle' FROM pg_catalog.pg_stat_activity
WHERE datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid()
  AND pg_catalog.starts_with(application_name, %s)
  AND application_name <> (SELECT a.application_name FROM pg_catalog.pg_stat_activity a WHERE a.pid = pg_catalog.pg_backend_pid())
ORDER BY pid

-- name: blockers
SELECT a.pid, a.usename, a.application_name, a.state, extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.query_start)),
       pg_catalog.left(pg_catalog.regexp_replace(a.query, '\s+', ' ', 'g'), 80)
FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(%s)) AS blocking (pid) JOIN pg_catalog.pg_stat_activity a USING (pid)
ORDER BY a.xact_start LIMIT 5
