-- What stays and hangs on what moves. Read with an empty search_path; `classes` and `objects` together are what moves.

-- name: members
-- The moved objects with all their parts.
WITH RECURSIVE parts (class, object) AS (
    SELECT m.class::regclass::oid, m.object::oid FROM unnest(%(classes)s::text[], %(objects)s::bigint[]) AS m (class, object)
    UNION
    SELECT f.class, f.object FROM parts p CROSS JOIN LATERAL (
        SELECT 'pg_catalog.pg_class'::regclass::oid, i.indexrelid FROM pg_catalog.pg_index i WHERE i.indrelid = p.object AND p.class = 'pg_catalog.pg_class'::regclass
        UNION ALL SELECT 'pg_catalog.pg_type'::regclass::oid, t.oid FROM pg_catalog.pg_type t WHERE t.typrelid = p.object AND t.typrelid <> 0 AND p.class = 'pg_catalog.pg_class'::regclass
        UNION ALL SELECT 'pg_catalog.pg_constraint'::regclass::oid, k.oid FROM pg_catalog.pg_constraint k WHERE k.conrelid = p.object AND p.class = 'pg_catalog.pg_class'::regclass
        UNION ALL SELECT 'pg_catalog.pg_attrdef'::regclass::oid, d.oid FROM pg_catalog.pg_attrdef d WHERE d.adrelid = p.object AND p.class = 'pg_catalog.pg_class'::regclass
        UNION ALL SELECT 'pg_catalog.pg_trigger'::regclass::oid, t.oid FROM pg_catalog.pg_trigger t WHERE t.tgrelid = p.object AND p.class = 'pg_catalog.pg_class'::regclass
        UNION ALL SELECT 'pg_catalog.pg_policy'::regclass::oid, y.oid FROM pg_catalog.pg_policy y WHERE y.polrelid = p.object AND p.class = 'pg_catalog.pg_class'::regclass
        UNION ALL SELECT 'pg_catalog.pg_rewrite'::regclass::oid, r.oid FROM pg_catalog.pg_rewrite r WHERE r.ev_class = p.object AND p.class = 'pg_catalog.pg_class'::regclass
        UNION ALL SELECT 'pg_catalog.pg_publication_rel'::regclass::oid, r.oid FROM pg_catalog.pg_publication_rel r WHERE r.prrelid = p.object AND p.class = 'pg_catalog.pg_class'::regclass
        UNION ALL SELECT 'pg_catalog.pg_class'::regclass::oid, c.reltoastrelid FROM pg_catalog.pg_class c WHERE c.oid = p.object AND c.reltoastrelid <> 0 AND p.class = 'pg_catalog.pg_class'::regclass
        UNION ALL SELECT d.classid, d.objid FROM pg_catalog.pg_depend d
                  WHERE d.refclassid = p.class AND d.refobjid = p.object AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i') AND p.class = 'pg_catalog.pg_class'::regclass
        UNION ALL SELECT 'pg_catalog.pg_type'::regclass::oid, t.typarray FROM pg_catalog.pg_type t WHERE t.oid = p.object AND t.typarray <> 0 AND p.class = 'pg_catalog.pg_type'::regclass
        UNION ALL SELECT 'pg_catalog.pg_constraint'::regclass::oid, k.oid FROM pg_catalog.pg_constraint k WHERE k.contypid = p.object AND p.class = 'pg_catalog.pg_type'::regclass
        UNION ALL SELECT d.classid, d.objid FROM pg_catalog.pg_depend d
                  WHERE d.refclassid = p.class AND d.refobjid = p.object AND d.deptype = 'i' AND p.class = 'pg_catalog.pg_type'::regclass
                    AND d.classid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_type'::regclass, 'pg_catalog.pg_cast'::regclass)
    ) AS f (class, object)
)
SELECT class::bigint, object::bigint FROM parts

-- name: crossing
-- Each thing that stays, what it is in words, and what PostgreSQL calls its kind; the triggers of foreign keys are theirs.
WITH members AS MATERIALIZED (SELECT * FROM unnest(%(classes)s::oid[], %(objects)s::oid[]) AS m (class, object))
SELECT DISTINCT d.classid::regclass::text, d.objid::bigint, pg_catalog.pg_describe_object(d.classid, d.objid, 0)
FROM pg_catalog.pg_depend d JOIN members m ON m.class = d.refclassid AND m.object = d.refobjid
WHERE d.deptype IN ('n', 'a', 'i', 'P', 'S')
  AND NOT EXISTS (SELECT FROM members o WHERE o.class = d.classid AND o.object = d.objid)
  AND NOT (d.classid = 'pg_catalog.pg_trigger'::regclass AND EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.oid = d.objid AND t.tgisinternal))
  AND d.classid NOT IN ('pg_catalog.pg_cast'::regclass, 'pg_catalog.pg_amop'::regclass, 'pg_catalog.pg_amproc'::regclass)
ORDER BY 1, 3

-- name: triggers
SELECT t.oid::bigint, n.nspname::text, c.relname::text, t.tgname::text, pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled::text,
       t.tgconstraint <> 0, pg_catalog.pg_has_role(c.relowner, 'USAGE'), pg_catalog.has_table_privilege(c.oid, 'TRIGGER')
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE t.oid = ANY (%(oids)s::oid[]) AND t.tgparentid = 0 ORDER BY t.oid

-- name: policies
SELECT p.oid::bigint, n.nspname::text, c.relname::text, p.polname::text, pg_catalog.pg_get_expr(p.polqual, p.polrelid),
       pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)
FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE p.oid = ANY (%(oids)s::oid[]) ORDER BY p.oid

-- name: views
SELECT r.oid::bigint, n.nspname::text, c.relname::text, pg_catalog.pg_get_viewdef(c.oid), pg_catalog.pg_has_role(c.relowner, 'USAGE'),
       (SELECT pg_catalog.string_agg(o, ', ') FROM pg_catalog.unnest(c.reloptions) o),
       NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.atttypid = ANY (%(objects)s::oid[]))
FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE r.oid = ANY (%(oids)s::oid[]) AND r.rulename = '_RETURN' AND c.relkind = 'v' ORDER BY c.oid

-- name: keys
SELECT k.oid::bigint, n.nspname::text, c.relname::text, k.conname::text, pg_catalog.pg_get_constraintdef(k.oid),
       pg_catalog.pg_has_role(c.relowner, 'USAGE')
FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.oid = ANY (%(oids)s::oid[]) AND k.contype = 'f' AND k.conparentid = 0 ORDER BY k.oid

-- name: inherited_keys
SELECT k.oid::bigint FROM pg_catalog.pg_constraint k
WHERE k.oid = ANY (%(oids)s::oid[]) AND k.contype = 'f' AND k.conparentid <> 0

-- name: defaults
SELECT d.oid::bigint, n.nspname::text, c.relname::text, a.attname::text, pg_catalog.pg_get_expr(d.adbin, d.adrelid),
       pg_catalog.pg_has_role(c.relowner, 'USAGE')
FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_class c ON c.oid = d.adrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE d.oid = ANY (%(oids)s::oid[]) AND a.attgenerated = '' ORDER BY d.oid

-- name: functions
SELECT p.oid::bigint, pg_catalog.pg_get_functiondef(p.oid), pg_catalog.pg_has_role(p.proowner, 'USAGE')
FROM pg_catalog.pg_proc p
WHERE p.oid = ANY (%(oids)s::oid[]) AND p.prokind IN ('f', 'p')
  AND NOT p.prorettype = ANY (%(objects)s::oid[]) AND NOT coalesce(p.proallargtypes, p.proargtypes::oid[]) && %(objects)s::oid[]
ORDER BY p.oid

-- name: publications
-- Which publications name which of the tables.
SELECT b.pubname::text, pg_catalog.pg_has_role(b.pubowner, 'USAGE'), n.nspname::text, c.relname::text, NULL::text, NULL::text
FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication b ON b.oid = r.prpubid
JOIN pg_catalog.pg_class c ON c.oid = r.prrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (%(schemas)s::text[])
ORDER BY 1, 3, 4

-- name: publications_with_limits
-- The same from PostgreSQL 15 on, with the columns and rows that they are limited to.
SELECT b.pubname::text, pg_catalog.pg_has_role(b.pubowner, 'USAGE'), n.nspname::text, c.relname::text,
       (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum = ANY (r.prattrs::int2[])),
       pg_catalog.pg_get_expr(r.prqual, c.oid)
FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication b ON b.oid = r.prpubid
JOIN pg_catalog.pg_class c ON c.oid = r.prrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (%(schemas)s::text[])
ORDER BY 1, 3, 4
