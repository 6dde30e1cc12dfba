-- postgres_fdw: servers and foreign tables are there, and cannot be read.
create foreign data wrapper postgres_fdw;
create function postgres_fdw_disconnect(text) returns boolean language sql as $$ select false $$;
create function postgres_fdw_disconnect_all() returns boolean language sql as $$ select false $$;
