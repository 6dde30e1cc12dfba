-- A database of ours on a server that somebody lends us.

-- name: rights
SELECT r.rolname::text, r.rolsuper, r.rolcreatedb, r.rolcreaterole FROM pg_catalog.pg_roles r WHERE r.rolname = current_user

-- name: roles
SELECT rolname::text FROM pg_catalog.pg_roles

-- name: may_act_as
SELECT pg_catalog.pg_has_role(current_user, %s, 'MEMBER')

-- name: left
-- Databases called like ours that nobody works with and that we may drop.
SELECT d.datname::text, pg_catalog.shobj_description(d.oid, 'pg_database')
FROM pg_catalog.pg_database d
WHERE pg_catalog.starts_with(d.datname::text, %s) AND pg_catalog.pg_has_role(current_user, d.datdba, 'MEMBER')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datname = d.datname OR a.application_name = d.datname)
ORDER BY 1
