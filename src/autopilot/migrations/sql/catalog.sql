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
SELECT c.oid::bigint FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'automation', 'supabase_migrations')

-- name: held
SELECT CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || c.relname, l.mode
FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_class c ON c.oid = l.relation
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE l.pid = %s AND l.locktype = 'relation' AND l.granted AND l.relation::bigint = ANY (%s) AND l.mode <> 'AccessShareLock'
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
ORDER BY 1, 2
