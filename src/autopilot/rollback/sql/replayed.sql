-- Tables as changes of rows have to know them: where they go, and where they come from.

-- name: identity
-- What kind of relation it is, and the columns by which changes tell its rows: none where nothing tells them, all with FULL.
SELECT c.relkind::text, c.relreplident::text, coalesce(k.names, '{}')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (
    SELECT pg_catalog.array_agg(a.attname::text ORDER BY u.n) AS names
    FROM pg_catalog.pg_index i, pg_catalog.unnest(i.indkey) WITH ORDINALITY u (attnum, n), pg_catalog.pg_attribute a
    WHERE i.indrelid = c.oid AND i.indimmediate AND i.indisvalid AND u.n <= i.indnkeyatts
      AND a.attrelid = c.oid AND a.attnum = u.attnum
      AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'f' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END
) k ON true
WHERE c.oid = %(oid)s::oid OR n.nspname = %(schema)s AND c.relname = %(name)s

-- name: tables
-- Tables by number and storage, with their columns.
SELECT n.nspname::text, c.relname::text, c.oid::bigint, coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::bigint,
       pg_catalog.array_agg(a.attnum::integer ORDER BY a.attnum) FILTER (WHERE a.attnum IS NOT NULL),
       pg_catalog.array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attnum IS NOT NULL)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
GROUP BY 1, 2, 3, 4

-- name: source
-- Columns as they are live, with what they are given where nobody says anything: their default, and that of older rows.
SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attgenerated <> '',
       CASE WHEN a.attgenerated = '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END,
       (a.attmissingval::text::text[])[1]
FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %(oid)s::oid AND a.attnum > 0 AND NOT a.attisdropped

-- name: spoken
-- Values are read as the slot tells them.
SELECT pg_catalog.set_config(name, value, true)
FROM (VALUES ('DateStyle', 'ISO, YMD'), ('IntervalStyle', 'postgres'), ('TimeZone', 'UTC'), ('bytea_output', 'hex'),
             ('extra_float_digits', '1')) AS s (name, value)

-- name: untold
-- Tables of which a slot tells nothing.
SELECT n.nspname::text || '.' || c.relname::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'u' AND n.nspname <> ALL (%(never)s::text[]) AND n.nspname !~ '^pg_'
ORDER BY 1
