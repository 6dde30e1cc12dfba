-- pg_graphql: queries have no answer.
create function resolve(query text, variables jsonb default '{}', "operationName" text default null, extensions jsonb default null)
    returns jsonb language sql as $$ select '{"data": null}'::jsonb $$;
create function get_schema_version() returns integer language sql as $$ select 1 $$;
create function increment_schema_version() returns event_trigger language plpgsql as $$ begin end $$;
create sequence seq_schema_version cycle;
