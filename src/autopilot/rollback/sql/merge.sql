-- Rows of a backup beside the live ones.

-- name: ages
-- How old transactions are, in transactions: beyond two billion a row's xmin may be another's.
SELECT x.xid, pg_catalog.age(((x.xid::bigint & 4294967295)::text)::pg_catalog.xid) FROM pg_catalog.unnest(%(xids)s::text[]) AS x (xid)

-- name: keep
INSERT INTO autopilot_trash.kept (id, run_id, version, statement, what, how, schema_name, table_name, table_oid, kept_as, rows, bytes, expires_at, notes)
VALUES (%(id)s, %(run_id)s, '', 0, 'rows', 'conflicts', %(schema)s, %(table)s, %(oid)s, %(kept_as)s, %(rows)s,
        pg_catalog.pg_total_relation_size(%(place)s::regclass), pg_catalog.now() + pg_catalog.make_interval(days => %(keep_days)s), %(notes)s)

-- name: types
SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a
WHERE a.attrelid = %(table)s::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped
