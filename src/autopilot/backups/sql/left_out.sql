-- Which tables a big database's backup leaves without their rows.

-- name: tables
-- Tables with rows of their own, each with those it is a part of.
WITH RECURSIVE above (oid, ancestor) AS (
    SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits
    UNION SELECT a.oid, i.inhparent FROM above a JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.ancestor
)
SELECT n.nspname::text, c.relname::text, pg_catalog.pg_table_size(c.oid)::bigint,
       ARRAY(SELECT ARRAY[pn.nspname::text, p.relname::text] FROM above a JOIN pg_catalog.pg_class p ON p.oid = a.ancestor
             JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace WHERE a.oid = c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.objid = c.oid AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'e')
ORDER BY 1, 2

-- name: references
-- Foreign keys between tables: who refers to whom, and by which name.
SELECT n.nspname || '.' || c.relname, rn.nspname || '.' || r.relname, k.conname::text
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class r ON r.oid = k.confrelid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
WHERE k.contype = 'f'
ORDER BY 1, 3
