-- name: available
-- What a server has, and whether only superusers may make it there; what is installed counts as had.
SELECT a.name::text, pg_catalog.bool_or(v.superuser AND NOT v.trusted), pg_catalog.bool_or(e.oid IS NOT NULL)
FROM pg_catalog.pg_available_extensions a
JOIN pg_catalog.pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version
LEFT JOIN pg_catalog.pg_extension e ON e.extname = a.name
GROUP BY a.name
UNION
SELECT e.extname::text, false, true FROM pg_catalog.pg_extension e
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_available_extensions a WHERE a.name = e.extname)

-- name: rights
-- Whether we are a superuser; the extensions that the platform makes for roles that are none, and its own chief roles.
SELECT (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user),
       coalesce(pg_catalog.current_setting('supautils.privileged_extensions', true), '') || ','
           || coalesce(pg_catalog.current_setting('extwlist.extensions', true), ''),
       ARRAY(SELECT r.rolname::text FROM pg_catalog.pg_roles r)

-- name: stand_in
-- Makes what stands in for an extension, and an extension of that name that owns it: IF NOT EXISTS, DROP EXTENSION and a look
-- into the catalog find it as they would find the real one. `own`: the schema that belongs to it alone.
CREATE FUNCTION {place}.autopilot_stand_in(
    extension text, own text, stated text, release text, only_if_absent boolean, owner text, script text
) RETURNS void LANGUAGE plpgsql AS $autopilot$
DECLARE
    home text := coalesce(stated, own, pg_catalog.current_schema()::pg_catalog.text);
    path text := pg_catalog.current_setting('search_path');
    there pg_catalog.oid[];
    id pg_catalog.oid;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
    IF EXISTS (SELECT FROM pg_extension WHERE extname = extension) THEN
        IF NOT only_if_absent THEN
            RAISE EXCEPTION 'extension "%" already exists', extension USING ERRCODE = 'duplicate_object';
        END IF;
        PERFORM set_config('search_path', path, true);
        RETURN;
    END IF;
    IF home IS NULL OR stated IS NOT NULL AND to_regnamespace(quote_ident(stated)) IS NULL THEN
        RAISE EXCEPTION '%', CASE WHEN home IS NULL THEN 'no schema has been selected to create in'
                                  ELSE format('schema "%s" does not exist', stated) END USING ERRCODE = 'invalid_schema_name';
    END IF;
    there := ARRAY(SELECT objid FROM {place}.autopilot_in_schema(coalesce(own, home)));
    IF own IS NOT NULL AND to_regnamespace(quote_ident(own)) IS NULL THEN
        EXECUTE format('CREATE SCHEMA %I', own);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO PUBLIC', own);
    END IF;
    PERFORM set_config('search_path', quote_ident(coalesce(own, home)), true);
    EXECUTE script;
    PERFORM set_config('search_path', 'pg_catalog', true);
    id := pg_nextoid('pg_extension', 'oid', 'pg_extension_oid_index');
    INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
    VALUES (id, extension, quote_ident(owner)::regrole, to_regnamespace(quote_ident(home)), false, coalesce(release, '1.0'));
    INSERT INTO pg_depend (classid, objid, objsubid, refclassid, refobjid, refobjsubid, deptype)
    SELECT 'pg_extension'::regclass, id, 0, 'pg_namespace'::regclass, n.oid, 0, 'n'
    FROM pg_namespace n WHERE n.nspname = home AND (n.oid = ANY (there) OR home IS DISTINCT FROM coalesce(own, home))
    UNION ALL
    SELECT m.classid, m.objid, 0, 'pg_extension'::regclass, id, 0, 'e'
    FROM {place}.autopilot_in_schema(coalesce(own, home)) m WHERE NOT (m.objid = ANY (there));
    PERFORM set_config('search_path', path, true);
END
$autopilot$

-- name: in_schema
-- What an extension's script may make there; what only belongs to these is not among it.
CREATE FUNCTION {place}.autopilot_in_schema(home text) RETURNS TABLE (classid oid, objid oid)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $autopilot$
    SELECT 'pg_namespace'::regclass::oid, n.oid FROM pg_namespace n WHERE n.nspname = home
    UNION ALL
    SELECT 'pg_proc'::regclass, p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = home
    UNION ALL
    SELECT 'pg_class'::regclass, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = home AND c.relkind IN ('r', 'v', 'S')
    UNION ALL
    SELECT 'pg_type'::regclass, t.oid FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE n.nspname = home AND t.typelem = 0 AND (t.typrelid = 0 OR (SELECT c.relkind = 'c' FROM pg_class c WHERE c.oid = t.typrelid))
    UNION ALL
    SELECT 'pg_foreign_data_wrapper'::regclass, w.oid FROM pg_foreign_data_wrapper w
$autopilot$

-- name: private
REVOKE ALL ON FUNCTION {place}.autopilot_stand_in(text, text, text, text, boolean, text, text) FROM PUBLIC

-- name: by_superuser
-- Makes one extension whoever calls it, for whom it then is: nothing that a caller says is run.
CREATE FUNCTION {called}() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $autopilot$
DECLARE
    caller text := CASE pg_catalog.current_setting('role') WHEN 'none' THEN session_user::pg_catalog.text
                                                           ELSE pg_catalog.current_setting('role') END;
    known boolean := EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) {name});
BEGIN
    {made};
    IF NOT known THEN
        UPDATE pg_catalog.pg_extension SET extowner = pg_catalog.quote_ident(caller)::pg_catalog.regrole
        WHERE extname OPERATOR(pg_catalog.=) {name};
    END IF;
END
$autopilot$
