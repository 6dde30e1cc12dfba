-- A database as Supabase hands it over, as far as a backup and its restore can tell: run by the bootstrap superuser
-- `supabase_admin` in a database that `postgres` owns. Roles are of the server: `supabase_like_roles.sql` makes them, once.

grant all on database :database to postgres;
alter default privileges for role supabase_admin in schema public grant all on tables to postgres, anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public grant all on sequences to postgres, anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public grant all on functions to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public grant all on tables to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public grant all on sequences to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public grant all on functions to postgres, anon, authenticated, service_role;
alter schema public owner to pg_database_owner;
grant usage on schema public to anon, authenticated, service_role;
grant all on schema public to postgres;

-- extensions -------------------------------------------------------------------------------------------------------
create schema extensions authorization postgres;
grant usage on schema extensions to public;
grant all on schema extensions to dashboard_user;
create extension pgcrypto with schema extensions;
create extension pg_stat_statements with schema extensions;

create schema graphql authorization supabase_admin;
create schema graphql_public authorization supabase_admin;
grant usage on schema graphql, graphql_public to postgres, anon, authenticated, service_role;
create function graphql_public.graphql("operationName" text default null, query text default null, variables jsonb default null)
    returns jsonb language plpgsql as $$ begin return jsonb_build_object('errors', jsonb_build_array('pg_graphql is not enabled')); end $$;
alter function graphql_public.graphql(text, text, jsonb) owner to supabase_admin;

-- auth -------------------------------------------------------------------------------------------------------------
create schema auth authorization supabase_admin;
grant all on schema auth to supabase_auth_admin;
grant usage on schema auth to postgres, anon, authenticated, service_role, dashboard_user;
set role supabase_auth_admin;
create type auth.aal_level as enum ('aal1', 'aal2', 'aal3');
create table auth.users (
    instance_id uuid, id uuid not null primary key, aud varchar(255), role varchar(255), email varchar(255),
    encrypted_password varchar(255), email_confirmed_at timestamptz, invited_at timestamptz, confirmation_token varchar(255),
    confirmation_sent_at timestamptz, recovery_token varchar(255), recovery_sent_at timestamptz,
    email_change_token_new varchar(255), email_change varchar(255), email_change_sent_at timestamptz,
    last_sign_in_at timestamptz, raw_app_meta_data jsonb, raw_user_meta_data jsonb, is_super_admin boolean,
    created_at timestamptz, updated_at timestamptz, phone text default null unique, phone_confirmed_at timestamptz,
    confirmed_at timestamptz generated always as (least(email_confirmed_at, phone_confirmed_at)) stored,
    banned_until timestamptz, is_sso_user boolean not null default false, deleted_at timestamptz,
    is_anonymous boolean not null default false
);
create unique index users_email_partial_key on auth.users (email) where is_sso_user = false;
create table auth.identities (
    id uuid not null default gen_random_uuid() primary key, provider_id text not null,
    user_id uuid not null references auth.users on delete cascade, identity_data jsonb not null, provider text not null,
    last_sign_in_at timestamptz, created_at timestamptz, updated_at timestamptz,
    email text generated always as (lower(identity_data ->> 'email')) stored, unique (provider_id, provider)
);
create table auth.sessions (
    id uuid not null primary key, user_id uuid not null references auth.users on delete cascade, created_at timestamptz,
    updated_at timestamptz, factor_id uuid, aal auth.aal_level, not_after timestamptz
);
create table auth.refresh_tokens (
    instance_id uuid, id bigserial primary key, token varchar(255) unique, user_id varchar(255), revoked boolean,
    created_at timestamptz, updated_at timestamptz, parent varchar(255),
    session_id uuid references auth.sessions on delete cascade
);
create table auth.schema_migrations (version varchar(255) not null primary key);
alter table auth.users enable row level security;
alter table auth.identities enable row level security;
alter table auth.sessions enable row level security;
alter table auth.refresh_tokens enable row level security;
create function auth.jwt() returns jsonb language sql stable as
    $$ select coalesce(nullif(current_setting('request.jwt.claim', true), ''), nullif(current_setting('request.jwt.claims', true), ''))::jsonb $$;
create function auth.uid() returns uuid language sql stable as $$
    select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
                    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'))::uuid $$;
create function auth.role() returns text language sql stable as $$
    select coalesce(nullif(current_setting('request.jwt.claim.role', true), ''),
                    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'))::text $$;
create function auth.email() returns text language sql stable as
    $$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email')::text $$;
grant all on all tables in schema auth to postgres, dashboard_user;
grant select on auth.users, auth.identities, auth.sessions, auth.refresh_tokens to postgres with grant option;
grant all on all sequences in schema auth to postgres, dashboard_user;
grant all on all functions in schema auth to dashboard_user;
reset role;
insert into auth.users (id, aud, role, email, encrypted_password, raw_user_meta_data, created_at)
select ('00000000-0000-4000-8000-00000000000' || n)::uuid, 'authenticated', 'authenticated', 'u' || n || '@example.com', 'x',
       jsonb_build_object('name', 'User ' || n), '2026-01-01' from generate_series(1, 5) n;
insert into auth.identities (provider_id, user_id, identity_data, provider)
select id, id, jsonb_build_object('sub', id, 'email', email), 'email' from auth.users;

-- storage ----------------------------------------------------------------------------------------------------------
create schema storage authorization supabase_admin;
grant all on schema storage to supabase_storage_admin with grant option;
grant usage on schema storage to postgres with grant option;
grant usage on schema storage to anon, authenticated, service_role;
set role supabase_storage_admin;
create type storage.buckettype as enum ('STANDARD', 'ANALYTICS');
create table storage.buckets (
    id text not null primary key, name text not null unique, owner uuid, created_at timestamptz default now(),
    updated_at timestamptz default now(), public boolean default false, avif_autodetection boolean default false,
    file_size_limit bigint, allowed_mime_types text[], owner_id text, type storage.buckettype not null default 'STANDARD'
);
create table storage.objects (
    id uuid not null default gen_random_uuid() primary key, bucket_id text references storage.buckets, name text, owner uuid,
    created_at timestamptz default now(), updated_at timestamptz default now(), last_accessed_at timestamptz default now(),
    metadata jsonb, path_tokens text[] generated always as (string_to_array(name, '/')) stored, version text, owner_id text,
    user_metadata jsonb
);
create unique index bucketid_objname on storage.objects (bucket_id, name);
create table storage.migrations (id integer primary key, name varchar(100) not null unique, hash varchar(40) not null);
alter table storage.buckets enable row level security;
alter table storage.objects enable row level security;
alter table storage.migrations enable row level security;
create function storage.foldername(name text) returns text[] language plpgsql immutable as
    $$ declare parts text[]; begin parts := string_to_array(name, '/'); return parts[1:array_length(parts, 1) - 1]; end $$;
create function storage.filename(name text) returns text language plpgsql as
    $$ declare parts text[]; begin parts := string_to_array(name, '/'); return parts[array_length(parts, 1)]; end $$;
create function storage.update_updated_at_column() returns trigger language plpgsql as
    $$ begin new.updated_at = now(); return new; end $$;
create trigger update_objects_updated_at before update on storage.objects
    for each row execute function storage.update_updated_at_column();
grant all on storage.buckets, storage.objects to postgres with grant option;
grant all on storage.buckets, storage.objects to anon, authenticated, service_role;
reset role;
insert into storage.buckets (id, name, created_at) values ('avatars', 'avatars', '2026-01-01');
insert into storage.objects (bucket_id, name, created_at) values ('avatars', 'a/b.png', '2026-01-01');

-- realtime, vault and the rest -------------------------------------------------------------------------------------
create schema realtime authorization supabase_admin;
grant all on schema realtime to supabase_realtime_admin;
grant usage on schema realtime to postgres, anon, authenticated, service_role;
create type realtime.equality_op as enum ('eq', 'neq', 'lt', 'lte', 'gt', 'gte', 'in');
create type realtime.user_defined_filter as (column_name text, op realtime.equality_op, value text);
create table realtime.subscription (
    id bigint generated always as identity primary key, subscription_id uuid not null, entity regclass not null,
    filters realtime.user_defined_filter[] not null default '{}', claims jsonb not null,
    created_at timestamp not null default timezone('utc', now())
);
create table realtime.messages (
    topic text not null, extension text not null, payload jsonb, event text, private boolean default false,
    updated_at timestamp not null default now(), inserted_at timestamp not null default now(), id uuid not null default gen_random_uuid(),
    primary key (id, inserted_at)
) partition by range (inserted_at);
create table realtime.messages_2026_01_01 partition of realtime.messages for values from ('2026-01-01') to ('2026-01-02');
alter table realtime.messages owner to supabase_realtime_admin;
alter table realtime.messages enable row level security;
create function realtime.topic() returns text language sql stable as
    $$ select nullif(current_setting('realtime.topic', true), '')::text $$;
alter function realtime.topic() owner to supabase_realtime_admin;
create function realtime.broadcast_changes(topic_name text, event_name text, operation text, table_name text, table_schema text,
    new record, old record, level text default 'ROW') returns void language plpgsql as
    $$ begin insert into realtime.messages (topic, extension, event, payload) values (topic_name, 'broadcast', event_name, '{}'); end $$;
grant select on realtime.subscription to anon, authenticated, service_role;
grant select, insert on realtime.messages to postgres, anon, authenticated, service_role;

create schema vault authorization supabase_admin;
grant usage on schema vault to postgres with grant option;
create table vault.secrets (
    id uuid primary key default gen_random_uuid(), name text, description text not null default '', secret text not null,
    key_id uuid, nonce bytea default '\x00', created_at timestamptz not null default current_timestamp,
    updated_at timestamptz not null default current_timestamp
);
create unique index on vault.secrets (name) where name is not null;
create view vault.decrypted_secrets as
    select id, name, description, secret, convert_from(decode(secret, 'base64'), 'utf8') as decrypted_secret, key_id, nonce, created_at, updated_at
    from vault.secrets;
grant select, references, delete, truncate on vault.secrets, vault.decrypted_secrets to postgres with grant option;
insert into vault.secrets (name, secret, created_at, updated_at) values ('api', 'c2VjcmV0', '2026-01-01', '2026-01-01');

create schema supabase_functions authorization supabase_admin;
grant all on schema supabase_functions to supabase_functions_admin;
grant usage on schema supabase_functions to postgres, anon, authenticated, service_role;
create table supabase_functions.hooks (id bigserial primary key, hook_table_id integer not null, hook_name text not null,
    created_at timestamptz not null default now(), request_id bigint);
alter table supabase_functions.hooks owner to supabase_functions_admin;
create function supabase_functions.http_request() returns trigger language plpgsql security definer set search_path = supabase_functions
    as $$ begin insert into hooks (hook_table_id, hook_name) values (tg_relid, tg_name); return new; end $$;
alter function supabase_functions.http_request() owner to supabase_functions_admin;
create schema pgbouncer authorization pgbouncer;
create function pgbouncer.get_auth(p_usename text) returns table (username text, password text) language sql security definer
    as $$ select usename::text, passwd::text from pg_catalog.pg_shadow where usename = $1 $$;
alter function pgbouncer.get_auth(text) owner to supabase_admin;
revoke all on function pgbouncer.get_auth(text) from public;
grant execute on function pgbouncer.get_auth(text) to pgbouncer;

-- what watches ------------------------------------------------------------------------------------------------------
create function extensions.pgrst_ddl_watch() returns event_trigger language plpgsql
    as $$ begin perform 1 from pg_event_trigger_ddl_commands(); notify pgrst, 'reload schema'; end $$;
create function extensions.pgrst_drop_watch() returns event_trigger language plpgsql
    as $$ begin perform 1 from pg_event_trigger_dropped_objects(); notify pgrst, 'reload schema'; end $$;
create function extensions.grant_pg_cron_access() returns event_trigger language plpgsql
    as $$ begin if exists (select from pg_event_trigger_ddl_commands() where command_tag = 'CREATE EXTENSION') then raise notice 'granted'; end if; end $$;
alter function extensions.pgrst_ddl_watch() owner to supabase_admin;
create event trigger pgrst_ddl_watch on ddl_command_end execute function extensions.pgrst_ddl_watch();
create event trigger pgrst_drop_watch on sql_drop execute function extensions.pgrst_drop_watch();
create event trigger issue_pg_cron_access on ddl_command_end when tag in ('CREATE EXTENSION') execute function extensions.grant_pg_cron_access();
create publication supabase_realtime with (publish = 'insert, update, delete, truncate');
alter publication supabase_realtime owner to postgres;

-- the project's own -------------------------------------------------------------------------------------------------
set role postgres;
create table public.profiles (
    id uuid primary key references auth.users on delete cascade, name text, invited_by uuid references auth.users (id),
    updated_at timestamptz default now()
);
create table public.notes (
    id bigint generated by default as identity primary key, author uuid not null default auth.uid() references public.profiles,
    body text not null check (length(body) < 1000), at timestamptz not null default now()
);
create index notes_by_author on public.notes (author);
alter table public.profiles enable row level security;
alter table public.notes enable row level security;
alter table public.notes force row level security;
create policy "Everybody sees profiles" on public.profiles for select using (true);
create policy "One's own profile" on public.profiles for update to authenticated using ((select auth.uid()) = id);
create policy "One's own notes" on public.notes to authenticated using (auth.uid() = author) with check (auth.role() = 'authenticated');
create function public.handle_new_user() returns trigger language plpgsql security definer set search_path = ''
    as $$ begin insert into public.profiles (id, name) values (new.id, new.raw_user_meta_data ->> 'name'); return new; end $$;
insert into public.profiles (id, name, invited_by, updated_at)
    select id, raw_user_meta_data ->> 'name', '00000000-0000-4000-8000-000000000001', '2026-01-01' from auth.users;
create trigger on_auth_user_created after insert on auth.users for each row execute function public.handle_new_user();
insert into public.notes (author, body, at) select id, 'Hello', '2026-01-01' from public.profiles, generate_series(1, 20);
create view public.people with (security_invoker = true) as
    select p.id, p.name, u.email from public.profiles p join auth.users u using (id);
create materialized view public.note_counts as select author, count(*) from public.notes group by 1;
alter publication supabase_realtime add table public.notes;
reset role;
create policy "Avatars are public" on storage.objects for select using (bucket_id = 'avatars');
create policy "One's own avatar" on storage.objects for insert to authenticated
    with check (bucket_id = 'avatars' and (storage.foldername(name))[1] = auth.uid()::text);
