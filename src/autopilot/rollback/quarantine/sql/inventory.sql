-- What is there of the schemas that a backup will replace, and what of others hangs on it. Read with an empty search_path.

-- name: schemas
-- Schemas that are the role's to fill: never a platform's, never one of an extension, never a quarantine.
SELECT n.oid::bigint, n.nspname::text,
       EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = n.oid
                 AND EXISTS (SELECT FROM pg_catalog.pg_depend e
                             WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')),
       pg_catalog.pg_has_role(n.nspowner, 'USAGE')
FROM pg_catalog.pg_namespace n
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT n.nspname = ANY (%(never)s::text[])
  AND (pg_catalog.pg_has_role(n.nspowner, 'USAGE') OR n.nspname = 'public' AND pg_catalog.has_schema_privilege(n.oid, 'CREATE'))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
  AND coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace'), '') !~ '^Autopilot (quarantine|staging) \{'
ORDER BY 2

-- name: objects
-- What ALTER … SET SCHEMA moves by itself: what a table brings along (indexes, its sequences, its types) is not among it.
WITH ours AS (
    SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname = ANY (%(schemas)s::text[])
), found (class, object, schema, owner, word, level) AS (
    SELECT 'pg_catalog.pg_class'::regclass, c.oid, n.nspname, c.relowner,
           CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                          WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END,
           CASE WHEN c.relispartition THEN 1 ELSE 0 END
    FROM pg_catalog.pg_class c JOIN ours n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'c') AND c.relpersistence <> 't'
       OR c.relkind = 'S' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
            WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i'))
    UNION ALL
    SELECT 'pg_catalog.pg_type'::regclass, t.oid, n.nspname, t.typowner, 'TYPE', 0
    FROM pg_catalog.pg_type t JOIN ours n ON n.oid = t.typnamespace
    WHERE t.typtype IN ('e', 'd', 'b') AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.typarray = t.oid)
    UNION ALL
    SELECT 'pg_catalog.pg_proc'::regclass, p.oid, n.nspname, p.proowner, 'ROUTINE', 0
    FROM pg_catalog.pg_proc p JOIN ours n ON n.oid = p.pronamespace
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i')
    UNION ALL
    SELECT 'pg_catalog.pg_operator'::regclass, o.oid, n.nspname, o.oprowner, 'OPERATOR', 0
    FROM pg_catalog.pg_operator o JOIN ours n ON n.oid = o.oprnamespace
    UNION ALL
    SELECT 'pg_catalog.pg_opclass'::regclass, o.oid, n.nspname, o.opcowner, 'OPERATOR CLASS', 0
    FROM pg_catalog.pg_opclass o JOIN ours n ON n.oid = o.opcnamespace
    UNION ALL
    SELECT 'pg_catalog.pg_opfamily'::regclass, o.oid, n.nspname, o.opfowner, 'OPERATOR FAMILY', 0
    FROM pg_catalog.pg_opfamily o JOIN ours n ON n.oid = o.opfnamespace
    UNION ALL
    SELECT 'pg_catalog.pg_collation'::regclass, c.oid, n.nspname, c.collowner, 'COLLATION', 0
    FROM pg_catalog.pg_collation c JOIN ours n ON n.oid = c.collnamespace
    UNION ALL
    SELECT 'pg_catalog.pg_conversion'::regclass, c.oid, n.nspname, c.conowner, 'CONVERSION', 0
    FROM pg_catalog.pg_conversion c JOIN ours n ON n.oid = c.connamespace
    UNION ALL
    SELECT 'pg_catalog.pg_statistic_ext'::regclass, s.oid, n.nspname, s.stxowner, 'STATISTICS', 0
    FROM pg_catalog.pg_statistic_ext s JOIN ours n ON n.oid = s.stxnamespace
    UNION ALL
    SELECT 'pg_catalog.pg_ts_dict'::regclass, d.oid, n.nspname, d.dictowner, 'TEXT SEARCH DICTIONARY', 0
    FROM pg_catalog.pg_ts_dict d JOIN ours n ON n.oid = d.dictnamespace
    UNION ALL
    SELECT 'pg_catalog.pg_ts_config'::regclass, c.oid, n.nspname, c.cfgowner, 'TEXT SEARCH CONFIGURATION', 0
    FROM pg_catalog.pg_ts_config c JOIN ours n ON n.oid = c.cfgnamespace
)
SELECT f.class::text, f.object::bigint, f.schema::text, f.word, i.identity, pg_catalog.pg_has_role(f.owner, 'USAGE'),
       f.word = 'TABLE' OR f.word = 'FOREIGN TABLE', f.level
FROM found f CROSS JOIN LATERAL pg_catalog.pg_identify_object(f.class, f.object, 0) i
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = f.class AND d.objid = f.object AND d.deptype = 'e')
ORDER BY f.level, f.schema, i.identity

-- name: brought
-- Names that extensions brought into the schemas: they stay.
SELECT DISTINCT n.nspname::text, coalesce(c.relname, t.typname, p.proname, o.oprname, k.opcname, m.opfname, l.collname, s.cfgname, y.dictname)::text
FROM pg_catalog.pg_depend d
LEFT JOIN pg_catalog.pg_class c ON d.classid = 'pg_catalog.pg_class'::regclass AND c.oid = d.objid
LEFT JOIN pg_catalog.pg_type t ON d.classid = 'pg_catalog.pg_type'::regclass AND t.oid = d.objid
LEFT JOIN pg_catalog.pg_proc p ON d.classid = 'pg_catalog.pg_proc'::regclass AND p.oid = d.objid
LEFT JOIN pg_catalog.pg_operator o ON d.classid = 'pg_catalog.pg_operator'::regclass AND o.oid = d.objid
LEFT JOIN pg_catalog.pg_opclass k ON d.classid = 'pg_catalog.pg_opclass'::regclass AND k.oid = d.objid
LEFT JOIN pg_catalog.pg_opfamily m ON d.classid = 'pg_catalog.pg_opfamily'::regclass AND m.oid = d.objid
LEFT JOIN pg_catalog.pg_collation l ON d.classid = 'pg_catalog.pg_collation'::regclass AND l.oid = d.objid
LEFT JOIN pg_catalog.pg_ts_config s ON d.classid = 'pg_catalog.pg_ts_config'::regclass AND s.oid = d.objid
LEFT JOIN pg_catalog.pg_ts_dict y ON d.classid = 'pg_catalog.pg_ts_dict'::regclass AND y.oid = d.objid
JOIN pg_catalog.pg_namespace n ON n.oid = coalesce(c.relnamespace, t.typnamespace, p.pronamespace, o.oprnamespace, k.opcnamespace,
                                                  m.opfnamespace, l.collnamespace, s.cfgnamespace, y.dictnamespace)
WHERE d.deptype = 'e' AND n.nspname = ANY (%(schemas)s::text[])

-- name: foreign
-- Relations that belong to others and to no extension, and ranges, whose constructors belong to the server's first superuser
-- whoever made the type: they stay, and nothing that the backup has of them is run.
SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (%(schemas)s::text[]) AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't'
  AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
UNION
SELECT n.nspname::text, t.typname::text FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname = ANY (%(schemas)s::text[]) AND t.typtype IN ('r', 'm')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')

-- name: counted
-- Locks that replacing everything takes: each relation, routine and type once aside and once anew.
SELECT (SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = ANY (%(schemas)s::text[]) AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'i', 'I'))
     + (SELECT count(*) FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = ANY (%(schemas)s::text[])
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'))
     + (SELECT count(*) FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
        WHERE n.nspname = ANY (%(schemas)s::text[]) AND t.typtype IN ('e', 'd', 'r')),
       coalesce((SELECT sum(pg_catalog.pg_table_size(c.oid) + pg_catalog.pg_indexes_size(c.oid))
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = ANY (%(schemas)s::text[]) AND c.relkind IN ('r', 'm')), 0)::bigint,
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
       pg_catalog.current_setting('max_locks_per_transaction')::int,
       pg_catalog.current_setting('max_connections')::int + pg_catalog.current_setting('max_prepared_transactions')::int

-- name: sequences
-- Every sequence, its step, and where it stands; the last value and whether it was given out are the sequence's own to tell.
SELECT n.nspname::text, c.relname::text, s.seqincrement > 0
FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (%(schemas)s::text[]) AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
ORDER BY 1, 2

-- name: columns
-- Columns that rows can be copied into, in order.
SELECT a.attname::text FROM pg_catalog.pg_attribute a
WHERE a.attrelid = pg_catalog.to_regclass(%(table)s) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum

-- name: default_rights
-- What new objects of this role's get in the schemas, or anywhere.
SELECT d.oid::bigint, coalesce(n.nspname::text, ''), d.defaclobjtype::text,
       ARRAY(SELECT ARRAY[CASE WHEN a.grantee = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END, a.privilege_type, a.is_grantable::text]
             FROM pg_catalog.aclexplode(d.defaclacl) a ORDER BY 1)
FROM pg_catalog.pg_default_acl d LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
WHERE d.defaclrole = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)
  AND (d.defaclnamespace = 0 OR n.nspname = ANY (%(schemas)s::text[]))
ORDER BY 2, 3

-- name: usual_rights
SELECT ARRAY(SELECT ARRAY[CASE WHEN a.grantee = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END, a.privilege_type, a.is_grantable::text]
             FROM pg_catalog.aclexplode(pg_catalog.acldefault((CASE %(kind)s WHEN 'S' THEN 's' ELSE %(kind)s END)::"char",
                                                              (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user))) a ORDER BY 1)

-- name: own_boundary_keys
-- Foreign keys of moved tables to tables that stay: left on in the quarantine they would hold those rows, or delete ours.
SELECT pg_catalog.format('ALTER TABLE %%I.%%I DROP CONSTRAINT %%I', n.nspname, c.relname, k.conname)
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class p ON p.oid = k.confrelid JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND n.nspname = ANY (%(schemas)s::text[]) AND NOT pn.nspname = ANY (%(schemas)s::text[])
ORDER BY 1
