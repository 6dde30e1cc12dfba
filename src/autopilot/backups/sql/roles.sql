-- Who there is on the server, and what each may do with this database. Nothing of pg_authid, which holds the passwords.

-- name: roles
-- Of its settings only those that decide what SQL means: others may hold secrets (pgrst.jwt_secret).
SELECT r.rolname::text, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolbypassrls, r.rolreplication,
       coalesce((SELECT pg_catalog.array_agg(s.setting ORDER BY d.setrole DESC, d.setdatabase DESC, s.setting)
                 FROM pg_catalog.pg_db_role_setting d CROSS JOIN pg_catalog.unnest(d.setconfig) AS s (setting)
                 WHERE (d.setrole = r.oid OR d.setrole = 0 AND d.setdatabase <> 0)
                   AND (d.setdatabase = 0 OR d.setdatabase = (SELECT oid FROM pg_catalog.pg_database
                                                              WHERE datname = pg_catalog.current_database()))
                   AND pg_catalog.split_part(s.setting, '=', 1) = ANY (%s::text[])), '{}')
FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY r.rolname

-- name: memberships
-- PostgreSQL 16 made inheriting and SET ROLE part of each; of several grants the most generous counts.
SELECT u.rolname::text, g.rolname::text, bool_or(m.admin_option),
       bool_or((pg_catalog.to_jsonb(m) ->> 'inherit_option')::boolean), bool_or((pg_catalog.to_jsonb(m) ->> 'set_option')::boolean)
FROM pg_catalog.pg_auth_members m
JOIN pg_catalog.pg_roles g ON g.oid = m.roleid JOIN pg_catalog.pg_roles u ON u.oid = m.member
WHERE u.rolname !~ '^pg_' AND g.rolname <> u.rolname
GROUP BY 1, 2 ORDER BY 1, 2

-- name: knows_parameter_rights
SELECT pg_catalog.to_regclass('pg_catalog.pg_parameter_acl') IS NOT NULL

-- name: parameters
-- What roles that are no superusers may set although only superusers may.
SELECT r.rolname::text, p.parname FROM pg_catalog.pg_parameter_acl p CROSS JOIN LATERAL pg_catalog.aclexplode(p.paracl) a
JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE a.privilege_type = 'SET' AND NOT r.rolsuper ORDER BY 1, 2

-- name: parameters_of_supautils
-- Supabase lets one role set them without a right of its own.
SELECT pg_catalog.current_setting('supautils.privileged_role', true), s.name
FROM pg_catalog.pg_settings s
JOIN pg_catalog.regexp_split_to_table(
    pg_catalog.replace(coalesce(pg_catalog.current_setting('supautils.privileged_role_allowed_configs', true), ''), ' ', ''), ','
) AS allowed (pattern) ON s.name = allowed.pattern
WHERE pg_catalog.current_setting('supautils.privileged_role', true) <> '' AND s.context = 'superuser' ORDER BY 2

-- name: database
SELECT pg_catalog.pg_get_userbyid(d.datdba)::text,
       coalesce((SELECT pg_catalog.array_agg(DISTINCT coalesce(r.rolname::text, '') || '=' || a.privilege_type)
                 FROM pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a
                 LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee), '{}')
FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
