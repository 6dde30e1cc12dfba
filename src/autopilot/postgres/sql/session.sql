-- Who and where we are, who holds the lock, what dead runs left.

-- name: look
SELECT current_database(), current_user::text,
       (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),
       pg_catalog.pg_is_in_recovery(),
       pg_catalog.current_setting('default_transaction_read_only')::boolean,
       pg_catalog.has_database_privilege(current_database(), 'CREATE'),
       EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name = 'client_connection_check_interval' AND context = 'user'),
       pg_catalog.current_setting('max_locks_per_transaction')::integer
       * (pg_catalog.current_setting('max_connections')::integer + pg_catalog.current_setting('max_prepared_transactions')::integer)

-- name: size
SELECT pg_catalog.pg_database_size(current_database())

-- name: take_lock
-- The server looks after the session: a run whose network fell silent must not keep the others out for hours.
SELECT pg_catalog.pg_try_advisory_lock(%s), pg_catalog.set_config('tcp_keepalives_idle', '10', false),
       pg_catalog.set_config('tcp_keepalives_interval', '5', false), pg_catalog.set_config('tcp_keepalives_count', '3', false)

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
