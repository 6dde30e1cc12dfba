-- realtime: messages that nobody hears.
create type action as enum ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'ERROR');
create type equality_op as enum ('eq', 'neq', 'lt', 'lte', 'gt', 'gte', 'in');
create type user_defined_filter as (column_name text, op equality_op, value text);
create table messages (
    topic text not null, extension text not null, payload jsonb, event text, private boolean default false,
    updated_at timestamp not null default now(), inserted_at timestamp not null default now(), id uuid not null default gen_random_uuid(),
    primary key (id, inserted_at)
) partition by range (inserted_at);
create table messages_of_any_day partition of messages default;
alter table messages enable row level security;
create table subscription (
    id bigint generated always as identity primary key, subscription_id uuid not null, entity regclass not null,
    filters user_defined_filter[] not null default '{}', claims jsonb not null, created_at timestamp not null default timezone('utc', now())
);
create function topic() returns text language sql stable as $$ select nullif(current_setting('realtime.topic', true), '')::text $$;
create function send(payload jsonb, event text, topic text, private boolean default true) returns void language sql as $$ select $$;
create function broadcast_changes(
    topic_name text, event_name text, operation text, table_name text, table_schema text, new record, old record, level text default 'ROW'
) returns void language plpgsql as $$ begin end $$;
