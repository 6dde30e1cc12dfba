-- name: types
-- The types of a table of ours, by column as it is quoted in SQL.
SELECT pg_catalog.jsonb_object_agg('"' || pg_catalog.replace(a.attname, '"', '""') || '"', pg_catalog.format_type(a.atttypid, a.atttypmod))::text
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'autopilot_trash'::pg_catalog.regnamespace AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped

-- name: made_here
-- Whether all these columns were made, or last altered, in this very transaction: a row that is seen and whose transaction is
-- still under way is our own.
SELECT pg_catalog.bool_and(
    pg_catalog.pg_xact_status(
        ((pg_catalog.pg_current_xact_id()::text::bigint >> 32 << 32) | a.xmin::text::bigint)::text::pg_catalog.xid8) = 'in progress')
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = %(oid)s::pg_catalog.oid AND a.attname = ANY (%(names)s::text[]) AND NOT a.attisdropped
