-- What lies in quarantine.

-- name: listed
SELECT n.nspname::text, pg_catalog.obj_description(n.oid, 'pg_namespace'),
       (SELECT count(*) FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relkind = 'r')::int,
       coalesce((SELECT sum(pg_catalog.pg_total_relation_size(c.oid)) FROM pg_catalog.pg_class c
                 WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'm')), 0)::bigint
FROM pg_catalog.pg_namespace n
WHERE pg_catalog.starts_with(pg_catalog.obj_description(n.oid, 'pg_namespace'), 'Autopilot quarantine {')
  AND pg_catalog.pg_has_role(n.nspowner, 'USAGE')

-- name: tables
-- Tables as they are spoken of: partitioned ones and not their parts.
SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1
