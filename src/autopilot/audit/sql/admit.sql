-- Lets service_role and the listed admins read; run on every contact, so that a new admin is admitted at once.
DO $admit$
DECLARE
    thing record;
    reader text;
BEGIN
    FOREACH reader IN ARRAY /*readers*/ARRAY['service_role'] LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = reader);
        IF NOT pg_catalog.has_schema_privilege(reader, 'automation', 'USAGE') THEN
            EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA automation TO %I', reader);
        END IF;
        IF reader <> 'service_role' AND EXISTS (SELECT FROM pg_catalog.pg_namespace
                                                WHERE nspname = 'supabase_migrations' AND nspowner = current_user::regrole) THEN
            EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA supabase_migrations TO %I', reader);
            EXECUTE pg_catalog.format('GRANT SELECT ON supabase_migrations.schema_migrations TO %I', reader);
        END IF;
        FOR thing IN SELECT c.oid, c.relname, c.relkind FROM pg_catalog.pg_class c
                     WHERE c.relnamespace = 'automation'::pg_catalog.regnamespace AND c.relkind IN ('r', 'v') LOOP
            IF NOT pg_catalog.has_table_privilege(reader, thing.oid, 'SELECT') THEN
                EXECUTE pg_catalog.format('GRANT SELECT ON automation.%I TO %I', thing.relname, reader);
            END IF;
            IF thing.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_catalog.pg_policy p
                                                   WHERE p.polrelid = thing.oid AND p.polname = 'read_' || reader) THEN
                EXECUTE pg_catalog.format('CREATE POLICY %I ON automation.%I FOR SELECT TO %I USING (true)',
                                          'read_' || reader, thing.relname, reader);
            END IF;
        END LOOP;
    END LOOP;
END
$admit$;
