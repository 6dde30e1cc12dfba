-- name: schema
DO $autopilot$
DECLARE
    reader record;
BEGIN
    IF pg_catalog.to_regnamespace('autopilot_trash') IS NULL THEN
        CREATE SCHEMA autopilot_trash;
        COMMENT ON SCHEMA autopilot_trash IS 'Autopilot: what migrations would have destroyed, until it expires. For nobody else.';
    END IF;
    FOR reader IN
        SELECT DISTINCT CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC' ELSE a.grantee::pg_catalog.regrole::pg_catalog.text END AS name
        FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a
        WHERE n.nspname OPERATOR(pg_catalog.=) 'autopilot_trash' AND a.grantee OPERATOR(pg_catalog.<>) n.nspowner
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON SCHEMA autopilot_trash FROM %s CASCADE', reader.name);
    END LOOP;
END
$autopilot$

-- name: moments
-- Ids of what is kept and numbers of what happened to rows come from one counter: their order is the order of events.
CREATE SEQUENCE IF NOT EXISTS autopilot_trash.moments

-- name: register
CREATE TABLE IF NOT EXISTS autopilot_trash.kept (
    id          bigint PRIMARY KEY DEFAULT pg_catalog.nextval('autopilot_trash.moments'),
    run_id      text NOT NULL,
    version     text NOT NULL,
    statement   integer NOT NULL,
    what        text NOT NULL CHECK (what IN ('table', 'column', 'rows')),
    how         text NOT NULL CHECK (how IN ('move', 'copy', 'images', 'conflicts')),
    schema_name text NOT NULL,
    table_name  text NOT NULL,
    columns     text[] NOT NULL DEFAULT '{}',
    table_oid   oid NOT NULL,
    kept_as     text,
    rows        bigint,
    bytes       bigint,
    kept_at     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    expires_at  timestamptz NOT NULL,
    restored_at timestamptz,
    notes       text,
    details     jsonb NOT NULL DEFAULT '{}'
)

-- name: images
CREATE TABLE IF NOT EXISTS autopilot_trash.images (
    kept_id   bigint NOT NULL REFERENCES autopilot_trash.kept ON DELETE CASCADE,
    relation  oid NOT NULL,
    kept_as   text NOT NULL UNIQUE,
    signature text NOT NULL,
    columns   jsonb NOT NULL,
    PRIMARY KEY (kept_id, relation, signature)
)

-- name: fit
-- A name of at most 63 bytes.
CREATE OR REPLACE FUNCTION autopilot_trash.fit(name text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog AS $autopilot$
DECLARE
    cut text := left(name, 63);
BEGIN
    WHILE octet_length(cut) > 63 LOOP
        cut := left(cut, length(cut) - 1);
    END LOOP;
    RETURN cut;
END
$autopilot$

-- name: stored
-- How each column is kept: nothing in the trash depends on a type or collation that somebody may want to drop.
CREATE OR REPLACE FUNCTION autopilot_trash.stored(relation oid)
RETURNS TABLE (attnum smallint, name text, type text, expression text, generated boolean, identity "char", kept_as_text boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $autopilot$
    SELECT a.attnum, a.attname::text, format_type(a.atttypid, a.atttypmod),
           CASE WHEN t.typnamespace <> 'pg_catalog'::regnamespace THEN format('(%I)::text', a.attname)
                WHEN coalesce(c.collnamespace, 'pg_catalog'::regnamespace) <> 'pg_catalog'::regnamespace
                THEN format('(%I COLLATE "default")', a.attname)
                ELSE format('%I', a.attname) END,
           a.attgenerated <> '', a.attidentity, t.typnamespace <> 'pg_catalog'::regnamespace
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_collation c ON c.oid = a.attcollation
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
$autopilot$

-- name: key_of
-- The columns that tell a table's rows apart: its primary key, else a unique index that lets no null in; none of `without`.
CREATE OR REPLACE FUNCTION autopilot_trash.key_of(relation oid, without text[] DEFAULT '{}') RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog AS $autopilot$
    SELECT k.names
    FROM pg_index i,
         LATERAL (
             SELECT array_agg(a.attname::text ORDER BY u.n) AS names, bool_and(a.attnotnull) AS whole
             FROM unnest(i.indkey) WITH ORDINALITY u (attnum, n) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum
             WHERE u.n <= i.indnkeyatts
         ) k
    WHERE i.indrelid = relation AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND k.whole
      AND NOT k.names && without
    ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid
    LIMIT 1
$autopilot$

-- name: look
SELECT n.oid IS NOT NULL,
       n.oid IS NULL OR pg_catalog.pg_has_role(n.nspowner, 'USAGE'),
       EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'kept')
FROM (SELECT 1) one LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = 'autopilot_trash'

-- name: standing
-- Whether there is such a schema, whether we may do with it as its owner does, with what is in it too, and whether we could make it.
SELECT n.oid IS NOT NULL,
       n.oid IS NULL OR pg_catalog.pg_has_role(n.nspowner, 'USAGE'),
       NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relname IN ('kept', 'images', 'moments')
                     AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')),
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
       current_user::text
FROM (SELECT 1) one LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = 'autopilot_trash'

-- name: kept
SELECT id, run_id, version, statement, what, how, schema_name, table_name, columns, table_oid::bigint, kept_as, rows, bytes, kept_at,
       expires_at, restored_at, notes, details::text
FROM autopilot_trash.kept
WHERE (%(run_id)s::text IS NULL OR run_id = %(run_id)s)
ORDER BY id

-- name: sizes
SELECT k.id, coalesce(sum(pg_catalog.pg_total_relation_size(c.oid)), 0)::bigint
FROM autopilot_trash.kept k
LEFT JOIN pg_catalog.pg_class c
       ON c.relnamespace = 'autopilot_trash'::pg_catalog.regnamespace AND c.relkind = 'r'
      AND (c.relname = k.kept_as OR c.relname IN (SELECT i.kept_as FROM autopilot_trash.images i WHERE i.kept_id = k.id)
           OR c.relname = k.details ->> 'after' OR k.details -> 'moved' @> pg_catalog.jsonb_build_array(c.oid::bigint))
GROUP BY k.id

-- name: images_of
SELECT kept_as, relation::bigint, columns::text FROM autopilot_trash.images WHERE kept_id = %s ORDER BY kept_as

-- name: register_conflicts
INSERT INTO autopilot_trash.kept (id, run_id, version, statement, what, how, schema_name, table_name, table_oid, kept_as, rows, bytes,
                                  expires_at, notes)
SELECT %(id)s, run_id, version, statement, 'rows', 'conflicts', schema_name, table_name, table_oid, %(kept_as)s, %(rows)s, %(bytes)s,
       greatest(expires_at, pg_catalog.now() + (expires_at - kept_at)), %(notes)s
FROM autopilot_trash.kept WHERE id = %(of)s

-- name: trashed
-- What the way back has just put there: name, OID, the parent that it is a partition of.
SELECT c.relname::text, c.oid::bigint, i.inhparent::bigint
FROM pg_catalog.pg_class c
LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid AND c.relispartition
WHERE c.relnamespace = 'autopilot_trash'::pg_catalog.regnamespace AND c.relname = ANY (%s::text[])

-- name: register_undone
-- `names`: oid, quoted name, word. `numbers`: of a copy, the number that each column had; else null.
INSERT INTO autopilot_trash.kept (run_id, version, statement, what, how, schema_name, table_name, columns, table_oid, kept_as, rows, bytes,
                                  expires_at, details)
SELECT %(run_id)s, 'undo', 0, CASE WHEN %(numbers)s::jsonb IS NULL THEN 'table' ELSE 'column' END,
       CASE WHEN %(numbers)s::jsonb IS NULL THEN 'move' ELSE 'copy' END, %(schema)s, %(table)s, %(columns)s::text[], %(table_oid)s,
       c.relname, %(rows)s, pg_catalog.pg_total_relation_size(c.oid), pg_catalog.now() + pg_catalog.make_interval(days => %(days)s),
       pg_catalog.jsonb_build_object('undone', true, 'key', %(key)s::jsonb, 'keys', '[]'::jsonb, 'attach', NULL, 'moved', %(moved)s::jsonb, 'names', (
           SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
               'oid', x.value -> 0, 'word', x.value ->> 2, 'schema', p.parts[1], 'name', p.parts[2]) ORDER BY x.nth), '[]')
           FROM pg_catalog.jsonb_array_elements(%(names)s::jsonb) WITH ORDINALITY x (value, nth),
                LATERAL (SELECT pg_catalog.parse_ident(x.value ->> 1) AS parts) p
       ), 'columns', (
           SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
               'attnum', CASE WHEN %(numbers)s::jsonb IS NULL THEN a.attnum ELSE coalesce((%(numbers)s::jsonb ->> a.attname)::integer, 0) END,
               'name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod), 'expression', pg_catalog.quote_ident(a.attname),
               'generated', a.attgenerated <> '', 'identity', a.attidentity,
               'kept_as_text', %(numbers)s::jsonb IS NULL AND t.typnamespace <> 'pg_catalog'::pg_catalog.regnamespace) ORDER BY a.attnum)
           FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
       ))
FROM pg_catalog.pg_class c WHERE c.oid = %(oid)s::pg_catalog.oid

-- name: restored
UPDATE autopilot_trash.kept SET restored_at = pg_catalog.clock_timestamp(), notes = %s WHERE id = %s

-- name: forget
DELETE FROM autopilot_trash.kept WHERE id = %s

-- name: follow_kept
-- Tables that are others since a backup took the place of everything: what is kept belongs to those of their name.
UPDATE autopilot_trash.kept k SET table_oid = p.now FROM pg_catalog.jsonb_to_recordset(%s) AS p (was oid, now oid)
WHERE k.table_oid = p.was AND k.restored_at IS NULL

-- name: follow_images
UPDATE autopilot_trash.images i SET relation = p.now FROM pg_catalog.jsonb_to_recordset(%s) AS p (was oid, now oid)
WHERE i.relation = p.was
