-- name: began
-- BEFORE each statement: notes its moment. Statements nest, so the moments of one table and command are a stack.
CREATE OR REPLACE FUNCTION autopilot_trash.began() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $autopilot$
DECLARE
    setting text := format('autopilot_trash.t%s_%s', TG_RELID, lower(TG_OP));
BEGIN
    PERFORM set_config(setting, format('%s %s:%s', current_setting(setting, true), pg_trigger_depth(),
                                       nextval('autopilot_trash.moments')), true);
    RETURN NULL;
END
$autopilot$

-- name: moment_of
-- The moment at which the statement that ends here began: the last one of the same depth; else, as what a foreign key's
-- action does is reported by the statement around it, the first that is deeper.
CREATE OR REPLACE FUNCTION autopilot_trash.moment_of(relation oid, command text, depth integer) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog AS $autopilot$
DECLARE
    setting text := format('autopilot_trash.t%s_%s', relation, lower(command));
    marks text := ltrim(current_setting(setting, true));
    stack text[];
    chosen integer;
BEGIN
    IF marks <> '' AND position(' ' IN marks) = 0 THEN
        PERFORM set_config(setting, '', true);
        RETURN split_part(marks, ':', 2)::bigint;
    END IF;
    stack := string_to_array(marks, ' ');
    SELECT n INTO chosen FROM unnest(stack) WITH ORDINALITY u (mark, n)
    WHERE split_part(mark, ':', 1)::integer >= depth
    ORDER BY (split_part(mark, ':', 1)::integer = depth) DESC,
             CASE WHEN split_part(mark, ':', 1)::integer = depth THEN -n ELSE n END
    LIMIT 1;
    IF chosen IS NULL THEN
        RETURN nextval('autopilot_trash.moments');
    END IF;
    PERFORM set_config(setting, array_to_string(stack[:chosen - 1] || stack[chosen + 1:], ' '), true);
    RETURN split_part(stack[chosen], ':', 2)::bigint;
END
$autopilot$

-- name: place_of
-- The table that holds a relation's rows as it is now; another one after its columns changed. What was found is remembered for
-- as long as the versions of the columns' catalog rows are the same: a loop asks for each of its statements.
CREATE OR REPLACE FUNCTION autopilot_trash.place_of(kept bigint, relation oid, OUT place text, OUT list text)
LANGUAGE plpgsql SET search_path = pg_catalog AS $autopilot$
DECLARE
    mark text;
    version text;
BEGIN
    SELECT string_agg(a.ctid || ' ' || a.xmin, ',') INTO version FROM pg_attribute a WHERE a.attrelid = relation AND a.attnum > 0;
    IF version = current_setting('autopilot_trash.v' || relation, true) THEN
        place := current_setting('autopilot_trash.p' || relation, true);
        list := current_setting('autopilot_trash.l' || relation, true);
        RETURN;
    END IF;
    SELECT string_agg(s.expression, ', ' ORDER BY s.attnum),
           string_agg(s.attnum || ' ' || s.type || ' ' || s.name, ', ' ORDER BY s.attnum)
    INTO list, mark FROM autopilot_trash.stored(relation) s;
    SELECT format('autopilot_trash.%I', i.kept_as) INTO place
    FROM autopilot_trash.images i WHERE i.kept_id = kept AND i.relation = place_of.relation AND i.signature = mark;
    IF NOT FOUND THEN
        place := autopilot_trash.fit(format('k%s_%s_%s', kept, nextval('autopilot_trash.moments'), (SELECT relname FROM pg_class WHERE oid = relation)));
        EXECUTE format('CREATE TABLE autopilot_trash.%I AS SELECT 0::bigint AS moment, ''o''::"char" AS side, 0::bigint AS nth, %s FROM %s WITH NO DATA', place, (
            SELECT string_agg(format('%s AS c%s', s.expression, s.attnum), ', ' ORDER BY s.attnum) FROM autopilot_trash.stored(relation) s
        ), relation::regclass);
        INSERT INTO autopilot_trash.images (kept_id, relation, kept_as, signature, columns)
        SELECT kept, relation, place, mark, jsonb_agg(to_jsonb(s)) FROM autopilot_trash.stored(relation) s;
        place := format('autopilot_trash.%I', place);
    END IF;
    PERFORM set_config('autopilot_trash.v' || relation, version, true), set_config('autopilot_trash.p' || relation, place, true),
            set_config('autopilot_trash.l' || relation, list, true);
END
$autopilot$

-- name: ended
-- AFTER each statement: keeps the rows as they were and as they became.
CREATE OR REPLACE FUNCTION autopilot_trash.ended() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $autopilot$
DECLARE
    moment bigint := autopilot_trash.moment_of(TG_RELID, TG_OP, pg_trigger_depth());
    source text := CASE TG_OP WHEN 'INSERT' THEN 'new_rows' ELSE 'old_rows' END;
    any_row boolean;
    store record;
    parts text[];
BEGIN
    IF coalesce(current_setting('autopilot_trash.p' || TG_RELID, true), '') = '' THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', source) INTO any_row;
        IF NOT any_row THEN
            RETURN NULL;
        END IF;
    END IF;
    SELECT * INTO store FROM autopilot_trash.place_of(TG_ARGV[0]::bigint, TG_RELID);
    IF TG_OP <> 'INSERT' THEN
        parts := parts || format('SELECT %s, ''o''::"char", row_number() OVER (), %s FROM old_rows', moment, store.list);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        parts := parts || format('SELECT %s, ''n''::"char", row_number() OVER (), %s FROM new_rows', moment, store.list);
    END IF;
    EXECUTE format('INSERT INTO %s %s', store.place, array_to_string(parts, ' UNION ALL '));
    RETURN NULL;
END
$autopilot$

-- name: emptied
-- BEFORE TRUNCATE: keeps all rows. Where row level security would hide some from us, it fails instead.
CREATE OR REPLACE FUNCTION autopilot_trash.emptied() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $autopilot$
DECLARE
    store record;
BEGIN
    SELECT * INTO store FROM autopilot_trash.place_of(TG_ARGV[0]::bigint, TG_RELID);
    EXECUTE format('INSERT INTO %s SELECT %s, ''o'', row_number() OVER (), %s FROM ONLY %s', store.place,
                   nextval('autopilot_trash.moments'), store.list, TG_RELID::regclass);
    RETURN NULL;
END
$autopilot$

-- name: watch
-- Keeps every row of a table and its partitions that is written from here on; a second call for a table does nothing.
CREATE OR REPLACE FUNCTION autopilot_trash.watch(
    run text, of_version text, of_statement integer, days integer, root oid, truncate boolean DEFAULT true
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $autopilot$
DECLARE
    kept bigint;
    part record;
    event record;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = root AND attnum > 0 AND NOT attisdropped) OR EXISTS (
        SELECT FROM autopilot_trash.kept k WHERE k.run_id = run AND k.how = 'images' AND k.table_oid = root
          AND EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = root AND t.tgfoid = 'autopilot_trash.ended'::regproc))
    THEN
        RETURN;
    END IF;
    INSERT INTO autopilot_trash.kept (run_id, version, statement, what, how, schema_name, table_name, table_oid, expires_at)
    SELECT run, of_version, of_statement, 'rows', 'images', n.nspname, c.relname, root, now() + make_interval(days => days)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = root
    RETURNING id INTO kept;
    FOR part IN SELECT c.oid::regclass AS name, c.relkind AS kind FROM autopilot_trash.whole(root) w JOIN pg_class c ON c.oid = w WHERE c.relkind IN ('r', 'p') LOOP
        FOR event IN VALUES ('INSERT', 'NEW TABLE AS new_rows'), ('UPDATE', 'OLD TABLE AS old_rows NEW TABLE AS new_rows'), ('DELETE', 'OLD TABLE AS old_rows') LOOP
            EXECUTE format('CREATE TRIGGER %I BEFORE %s ON %s FOR EACH STATEMENT EXECUTE FUNCTION autopilot_trash.began()',
                           '~~autopilot began ' || event.column1, event.column1, part.name);
            EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s REFERENCING %s FOR EACH STATEMENT EXECUTE FUNCTION autopilot_trash.ended(%s)',
                           '~~autopilot ended ' || event.column1, event.column1, part.name, event.column2, kept);
        END LOOP;
        IF truncate AND part.kind = 'r' THEN
            EXECUTE format('CREATE TRIGGER "~~autopilot emptied" BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION autopilot_trash.emptied(%s)',
                           part.name, kept);
        END IF;
    END LOOP;
    PERFORM autopilot_trash.awake();
END
$autopilot$

-- name: awake
-- Our triggers fire whatever session_replication_role is, and again after an ALTER TABLE … DISABLE or ENABLE TRIGGER.
CREATE OR REPLACE FUNCTION autopilot_trash.awake() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $autopilot$
DECLARE
    ours record;
BEGIN
    FOR ours IN
        SELECT t.tgname, t.tgrelid::regclass AS name
        FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE p.pronamespace = 'autopilot_trash'::regnamespace AND t.tgenabled <> 'A'
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', ours.name, ours.tgname);
    END LOOP;
END
$autopilot$

-- name: settle
-- Takes our triggers off again and counts what they kept.
CREATE OR REPLACE FUNCTION autopilot_trash.settle(run text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $autopilot$
DECLARE
    ours record;
    counted bigint;
BEGIN
    FOR ours IN
        SELECT t.tgname, t.tgrelid::regclass AS name
        FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE p.pronamespace = 'autopilot_trash'::regnamespace AND NOT t.tgisinternal AND t.tgparentid = 0
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', ours.tgname, ours.name);
    END LOOP;
    FOR ours IN
        SELECT i.kept_as, i.kept_id FROM autopilot_trash.images i JOIN autopilot_trash.kept k ON k.id = i.kept_id WHERE k.run_id = run AND k.rows IS NULL
    LOOP
        EXECUTE format('SELECT count(*) FROM autopilot_trash.%I', ours.kept_as) INTO counted;
        UPDATE autopilot_trash.kept
        SET details = jsonb_set(details, '{counted}', to_jsonb(coalesce((details ->> 'counted')::bigint, 0) + counted)),
            bytes = coalesce(bytes, 0) + pg_total_relation_size(format('autopilot_trash.%I', ours.kept_as)::regclass)
        WHERE id = ours.kept_id;
    END LOOP;
    UPDATE autopilot_trash.kept SET rows = (details ->> 'counted')::bigint WHERE run_id = run AND how = 'images' AND rows IS NULL AND details ? 'counted';
    DELETE FROM autopilot_trash.kept WHERE run_id = run AND how = 'images' AND rows IS NULL;
END
$autopilot$

-- name: relations
-- What decides how a table's rows can be kept. `hidden`: row level security hides rows from us, although it is ours.
SELECT n.nspname, c.relname, c.oid::bigint, c.relkind, c.relpersistence, pg_catalog.pg_has_role(c.relowner, 'USAGE'),
       c.relforcerowsecurity AND NOT (me.rolsuper OR me.rolbypassrls), c.relispartition,
       EXISTS (
           SELECT FROM pg_catalog.pg_inherits i
           JOIN pg_catalog.pg_class p ON p.oid = i.inhparent JOIN pg_catalog.pg_class k ON k.oid = i.inhrelid
           WHERE c.oid IN (i.inhparent, i.inhrelid) AND NOT k.relispartition
       ),
       ARRAY(
           SELECT DISTINCT CASE WHEN d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass THEN 'foreign key' ELSE d.classid::pg_catalog.regclass::text END
           FROM pg_catalog.pg_depend d
           LEFT JOIN pg_catalog.pg_constraint k ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND k.oid = d.objid
           LEFT JOIN pg_catalog.pg_rewrite w ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND w.oid = d.objid
           LEFT JOIN pg_catalog.pg_policy o ON d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND o.oid = d.objid
           LEFT JOIN pg_catalog.pg_trigger t ON d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND t.oid = d.objid
           LEFT JOIN pg_catalog.pg_attrdef f ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND f.oid = d.objid
           WHERE (d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = c.oid
                  OR d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.refobjid = c.reltype)
             AND d.deptype = 'n'
             AND coalesce(k.conrelid, w.ev_class, o.polrelid, t.tgrelid, f.adrelid, 0) <> c.oid
           ORDER BY 1
       )
FROM unnest(%(schemas)s::text[], %(names)s::text[]) wanted (schema, name)
JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name,
     pg_catalog.pg_roles me
WHERE me.rolname = current_user
