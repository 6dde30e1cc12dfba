-- pgsodium: keys without any.
create table key (
    id uuid primary key default gen_random_uuid(), name text unique, key_type text, created timestamptz not null default now()
);
create function create_key(key_type text default 'aead-det', name text default null) returns key language sql security definer
    as $$ insert into pgsodium.key (key_type, name) values ($1, $2) returning * $$;
create function randombytes_buf(size integer) returns bytea language sql
    as $$ select pg_catalog.decode(pg_catalog.repeat('00', size), 'hex') $$;
