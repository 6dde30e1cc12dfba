-- What a database is, object by object and table by table, in a form that a dump and its restore leave as it is.
-- Everything is read with an empty search_path, so that every name comes with its schema. Expressions (views, checks, defaults,
-- policies) count as there or not: what PostgreSQL writes of them changes when it reads it again. `absent`: schemas that do not count.

-- name: settings
SELECT pg_catalog.set_config(name, value, true) FROM (VALUES
    ('search_path', ''), ('DateStyle', 'ISO, YMD'), ('IntervalStyle', 'postgres'), ('TimeZone', 'UTC'), ('bytea_output', 'hex'),
    ('extra_float_digits', '1'), ('xmloption', 'content'), ('lc_monetary', 'C'), ('row_security', 'off'),
    ('jit', 'off')  -- compiling these queries takes ten times as long as running them
) AS pinned (name, value)

-- name: objects
WITH ours AS (
    SELECT oid, nspname, nspowner, nspacl FROM pg_catalog.pg_namespace
    WHERE nspname <> 'information_schema' AND nspname !~ '^pg_' AND NOT nspname = ANY (%(absent)s::text[])
), brought AS (
    SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'
), relations AS (
    SELECT c.* FROM pg_catalog.pg_class c JOIN ours ON ours.oid = c.relnamespace
    WHERE c.relpersistence <> 't' AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')
      AND (c.oid) NOT IN (SELECT objid FROM brought WHERE classid = 'pg_catalog.pg_class'::regclass)
), found (class, object, part, definition) AS (
    SELECT 'pg_catalog.pg_namespace'::regclass, o.oid, 0, pg_catalog.pg_get_userbyid(o.nspowner)::text FROM ours o
    UNION ALL
    SELECT 'pg_catalog.pg_extension'::regclass, e.oid, 0, e.extnamespace::regnamespace::text
    FROM pg_catalog.pg_extension e
    UNION ALL
    SELECT 'pg_catalog.pg_class'::regclass, c.oid, 0, concat_ws('|', c.relkind, c.relpersistence,
               pg_catalog.pg_get_userbyid(c.relowner), c.relrowsecurity, c.relforcerowsecurity, c.relreplident,
               (SELECT pg_catalog.string_agg(o, ',' ORDER BY o COLLATE "C") FROM pg_catalog.unnest(c.reloptions) o),
               CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END,
               pg_catalog.pg_get_expr(c.relpartbound, c.oid),
               (SELECT pg_catalog.string_agg(i.inhparent::regclass::text, ',' ORDER BY i.inhseqno)
                FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid))
    FROM relations c
    UNION ALL
    SELECT 'pg_catalog.pg_class'::regclass, c.oid, a.attnum::int, concat_ws('|',
               pg_catalog.row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), pg_catalog.format_type(a.atttypid, a.atttypmod),
               a.attnotnull, a.attidentity, a.attgenerated, d.adbin IS NOT NULL,
               (SELECT l.collname FROM pg_catalog.pg_collation l WHERE l.oid = a.attcollation), a.attstorage)
    FROM relations c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relkind <> 'S'
    UNION ALL
    SELECT 'pg_catalog.pg_class'::regclass, s.seqrelid, -1, concat_ws('|', pg_catalog.format_type(s.seqtypid, NULL), s.seqstart,
               s.seqincrement, s.seqmax, s.seqmin, s.seqcache, s.seqcycle,
               (SELECT pg_catalog.pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid)::text FROM pg_catalog.pg_depend d
                WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = s.seqrelid AND d.deptype IN ('a', 'i')
                  AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid > 0 LIMIT 1))
    FROM pg_catalog.pg_sequence s JOIN relations c ON c.oid = s.seqrelid
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::regclass, k.oid, 0,
           concat_ws('|', k.contype, k.convalidated, k.condeferrable, k.condeferred, k.confupdtype, k.confdeltype, k.confmatchtype,
               (SELECT pg_catalog.string_agg(a.attname, ',' ORDER BY n.place) FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS n (number, place)
                JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = n.number WHERE k.contype <> 'c'),
               CASE WHEN k.contype = 'f' THEN k.confrelid::regclass END,
               (SELECT pg_catalog.string_agg(a.attname, ',' ORDER BY n.place) FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS n (number, place)
                JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = n.number))
    FROM pg_catalog.pg_constraint k JOIN ours ON ours.oid = k.connamespace
    WHERE k.contype NOT IN ('t', 'n')
      AND NOT EXISTS (SELECT FROM brought WHERE objid = k.conrelid AND classid = 'pg_catalog.pg_class'::regclass)
      AND NOT EXISTS (SELECT FROM brought WHERE objid = k.contypid AND classid = 'pg_catalog.pg_type'::regclass)
    UNION ALL
    SELECT 'pg_catalog.pg_class'::regclass, i.indexrelid, 0,
           concat_ws('|', i.indisunique, i.indisprimary, i.indisexclusion, i.indisclustered, i.indisreplident, i.indpred IS NOT NULL,
               (SELECT am.amname FROM pg_catalog.pg_am am JOIN pg_catalog.pg_class x ON x.relam = am.oid WHERE x.oid = i.indexrelid),
               (SELECT pg_catalog.string_agg(CASE n.number WHEN 0 THEN '()' ELSE a.attname::text END, ',' ORDER BY n.place)
                FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS n (number, place)
                LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = n.number), i.indoption)
    FROM pg_catalog.pg_index i JOIN relations c ON c.oid = i.indrelid WHERE i.indisvalid
    UNION ALL
    SELECT 'pg_catalog.pg_trigger'::regclass, t.oid, 0, concat_ws('|', t.tgtype, t.tgenabled, t.tgfoid::regprocedure,
               t.tgqual IS NOT NULL, t.tgdeferrable, t.tginitdeferred, t.tgargs, t.tgoldtable, t.tgnewtable)
    FROM pg_catalog.pg_trigger t JOIN relations c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT 'pg_catalog.pg_policy'::regclass, p.oid, 0, concat_ws('|', p.polcmd, p.polpermissive,
               (SELECT pg_catalog.string_agg(CASE r WHEN 0 THEN 'public' ELSE pg_catalog.pg_get_userbyid(r)::text END, ',' ORDER BY 1)
                FROM pg_catalog.unnest(p.polroles) r),
               p.polqual IS NOT NULL, p.polwithcheck IS NOT NULL)
    FROM pg_catalog.pg_policy p JOIN relations c ON c.oid = p.polrelid
    UNION ALL
    SELECT 'pg_catalog.pg_rewrite'::regclass, w.oid, 0, concat_ws('|', w.ev_type, w.ev_enabled, w.is_instead)
    FROM pg_catalog.pg_rewrite w JOIN relations c ON c.oid = w.ev_class WHERE w.rulename <> '_RETURN'
    UNION ALL
    SELECT 'pg_catalog.pg_proc'::regclass, f.oid, 0, concat_ws('|', pg_catalog.pg_get_userbyid(f.proowner),
               f.prokind, f.prosrc, f.prosecdef, f.proleakproof, f.proisstrict, f.proretset, f.provolatile, f.proparallel, f.proconfig,
               f.proargnames, pg_catalog.format_type(f.prorettype, NULL), (SELECT l.lanname FROM pg_catalog.pg_language l WHERE l.oid = f.prolang))
    FROM pg_catalog.pg_proc f JOIN ours ON ours.oid = f.pronamespace
    WHERE NOT EXISTS (SELECT FROM brought WHERE objid = f.oid AND classid = 'pg_catalog.pg_proc'::regclass)
    UNION ALL
    SELECT 'pg_catalog.pg_type'::regclass, y.oid, 0, concat_ws('|', y.typtype, pg_catalog.pg_get_userbyid(y.typowner),
               (SELECT pg_catalog.string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = y.oid),
               CASE WHEN y.typtype = 'd' THEN concat_ws('|', pg_catalog.format_type(y.typbasetype, y.typtypmod), y.typnotnull, y.typdefault IS NOT NULL) END,
               (SELECT pg_catalog.format_type(g.rngsubtype, NULL) FROM pg_catalog.pg_range g WHERE g.rngtypid = y.oid))
    FROM pg_catalog.pg_type y JOIN ours ON ours.oid = y.typnamespace
    WHERE y.typtype IN ('e', 'd', 'r')
      AND NOT EXISTS (SELECT FROM brought WHERE objid = y.oid AND classid = 'pg_catalog.pg_type'::regclass)
    UNION ALL
    SELECT 'pg_catalog.pg_statistic_ext'::regclass, x.oid, 0, pg_catalog.pg_get_statisticsobjdef(x.oid)
    FROM pg_catalog.pg_statistic_ext x JOIN ours ON ours.oid = x.stxnamespace
    UNION ALL
    SELECT 'pg_catalog.pg_event_trigger'::regclass, v.oid, -2, pg_catalog.pg_get_userbyid(v.evtowner)::text
    FROM pg_catalog.pg_event_trigger v
    WHERE NOT EXISTS (SELECT FROM brought WHERE objid = v.oid AND classid = 'pg_catalog.pg_event_trigger'::regclass)
    UNION ALL
    SELECT 'pg_catalog.pg_event_trigger'::regclass, v.oid, 0, concat_ws('|', v.evtevent, v.evtfoid::regprocedure, v.evtenabled, v.evttags)
    FROM pg_catalog.pg_event_trigger v
    WHERE NOT EXISTS (SELECT FROM brought WHERE objid = v.oid AND classid = 'pg_catalog.pg_event_trigger'::regclass)
    UNION ALL
    SELECT 'pg_catalog.pg_publication'::regclass, b.oid, 0, concat_ws('|', b.puballtables, b.pubinsert, b.pubupdate, b.pubdelete, b.pubtruncate,
               (SELECT pg_catalog.string_agg(t.prrelid::regclass::text, ',' ORDER BY t.prrelid::regclass::text COLLATE "C")
                FROM pg_catalog.pg_publication_rel t JOIN relations c ON c.oid = t.prrelid WHERE t.prpubid = b.oid))
    FROM pg_catalog.pg_publication b
    UNION ALL
    SELECT 'pg_catalog.pg_publication'::regclass, b.oid, -2, concat_ws('|', pg_catalog.pg_get_userbyid(b.pubowner), b.pubviaroot,
               (SELECT pg_catalog.string_agg(concat_ws(' ', t.prrelid::regclass::text, pg_catalog.cardinality(pg_catalog.string_to_array(pg_catalog.to_jsonb(t) ->> 'prattrs', ' ')),
                                                       pg_catalog.to_jsonb(t) ->> 'prqual' IS NOT NULL), ',' ORDER BY t.prrelid::regclass::text COLLATE "C")
                FROM pg_catalog.pg_publication_rel t JOIN relations c ON c.oid = t.prrelid WHERE t.prpubid = b.oid))
    FROM pg_catalog.pg_publication b
    UNION ALL
    SELECT 'pg_catalog.pg_default_acl'::regclass, p.oid, 0,
           (SELECT pg_catalog.string_agg(item::text, ',' ORDER BY item::text COLLATE "C") FROM pg_catalog.unnest(p.defaclacl) item)
    FROM pg_catalog.pg_default_acl p
    WHERE p.defaclnamespace = 0 OR p.defaclnamespace IN (SELECT oid FROM ours)
    UNION ALL
    SELECT 'pg_catalog.pg_foreign_server'::regclass, s.oid, 0, concat_ws('|', pg_catalog.pg_get_userbyid(s.srvowner), s.srvtype,
               (SELECT w.fdwname FROM pg_catalog.pg_foreign_data_wrapper w WHERE w.oid = s.srvfdw))
    FROM pg_catalog.pg_foreign_server s
    WHERE NOT EXISTS (SELECT FROM brought WHERE objid = s.oid AND classid = 'pg_catalog.pg_foreign_server'::regclass)
), described AS (
    SELECT i.type, i.identity, f.part, f.definition,
           CASE WHEN f.part >= 0 THEN pg_catalog.obj_description(f.object, f.class::text) END AS comment,
           CASE WHEN f.class = 'pg_catalog.pg_class'::regclass AND f.part > 0 THEN pg_catalog.col_description(f.object, f.part) END AS remark,
           CASE f.class
               WHEN 'pg_catalog.pg_class'::regclass THEN CASE
                    WHEN f.part = 0 THEN (SELECT coalesce(relacl, pg_catalog.acldefault((CASE relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char", relowner))
                                          FROM pg_catalog.pg_class WHERE oid = f.object AND relkind NOT IN ('i', 'I', 'c'))
                    WHEN f.part > 0 THEN (SELECT attacl FROM pg_catalog.pg_attribute WHERE attrelid = f.object AND attnum = f.part) END
               WHEN 'pg_catalog.pg_proc'::regclass THEN
                    (SELECT coalesce(proacl, pg_catalog.acldefault('f', proowner)) FROM pg_catalog.pg_proc WHERE oid = f.object)
               WHEN 'pg_catalog.pg_namespace'::regclass THEN
                    (SELECT coalesce(nspacl, pg_catalog.acldefault('n', nspowner)) FROM pg_catalog.pg_namespace WHERE oid = f.object)
               WHEN 'pg_catalog.pg_type'::regclass THEN
                    (SELECT coalesce(typacl, pg_catalog.acldefault('T', typowner)) FROM pg_catalog.pg_type WHERE oid = f.object)
           END AS acl
    FROM found f CROSS JOIN LATERAL pg_catalog.pg_identify_object(f.class, f.object, greatest(f.part, 0)) i
)
SELECT type || ' ' || identity || CASE part WHEN -1 THEN ' (numbers)' WHEN -2 THEN ' (more)' ELSE '' END,
       pg_catalog.md5(concat_ws('|', definition, comment, remark,
           (SELECT pg_catalog.string_agg(item::text, ',' ORDER BY item::text COLLATE "C") FROM pg_catalog.unnest(acl) item)))
FROM described

-- name: sequences
SELECT pg_catalog.format('%%I.%%I', schemaname, sequencename), coalesce(last_value, 0)
FROM pg_catalog.pg_sequences WHERE NOT schemaname = ANY (%(absent)s::text[])

-- name: large_objects
SELECT count(*), coalesce(sum(pg_catalog.hashtextextended(oid::text || pg_catalog.md5(pg_catalog.lo_get(oid)), 0)), 0)::text
FROM pg_catalog.pg_largeobject_metadata

-- name: tables
-- Tables with rows of their own: partitions, not their parents; no temporary ones, none that an extension brought.
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT n.nspname = ANY (%(absent)s::text[])
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.objid = c.oid AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'e')
ORDER BY 1, 2

-- name: may_read_large_objects
SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)
       OR pg_catalog.pg_has_role(current_user, 'pg_read_all_data', 'USAGE')
       OR (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
       OR NOT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata WHERE NOT pg_catalog.pg_has_role(current_user, lomowner, 'USAGE'))
