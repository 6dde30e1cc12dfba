-- name: table
-- A table by its OID, wherever it is called what now; else by name. Never one that lies in the trash.
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind, c.relforcerowsecurity AND NOT (me.rolsuper OR me.rolbypassrls),
       EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion) AND NOT i.indimmediate)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace, pg_catalog.pg_roles me
WHERE me.rolname = current_user AND n.nspname <> 'autopilot_trash' AND c.relkind IN ('r', 'p')
  AND (c.oid = %(oid)s::pg_catalog.oid OR n.nspname = %(schema)s AND c.relname = %(name)s)
ORDER BY (c.oid = %(oid)s::pg_catalog.oid) DESC
LIMIT 1

-- name: columns
-- The columns of a table, each with the operator that its type's order calls equal.
SELECT a.attnum, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attgenerated <> '', a.attidentity = 'a', a.attnotnull,
       (
           SELECT pg_catalog.format('OPERATOR(%%I.%%s)', n.nspname, o.oprname)
           FROM pg_catalog.pg_opclass c
           JOIN pg_catalog.pg_amop p ON p.amopfamily = c.opcfamily AND p.amoplefttype = c.opcintype
                                    AND p.amoprighttype = c.opcintype AND p.amopstrategy = 3
           JOIN pg_catalog.pg_operator o ON o.oid = p.amopopr
           JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
           JOIN pg_catalog.pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree'
           WHERE c.opcdefault AND c.opcintype IN (
               b.oid, CASE WHEN b.typtype = 'e' THEN 'anyenum'::pg_catalog.regtype WHEN b.typtype = 'r' THEN 'anyrange'::pg_catalog.regtype
                           WHEN b.typcategory = 'A' THEN 'anyarray'::pg_catalog.regtype WHEN b.typtype = 'c' THEN 'record'::pg_catalog.regtype
                           WHEN b.typcategory = 'S' THEN 'pg_catalog.text'::pg_catalog.regtype ELSE b.oid END)
           ORDER BY (c.opcintype = b.oid) DESC
           LIMIT 1
       )
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
WHERE a.attrelid = %(oid)s::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum

-- name: key
SELECT k.names
FROM pg_catalog.pg_index i,
     LATERAL (
         SELECT array_agg(a.attname::text ORDER BY u.n) AS names, bool_and(a.attnotnull) AS whole
         FROM pg_catalog.unnest(i.indkey) WITH ORDINALITY u (attnum, n)
         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum
         WHERE u.n <= i.indnkeyatts
     ) k
WHERE i.indrelid = %(oid)s::pg_catalog.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND k.whole
ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid
LIMIT 1

-- name: foreign_keys
-- Those of a table and those on it, with what is called equal; of partitioned tables the one that was declared.
SELECT k.conname, k.conrelid::bigint, cn.nspname, c.relname, k.confrelid::bigint, pn.nspname, p.relname,
       ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY u (attnum, n)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum ORDER BY u.n),
       ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY u (attnum, n)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.attnum ORDER BY u.n),
       ARRAY(SELECT pg_catalog.format('OPERATOR(%%I.%%s)', n.nspname, o.oprname) FROM pg_catalog.unnest(k.conpfeqop) WITH ORDINALITY u (oid, n)
             JOIN pg_catalog.pg_operator o ON o.oid = u.oid JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace ORDER BY u.n),
       k.confdeltype::text
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_catalog.pg_class p ON p.oid = k.confrelid JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND %(oid)s::pg_catalog.oid IN (k.conrelid, k.confrelid)
ORDER BY k.oid

-- name: triggers
-- The user's triggers that would act on rows that come back.
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname), pg_catalog.quote_ident(t.tgname), t.tgenabled::text
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND c.oid IN (
    WITH RECURSIVE r (oid) AS (
        SELECT %(oid)s::pg_catalog.oid UNION ALL SELECT i.inhrelid FROM r JOIN pg_catalog.pg_inherits i ON i.inhparent = r.oid)
    SELECT oid FROM r)
ORDER BY t.oid DESC
