-- What the target says was applied.

-- name: existing
SELECT to_regclass('automation.applied_migrations') IS NOT NULL, to_regclass('supabase_migrations.schema_migrations') IS NOT NULL

-- name: ledger
SELECT version, name, file, sha256, normalized_sha256, statements FROM automation.applied_migrations

-- name: begun
SELECT DISTINCT version FROM automation.migration_segments

-- name: supabase
SELECT version FROM supabase_migrations.schema_migrations

-- name: recorded
SELECT version, statements FROM supabase_migrations.schema_migrations WHERE version = ANY (%s) AND statements IS NOT NULL

-- name: follow
WITH ours AS (
    UPDATE automation.applied_migrations SET version = %(version)s, name = %(name)s, file = %(file)s, sha256 = %(sha256)s
    WHERE version = %(was)s
)
UPDATE supabase_migrations.schema_migrations SET version = %(version)s, name = %(name)s WHERE version = %(was)s

-- name: accept_edited
UPDATE automation.applied_migrations SET file = %s, sha256 = %s, normalized_sha256 = %s WHERE version = %s
