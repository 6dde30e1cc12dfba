-- Who wrote the rows that are there, by transaction numbers.

-- name: tables
-- Tables with rows of their own that are the application's, and that we may read; never what lies in quarantine.
SELECT c.oid::bigint, n.nspname::text, c.relname::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> ALL (%(never)s) AND n.nspname !~ '^pg_|__[qr]_[0-9a-f]{8}$'
  AND n.nspname <> 'information_schema' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
  AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 2, 3

-- name: rows
-- Rows written by later transactions than `after`, and by those in `by`.
SELECT count(*) FILTER (WHERE pg_catalog.age(xmin) >= 0 AND pg_catalog.age(xmin) < pg_catalog.age(%(after)s::text::pg_catalog.xid)),
       count(*) FILTER (WHERE xmin::text = ANY (%(by)s::text[]))
FROM ONLY {table}
