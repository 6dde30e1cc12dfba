-- supabase_functions: webhooks that are called by nobody.
create table hooks (
    id bigserial primary key, hook_table_id integer not null, hook_name text not null, created_at timestamptz not null default now(),
    request_id bigint
);
create function http_request() returns trigger language plpgsql as $$ begin return coalesce(new, old); end $$;
