-- http: requests are never sent, and are answered with 200 and nothing in it.
create type http_header as (field varchar, value varchar);
create domain http_method as text;
create type http_request as (method http_method, uri varchar, headers http_header[], content_type varchar, content varchar);
create type http_response as (status integer, content_type varchar, headers http_header[], content varchar);
create function http_header(field varchar, value varchar) returns http_header language sql as $$ select $1, $2 $$;
create function http(request http_request) returns http_response language sql as $$ select 200, ''::varchar, null::http_header[], ''::varchar $$;
create function http_get(uri varchar) returns http_response language sql as $$ select 200, ''::varchar, null::http_header[], ''::varchar $$;
create function http_post(uri varchar, content varchar, content_type varchar) returns http_response language sql
    as $$ select 200, ''::varchar, null::http_header[], ''::varchar $$;
create function urlencode(string varchar) returns text language sql immutable as $$ select $1::text $$;
