-- What is ready beside the live data, and what of it is filled anew once it is live.

-- name: calling_views
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid
WHERE c.relkind = 'm' AND c.relispopulated AND n.nspname = ANY (%(schemas)s::text[])
  AND EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid
              WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_catalog.pg_proc'::regclass
                AND p.pronamespace <> 'pg_catalog'::regnamespace)
ORDER BY c.oid

-- name: filled_views
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND c.relispopulated AND n.nspname = ANY (%(schemas)s::text[])
ORDER BY c.oid

-- name: naming_columns
SELECT n.nspname::text, c.relname::text, a.attname::text, pg_catalog.format_type(a.atttypid, NULL)
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname = ANY (%(schemas)s::text[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  AND a.atttypid = ANY ('{regclass,regtype,regproc,regprocedure,regoper,regoperator}'::regtype[])
ORDER BY c.oid, a.attnum

-- name: left
SELECT n.nspname::text, pg_catalog.obj_description(n.oid, 'pg_namespace')
FROM pg_catalog.pg_namespace n
WHERE pg_catalog.starts_with(pg_catalog.obj_description(n.oid, 'pg_namespace'), 'Autopilot staging {')
  AND pg_catalog.pg_has_role(n.nspowner, 'USAGE') AND n.nspname ~ '__r_[0-9a-f]+$'
ORDER BY 1

-- name: ranges
SELECT t.typname::text FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype = 'r' AND n.nspname = ANY (%(schemas)s::text[]) ORDER BY 1
