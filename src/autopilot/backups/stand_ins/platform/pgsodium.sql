-- pgsodium: keys without any.
create table key (
    id uuid primary key default gen_random_uuid(), name text unique, key_type text, created timestamptz not null default now()
);
