-- What tables hold, whatever the order of their columns.

-- name: tables
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname),
       coalesce((SELECT pg_catalog.string_agg(pg_catalog.format('%%I', a.attname), ', ' ORDER BY a.attname)
                 FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL (%(left_out)s::text[])
  AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
ORDER BY 1
