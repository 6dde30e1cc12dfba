-- What of a platform's own schemas a role may not read, and what of the user's hangs on them.

-- name: unreadable
-- pg_dump locks tables and reads them and their sequences; of an extension's only those whose rows it would dump.
SELECT DISTINCT n.nspname::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (%(schemas)s::text[]) AND pg_catalog.pg_get_userbyid(n.nspowner) = ANY (%(owners)s::text[])
  AND c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't'
  AND (c.oid = ANY (SELECT pg_catalog.unnest(e.extconfig) FROM pg_catalog.pg_extension e)
       OR NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
  AND (NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE')
       OR CASE c.relkind WHEN 'S' THEN NOT pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
                         ELSE NOT pg_catalog.has_table_privilege(c.oid, 'SELECT') END
       OR c.relkind = 'r' AND pg_catalog.row_security_active(c.oid))
ORDER BY 1

-- name: pointing
-- Foreign keys from what is dumped to what is not.
SELECT n.nspname::text, c.relname::text,
       (SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.place) FROM pg_catalog.unnest(f.conkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.number),
       tn.nspname::text, t.relname::text,
       (SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.place) FROM pg_catalog.unnest(f.confkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.number)
FROM pg_catalog.pg_constraint f
JOIN pg_catalog.pg_class c ON c.oid = f.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class t ON t.oid = f.confrelid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
WHERE f.contype = 'f' AND f.conparentid = 0 AND tn.nspname = ANY (%(schemas)s::text[]) AND NOT n.nspname = ANY (%(schemas)s::text[])
ORDER BY 1, 2, f.conname

-- name: attached
-- The user's triggers and policies there, and what the role may do there, as SQL.
SELECT pg_catalog.pg_get_triggerdef(t.oid)
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid
WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND n.nspname = ANY (%(schemas)s::text[])
  AND NOT f.pronamespace::regnamespace::text = ANY (%(schemas)s::text[])
UNION ALL
SELECT pg_catalog.format('CREATE POLICY %%I ON %%I.%%I AS %%s FOR %%s TO %%s%%s%%s', policyname, schemaname, tablename, permissive, cmd,
           (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(r), ', ') FROM pg_catalog.unnest(roles) r),
           ' USING (' || qual || ')', ' WITH CHECK (' || with_check || ')')
FROM pg_catalog.pg_policies WHERE schemaname = ANY (%(schemas)s::text[])
UNION ALL
SELECT pg_catalog.format('GRANT %%s ON %%I.%%I TO %%I', pg_catalog.string_agg(p.word, ', ' ORDER BY p.word), n.nspname, c.relname, current_user)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN pg_catalog.unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS p (word)
WHERE n.nspname = ANY (%(schemas)s::text[]) AND c.relkind IN ('r', 'p', 'v') AND pg_catalog.has_table_privilege(c.oid, p.word)
GROUP BY n.nspname, c.relname
