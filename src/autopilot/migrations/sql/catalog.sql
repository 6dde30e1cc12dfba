-- What the target's catalog says of things that a migration names.

-- name: there
SELECT name FROM pg_catalog.unnest(%s::text[]) AS wanted (name)
WHERE EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE wanted.name = n.nspname || '.' || c.relname
                 OR (wanted.name = c.relname AND (n.nspname = 'public' OR pg_catalog.pg_table_is_visible(c.oid))))
   OR EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
              WHERE wanted.name = n.nspname || '.' || p.proname || '()'
                 OR (wanted.name = p.proname || '()' AND (n.nspname = 'public' OR pg_catalog.pg_function_is_visible(p.oid))))

-- name: relations
SELECT c.oid::bigint, n.nspname::text, c.relname::text,
       pg_catalog.pg_relation_filenode(c.oid)::bigint
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'automation', 'supabase_migrations', 'autopilot_trash')

-- name: sizes
-- Of a table without its indexes; a partitioned one's is that of its partitions.
SELECT wanted.name, (SELECT coalesce(sum(pg_catalog.pg_table_size(part.oid)), 0)::bigint
                     FROM pg_catalog.pg_class part
                     WHERE part.oid = c.oid OR part.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(c.oid)))
FROM pg_catalog.unnest(%s::text[]) AS wanted (name)
JOIN pg_catalog.pg_class c ON c.relkind IN ('r', 'p', 'm')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 AND (wanted.name = n.nspname || '.' || c.relname
      OR (wanted.name = c.relname AND (n.nspname = 'public' OR pg_catalog.pg_table_is_visible(c.oid))))

-- name: resolved
-- What the session's own search_path finds, then what lies in public.
SELECT DISTINCT ON (wanted.name) wanted.name, n.nspname::text, c.relname::text
FROM pg_catalog.unnest(%s::text[]) AS wanted (name)
JOIN pg_catalog.pg_class c ON c.relkind IN ('r', 'p', 'f')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 AND (wanted.name = n.nspname || '.' || c.relname
      OR (wanted.name = c.relname AND (n.nspname = 'public' OR pg_catalog.pg_table_is_visible(c.oid))))
ORDER BY wanted.name, pg_catalog.pg_table_is_visible(c.oid) DESC

-- name: tables_in
SELECT n.nspname::text, c.relname::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname = ANY (%s) ORDER BY 1, 2
