-- What the statements of a transaction have done so far, asked on its own session between them.

-- name: look
-- When it is, and each relation up to the number {} that is locked for more than reading: number, mode, storage, rows
-- inserted, updated and deleted in this transaction. A relation made since has a higher number.
SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::numeric(20, 3)::text,
       (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(l.relation::bigint, l.mode,
            pg_catalog.pg_relation_filenode(l.relation)::bigint,
            pg_catalog.pg_stat_get_xact_tuples_inserted(l.relation), pg_catalog.pg_stat_get_xact_tuples_updated(l.relation),
            pg_catalog.pg_stat_get_xact_tuples_deleted(l.relation)))::text
        FROM pg_catalog.pg_locks l
        WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.granted
          AND l.relation BETWEEN 16384 AND {} AND l.mode <> 'AccessShareLock')
