-- pgsodium, upon platform/pgsodium.sql: what makes keys and random bytes.
create function create_key(key_type text default 'aead-det', name text default null) returns key language sql security definer
    as $$ insert into pgsodium.key (key_type, name) values ($1, $2) returning * $$;
create function randombytes_buf(size integer) returns bytea language sql
    as $$ select pg_catalog.decode(pg_catalog.repeat('00', size), 'hex') $$;
