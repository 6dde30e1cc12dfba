-- storage: buckets and objects, of which only what foreign keys point to is there.
create type buckettype as enum ('STANDARD', 'ANALYTICS');
create table buckets (
    id text not null primary key, name text unique, owner uuid, created_at timestamptz default now(),
    updated_at timestamptz default now(), public boolean default false, avif_autodetection boolean default false,
    file_size_limit bigint, allowed_mime_types text[], owner_id text, type buckettype not null default 'STANDARD'
);
create table objects (
    id uuid not null default gen_random_uuid() primary key, bucket_id text, name text, owner uuid,
    created_at timestamptz default now(), updated_at timestamptz default now(), last_accessed_at timestamptz default now(),
    metadata jsonb, path_tokens text[] generated always as (string_to_array(name, '/')) stored, version text, owner_id text,
    user_metadata jsonb, level integer
);
create unique index bucketid_objname on objects (bucket_id, name);
alter table buckets enable row level security;
alter table objects enable row level security;
create function foldername(name text) returns text[] language plpgsql immutable as
    $$ declare parts text[] := string_to_array(name, '/'); begin return parts[1:array_length(parts, 1) - 1]; end $$;
create function filename(name text) returns text language plpgsql immutable as
    $$ declare parts text[] := string_to_array(name, '/'); begin return parts[array_length(parts, 1)]; end $$;
create function extension(name text) returns text language plpgsql immutable as
    $$ declare parts text[] := string_to_array(name, '.'); begin return reverse(split_part(reverse(parts[array_length(parts, 1)]), '.', 1)); end $$;
