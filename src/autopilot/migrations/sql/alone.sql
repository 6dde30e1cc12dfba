-- Intent, catalog and progress of statements that no transaction can hold.

-- name: progress
SELECT segment, state, before, sha256 FROM automation.migration_segments WHERE version = %s

-- name: begun
SELECT version, segment, state, before, sha256 FROM automation.migration_segments WHERE version = ANY (%s)

-- name: intend
INSERT INTO automation.migration_segments (version, segment, state, sha256, run_id, before)
VALUES (%s, %s, 'intent', %s, %s, %s)
ON CONFLICT (version, segment) DO UPDATE SET run_id = excluded.run_id, before = excluded.before

-- name: forget
DELETE FROM automation.migration_segments WHERE version = %s AND segment = %s AND state = 'intent'

-- name: table_and_indexes
SELECT to_regclass(%(table)s)::oid::bigint,
       coalesce(array_agg(i.indexrelid::bigint) FILTER (WHERE i.indexrelid IS NOT NULL), '{}'),
       (SELECT pg_catalog.format('%%I.%%I', n.nspname, t.relname) FROM pg_catalog.pg_class t
        JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace WHERE t.oid = to_regclass(%(table)s)),
       coalesce(array_agg(c.relname::text) FILTER (WHERE i.indexrelid IS NOT NULL), '{}')
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = to_regclass(%(table)s)

-- name: new_indexes
-- By number where the table is the very one, also after a rename; by name in a restored copy, where all numbers are others.
SELECT i.indexrelid::bigint, i.indisvalid, c.relname, pg_catalog.pg_get_indexdef(i.indexrelid)
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE CASE WHEN to_regclass(%(name)s) IS NULL OR to_regclass(%(name)s)::oid = %(table)s::oid
           THEN i.indrelid = %(table)s::oid AND i.indexrelid::bigint <> ALL (%(indexes)s::bigint[])
           ELSE i.indrelid = to_regclass(%(name)s) AND c.relname <> ALL (%(names)s::text[]) END

-- name: detach_pending
SELECT coalesce((pg_catalog.to_jsonb(h) ->> 'inhdetachpending')::boolean, false)
FROM pg_catalog.pg_inherits h WHERE h.inhrelid = to_regclass(%s) AND h.inhparent = to_regclass(%s)

-- name: index_name
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s::oid

-- name: invalid_index
SELECT i.indexrelid::regclass::text
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = to_regclass(%s) AND c.relname = %s AND NOT i.indisvalid

-- name: database_exists
SELECT count(*) FROM pg_catalog.pg_database WHERE datname = %s

-- name: relation_exists
SELECT count(to_regclass(%s))
