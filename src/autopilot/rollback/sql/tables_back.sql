-- name: taken
-- Which of the names that a table needs to come back are somebody else's by now, or have no schema to be in.
SELECT coalesce(x.value ->> 'schema', '') AS schema, x.value ->> 'name',
       pg_catalog.to_regnamespace(pg_catalog.quote_ident(x.value ->> 'schema')) IS NULL
FROM pg_catalog.jsonb_array_elements(%s::jsonb) x
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = x.value ->> 'schema'
WHERE n.oid IS NULL
   OR x.value ->> 'word' <> 'STATISTICS' AND (
       EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relname = x.value ->> 'name')
       OR x.value ->> 'word' = 'TABLE'
          AND EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.typnamespace = n.oid AND t.typname = x.value ->> 'name'))
   OR x.value ->> 'word' = 'STATISTICS'
      AND EXISTS (SELECT FROM pg_catalog.pg_statistic_ext s WHERE s.stxnamespace = n.oid AND s.stxname = x.value ->> 'name')
ORDER BY (x.value ->> 'word' = 'TABLE') DESC, 1, 2

-- name: names_now
-- Where the moved things are now: after the table itself is back its indexes and sequences are with it.
SELECT x.value ->> 'word', n.nspname, c.relname, x.value ->> 'schema', x.value ->> 'name'
FROM pg_catalog.jsonb_array_elements(%(names)s::jsonb) x
JOIN pg_catalog.pg_class c ON c.oid = (x.value ->> 'oid')::bigint::pg_catalog.oid AND x.value ->> 'word' <> 'STATISTICS'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
UNION ALL
SELECT x.value ->> 'word', n.nspname, s.stxname, x.value ->> 'schema', x.value ->> 'name'
FROM pg_catalog.jsonb_array_elements(%(names)s::jsonb) x
JOIN pg_catalog.pg_statistic_ext s ON s.oid = (x.value ->> 'oid')::bigint::pg_catalog.oid AND x.value ->> 'word' = 'STATISTICS'
JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace

-- name: called_now
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname), n.nspname = 'autopilot_trash'
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s::pg_catalog.oid

-- name: comment
SELECT pg_catalog.obj_description(pg_catalog.to_regclass(%s), 'pg_class')

-- name: has_key
SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = %s::pg_catalog.oid AND conname = %s)
