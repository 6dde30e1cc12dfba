-- A logical replication slot of ours. What it holds back (WAL, old catalog rows) it holds back for the whole server.

-- name: facts
SELECT pg_catalog.current_setting('wal_level'), r.rolsuper OR r.rolreplication,
       (SELECT count(*) FROM pg_catalog.pg_replication_slots) < pg_catalog.current_setting('max_replication_slots')::integer,
       pg_catalog.pg_is_in_recovery(), pg_catalog.pg_backend_pid()
FROM pg_catalog.pg_roles r WHERE r.rolname = current_user

-- name: settings
-- Values are told as the session that writes them reads them. An error here would end the slot.
SELECT pg_catalog.set_config(name, value, false)
FROM (VALUES ('search_path', ''), ('DateStyle', 'ISO, YMD'), ('IntervalStyle', 'postgres'), ('TimeZone', 'UTC'), ('bytea_output', 'hex'),
             ('extra_float_digits', '1'), ('xmloption', 'content'), ('synchronous_commit', 'on'), ('lock_timeout', '0'),
             ('tcp_keepalives_idle', '10'), ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3')) AS s (name, value)

-- name: create
SELECT pg_catalog.pg_create_logical_replication_slot(%s, 'test_decoding', %s)

-- name: standing
SELECT coalesce(wal_status, 'reserved') FROM pg_catalog.pg_replication_slots WHERE slot_name = %s

-- name: mark
SELECT pg_catalog.pg_logical_emit_message(true, %s, '')

-- name: changes
-- What is told of rows that we build aside is left out, and other people's messages, which may be no text at all.
SELECT xid::text, data
FROM pg_catalog.pg_logical_slot_get_changes(%(name)s, NULL, NULL, 'include-xids', '1', 'skip-empty-xacts', '1')
WHERE CASE WHEN pg_catalog.starts_with(data, 'message: ') THEN pg_catalog.starts_with(data, 'message: transactional: 1 prefix: autopilot:')
           ELSE %(without)s = '' OR NOT pg_catalog.starts_with(data, 'table ')
                OR pg_catalog.strpos(pg_catalog.split_part(data, '.', 1), %(without)s) = 0 END

-- name: drop
SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots
WHERE slot_name = %s AND (active_pid IS NULL OR active_pid = pg_catalog.pg_backend_pid())

-- name: left
SELECT slot_name::text, active_pid FROM pg_catalog.pg_replication_slots
WHERE slot_type = 'logical' AND database = pg_catalog.current_database() AND pg_catalog.starts_with(slot_name::text, 'autopilot_')
ORDER BY 1
