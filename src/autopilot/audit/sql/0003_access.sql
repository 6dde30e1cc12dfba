-- Nobody but the owner, service_role and the listed admins reads; row level security is on everywhere.
DO $access$
DECLARE
    thing record;
    reader text;
BEGIN
    REVOKE ALL ON SCHEMA automation FROM PUBLIC;
    REVOKE ALL ON ALL TABLES IN SCHEMA automation FROM PUBLIC;
    REVOKE ALL ON ALL SEQUENCES IN SCHEMA automation FROM PUBLIC;
    FOREACH reader IN ARRAY ARRAY['anon', 'authenticated'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = reader) THEN
            EXECUTE format('REVOKE ALL ON SCHEMA automation FROM %I', reader);
            EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA automation FROM %I', reader);
        END IF;
    END LOOP;
    FOR thing IN SELECT c.relname, c.relkind FROM pg_class c WHERE c.relnamespace = 'automation'::regnamespace AND c.relkind IN ('r', 'v') LOOP
        IF thing.relkind = 'r' THEN
            EXECUTE format('ALTER TABLE automation.%I ENABLE ROW LEVEL SECURITY', thing.relname);
        ELSIF current_setting('server_version_num')::int >= 150000 THEN
            EXECUTE format('ALTER VIEW automation.%I SET (security_invoker = true)', thing.relname);
        END IF;
    END LOOP;
END
$access$;
