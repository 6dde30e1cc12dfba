-- One moment of the database, for a dump and for comparing what a restore brought back.

-- name: moment
SELECT pg_catalog.pg_export_snapshot(), pg_catalog.current_database(),
       (SELECT oid::bigint FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()),
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL ELSE pg_catalog.pg_current_wal_lsn()::text END,
       current_user::text,
       (SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                          WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')),
       pg_catalog.pg_current_snapshot()::text

-- name: may_ask_identity
SELECT pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')

-- name: identity
SELECT system_identifier::text FROM pg_catalog.pg_control_system()

-- name: in_the_way
-- Who stands in the way of whoever only wants to read: those that hold a table exclusively, then those that queue for it.
SELECT c.oid::regclass::text, l.granted, a.pid, a.usename::text, a.application_name, a.state,
       extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.query_start))::bigint,
       pg_catalog.to_char(coalesce(a.xact_start, a.query_start) AT TIME ZONE 'UTC', 'HH24:MI:SS'),
       pg_catalog.upper(pg_catalog.substring(a.query, '^\s*([A-Za-z]{2,12})\M'))
FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_stat_activity a USING (pid)
JOIN pg_catalog.pg_class c ON c.oid = l.relation
WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND l.pid <> pg_catalog.pg_backend_pid()
ORDER BY l.granted DESC, a.xact_start, c.oid LIMIT 5
