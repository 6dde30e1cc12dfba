-- name: who
SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_database(), pg_catalog.pg_postmaster_start_time(),
       pg_catalog.pg_is_in_recovery(),
       pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')

-- name: system_identifier
SELECT system_identifier::text FROM pg_catalog.pg_control_system()

-- name: sees
SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE pid = %s AND application_name = %s)
