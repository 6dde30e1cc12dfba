-- name: whole
-- A table and its partitions, however deep.
CREATE OR REPLACE FUNCTION autopilot_trash.whole(relation oid) RETURNS SETOF oid
LANGUAGE sql STABLE SET search_path = pg_catalog AS $autopilot$
    WITH RECURSIVE r (oid) AS (
        SELECT relation
        UNION ALL
        SELECT i.inhrelid FROM r JOIN pg_inherits i ON i.inhparent = r.oid JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
    )
    SELECT oid FROM r
$autopilot$

-- name: keep_copy
-- Copies a table (of it, `wanted` columns with its key) as it is now; nothing where it is not there. Gives the id.
CREATE OR REPLACE FUNCTION autopilot_trash.keep_copy(
    run text, version text, statement integer, days integer, relation oid, wanted text[] DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog AS $autopilot$
DECLARE
    id bigint := nextval('autopilot_trash.moments');
    source record;
    key text[];
    place text;
    list text;
    counted bigint;
    forced boolean;
BEGIN
    SELECT n.nspname, c.relname, c.relkind, c.relforcerowsecurity, format('%I.%I', n.nspname, c.relname) AS name INTO source
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = relation;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', source.name);
    key := autopilot_trash.key_of(relation, coalesce(wanted, '{}'));
    SELECT string_agg(format('%s AS %I', s.expression, s.name), ', ' ORDER BY s.attnum) INTO list
    FROM autopilot_trash.stored(relation) s
    WHERE wanted IS NULL OR key IS NULL OR s.name = ANY (wanted) OR s.name = ANY (key);
    place := autopilot_trash.fit(format('k%s_%s', id, source.relname));
    SELECT source.relforcerowsecurity AND NOT (rolsuper OR rolbypassrls) INTO forced FROM pg_roles WHERE rolname = current_user;
    IF forced THEN
        EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', source.name);
    END IF;
    EXECUTE format('CREATE TABLE autopilot_trash.%I AS SELECT %s FROM %s %s', place, coalesce(list, ''),
                   CASE source.relkind WHEN 'p' THEN '' ELSE 'ONLY' END, source.name);
    GET DIAGNOSTICS counted = ROW_COUNT;
    IF forced THEN
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', source.name);
    END IF;
    INSERT INTO autopilot_trash.kept (id, run_id, version, statement, what, how, schema_name, table_name, columns, table_oid, kept_as,
                                      rows, bytes, expires_at, details)
    SELECT id, run, version, statement, CASE WHEN wanted IS NULL THEN 'table' ELSE 'column' END, 'copy', source.nspname,
           source.relname, coalesce(wanted, '{}'), relation, place, counted,
           pg_total_relation_size(format('autopilot_trash.%I', place)::regclass), now() + make_interval(days => days),
           jsonb_build_object('key', to_jsonb(key), 'columns', (SELECT jsonb_agg(to_jsonb(s)) FROM autopilot_trash.stored(relation) s));
    RETURN id;
END
$autopilot$

-- name: keep_after
-- What a statement made of the columns that were kept before it: later changes are told from its own by this.
CREATE OR REPLACE FUNCTION autopilot_trash.keep_after(run text, of_version text, of_statement integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $autopilot$
DECLARE
    entry record;
    list text;
    forced boolean;
    place text;
    counted bigint;
    name text;
BEGIN
    FOR entry IN
        SELECT k.* FROM autopilot_trash.kept k
        WHERE k.run_id = run AND k.version = of_version AND k.statement = of_statement AND k.what = 'column' AND k.how = 'copy'
          AND k.details -> 'key' <> 'null' AND NOT k.details ? 'after'
    LOOP
        SELECT string_agg(format('%s AS %I', s.expression, s.name), ', ') INTO list
        FROM autopilot_trash.stored(entry.table_oid) s
        WHERE s.name = ANY (entry.columns) OR entry.details -> 'key' ? s.name;
        SELECT format('%I.%I', n.nspname, c.relname), c.relforcerowsecurity AND NOT (r.rolsuper OR r.rolbypassrls) INTO name, forced
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_roles r
        WHERE c.oid = entry.table_oid AND r.rolname = current_user;
        SELECT count(*) INTO counted FROM autopilot_trash.stored(entry.table_oid) s WHERE s.name = ANY (entry.columns);
        IF name IS NULL OR counted < cardinality(entry.columns) THEN
            CONTINUE;
        END IF;
        place := autopilot_trash.fit(format('k%s_after_%s', entry.id, entry.table_name));
        IF forced THEN
            EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', name);
        END IF;
        EXECUTE format('CREATE TABLE autopilot_trash.%I AS SELECT %s FROM %s', place, list, name);
        IF forced THEN
            EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', name);
        END IF;
        UPDATE autopilot_trash.kept SET details = details || jsonb_build_object('after', place),
               bytes = bytes + pg_total_relation_size(format('autopilot_trash.%I', place)::regclass)
        WHERE id = entry.id;
    END LOOP;
END
$autopilot$

-- name: keep_moved
-- Moves tables with all that is theirs into the trash, in place of a DROP: everything gets a name of its own there.
-- Foreign keys across the boundary are taken off, so that nothing in the trash binds a row outside it; each is written down.
CREATE OR REPLACE FUNCTION autopilot_trash.keep_moved(run text, version text, statement integer, days integer, relations oid[])
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $autopilot$
DECLARE
    everything oid[] := ARRAY(SELECT w FROM unnest(relations) r, autopilot_trash.whole(r) w WHERE EXISTS (SELECT FROM pg_class WHERE oid = r));
    root oid;
    entry record;
    part record;
    id bigint;
    own oid[];
    names jsonb;
    keys jsonb;
    attach jsonb;
BEGIN
    FOREACH root IN ARRAY relations LOOP
        SELECT n.nspname, c.relname, c.relispartition, format('%I.%I', n.nspname, c.relname) AS name INTO entry
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = root;
        CONTINUE WHEN NOT FOUND OR entry.nspname = 'autopilot_trash';
        id := nextval('autopilot_trash.moments');
        own := ARRAY(SELECT autopilot_trash.whole(root));
        attach := NULL;
        IF entry.relispartition THEN
            SELECT jsonb_build_object('parent', i.inhparent::bigint, 'name', format('%I.%I', n.nspname, p.relname),
                                      'bound', pg_get_expr(c.relpartbound, c.oid))
            INTO attach
            FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
                 JOIN pg_namespace n ON n.oid = p.relnamespace
            WHERE i.inhrelid = root;
            attach := attach || jsonb_build_object('keys', coalesce((
                SELECT jsonb_agg(conname) FROM pg_constraint WHERE conrelid = root AND contype = 'f' AND conparentid <> 0), '[]'));
            EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', attach ->> 'name', entry.name);
        END IF;
        keys := '[]';
        FOR part IN
            SELECT k.conname, k.conrelid::bigint AS relation, k.conrelid::regclass AS name, pg_get_constraintdef(k.oid) AS definition
            FROM pg_constraint k
            WHERE k.contype = 'f' AND k.conparentid = 0
              AND (k.conrelid = ANY (own) AND NOT k.confrelid = ANY (everything)
                   OR k.confrelid = ANY (own) AND NOT k.conrelid = ANY (everything))
        LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', part.name, part.conname);
            IF NOT coalesce(attach -> 'keys' ? part.conname::text, false) THEN
                keys := keys || jsonb_build_object('relation', part.relation, 'name', part.conname, 'definition', part.definition);
            END IF;
        END LOOP;
        names := '[]';
        FOR part IN
            SELECT c.oid::bigint AS oid, c.relname AS name, n.nspname, c.relkind AS kind,
                   CASE WHEN c.relkind IN ('i', 'I') THEN 'INDEX' WHEN c.relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS word
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.oid = ANY (own)
               OR c.oid IN (SELECT i.indexrelid FROM pg_index i WHERE i.indrelid = ANY (own))
               OR c.relkind = 'S' AND EXISTS (
                   SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
                     AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY (own))
            UNION ALL
            SELECT s.oid::bigint, s.stxname, n.nspname, 'e', 'STATISTICS'
            FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE s.stxrelid = ANY (own)
        LOOP
            names := names || jsonb_build_object('oid', part.oid, 'schema', part.nspname, 'name', part.name, 'word', part.word);
            EXECUTE format('ALTER %s %I.%I RENAME TO %I', part.word, part.nspname, part.name,
                           autopilot_trash.fit(format('k%s_%s_%s', id, part.oid, part.name)));
        END LOOP;
        FOR part IN
            SELECT x.value ->> 'word' AS word, format('%I.%I', x.value ->> 'schema',
                   autopilot_trash.fit(format('k%s_%s_%s', id, x.value ->> 'oid', x.value ->> 'name'))) AS name
            FROM jsonb_array_elements(names) x WHERE x.value ->> 'word' IN ('TABLE', 'STATISTICS')
        LOOP
            EXECUTE format('ALTER %s %s SET SCHEMA autopilot_trash', part.word, part.name);
        END LOOP;
        INSERT INTO autopilot_trash.kept (id, run_id, version, statement, what, how, schema_name, table_name, table_oid, kept_as, rows,
                                          bytes, expires_at, details)
        SELECT id, run, version, statement, 'table', 'move', entry.nspname, entry.relname, root, c.relname,
               (SELECT sum(greatest(p.reltuples, 0))::bigint FROM pg_class p WHERE p.oid = ANY (own) AND p.relkind = 'r'),
               (SELECT sum(pg_total_relation_size(o)) FROM unnest(own) o), now() + make_interval(days => days),
               jsonb_build_object('names', names, 'keys', keys, 'attach', attach, 'moved', to_jsonb(own::bigint[]),
                                  'columns', (SELECT jsonb_agg(to_jsonb(s)) FROM autopilot_trash.stored(root) s))
        FROM pg_class c WHERE c.oid = root;
    END LOOP;
END
$autopilot$

-- name: let_go
-- Tables in the trash that need objects of a catalog outside it become plain copies, so that those objects can be dropped.
CREATE OR REPLACE FUNCTION autopilot_trash.let_go(catalogs text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $autopilot$
DECLARE
    entry record;
    list text;
    place text;
    moved oid;
BEGIN
    FOR entry IN
        SELECT k.* FROM autopilot_trash.kept k
        WHERE k.how = 'move' AND k.restored_at IS NULL AND EXISTS (
            SELECT FROM pg_depend d
            WHERE d.refclassid::regclass::text = ANY (catalogs) AND d.refobjid >= 16384
              AND NOT EXISTS (SELECT FROM pg_class r WHERE d.refclassid = 'pg_class'::regclass AND r.oid = d.refobjid
                              AND r.relnamespace = 'autopilot_trash'::regnamespace)
              AND (d.classid = 'pg_class'::regclass AND to_jsonb(d.objid::bigint) <@ (k.details -> 'moved')
                   OR d.classid = 'pg_attrdef'::regclass AND (
                       SELECT to_jsonb(a.adrelid::bigint) <@ (k.details -> 'moved') FROM pg_attrdef a WHERE a.oid = d.objid)
                   OR d.classid = 'pg_constraint'::regclass AND (
                       SELECT to_jsonb(c.conrelid::bigint) <@ (k.details -> 'moved') FROM pg_constraint c WHERE c.oid = d.objid)
                   OR d.classid = 'pg_policy'::regclass AND (
                       SELECT to_jsonb(p.polrelid::bigint) <@ (k.details -> 'moved') FROM pg_policy p WHERE p.oid = d.objid)
                   OR d.classid = 'pg_trigger'::regclass AND (
                       SELECT to_jsonb(t.tgrelid::bigint) <@ (k.details -> 'moved') FROM pg_trigger t WHERE t.oid = d.objid)))
    LOOP
        SELECT string_agg(format('%s AS %I', s.expression, s.name), ', ' ORDER BY s.attnum) INTO list
        FROM autopilot_trash.stored(entry.table_oid) s;
        place := autopilot_trash.fit(format('k%s_%s', entry.id, entry.table_name));
        EXECUTE format('ALTER TABLE autopilot_trash.%I NO FORCE ROW LEVEL SECURITY', entry.kept_as);
        EXECUTE format('CREATE TABLE autopilot_trash.%I AS SELECT %s FROM autopilot_trash.%I', place, coalesce(list, ''), entry.kept_as);
        EXECUTE format('DROP TABLE autopilot_trash.%I CASCADE', entry.kept_as);
        UPDATE autopilot_trash.kept
        SET how = 'copy', kept_as = place, details = jsonb_build_object('key', NULL, 'columns', entry.details -> 'columns')
        WHERE id = entry.id;
    END LOOP;
END
$autopilot$
