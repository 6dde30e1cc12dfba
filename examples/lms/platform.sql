-- What Supabase brings and the sample counts on. Run once by the superuser on a fresh database;
-- running it again changes nothing. The login role that owns the database is the caller's to make.

do $$
begin
  if not exists (select from pg_roles where rolname = 'anon') then
    create role anon nologin noinherit;
  end if;
  if not exists (select from pg_roles where rolname = 'authenticated') then
    create role authenticated nologin noinherit;
  end if;
  if not exists (select from pg_roles where rolname = 'service_role') then
    create role service_role nologin noinherit bypassrls;
  end if;
end
$$;

create schema if not exists auth;

-- The API passes the claims of the caller's token along; without a token there is no user.
create or replace function auth.uid() returns uuid
language sql stable
as $$
  select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
$$;

-- To everybody, because the owner's role has a different name in every installation.
grant usage on schema auth to public;
grant execute on function auth.uid() to public;
grant usage on schema public to anon, authenticated, service_role;
