-- pg_net: requests get a number and are never sent.
create type request_status as enum ('PENDING', 'SUCCESS', 'ERROR');
create unlogged table http_request_queue (
    id bigserial, method text not null, url text not null, headers jsonb, body bytea, timeout_milliseconds integer
);
create unlogged table _http_response (
    id bigint, status_code integer, content_type text, headers jsonb, content text, timed_out boolean, error_msg text,
    created timestamptz not null default now()
);
create function http_get(url text, params jsonb default '{}', headers jsonb default '{}', timeout_milliseconds integer default 5000)
    returns bigint language sql as $$ select pg_catalog.nextval('net.http_request_queue_id_seq') $$;
create function http_post(
    url text, body jsonb default '{}', params jsonb default '{}', headers jsonb default '{"Content-Type": "application/json"}',
    timeout_milliseconds integer default 5000
) returns bigint language sql as $$ select pg_catalog.nextval('net.http_request_queue_id_seq') $$;
create function http_delete(url text, params jsonb default '{}', headers jsonb default '{}', timeout_milliseconds integer default 5000)
    returns bigint language sql as $$ select pg_catalog.nextval('net.http_request_queue_id_seq') $$;
grant usage on sequence http_request_queue_id_seq to public;
