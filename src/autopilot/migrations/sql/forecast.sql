-- How fast a server counts: nothing is read from any table.

-- name: count
WITH begun AS MATERIALIZED (SELECT pg_catalog.clock_timestamp() AS at),
     counted AS MATERIALIZED (
         SELECT pg_catalog.sum(pg_catalog.hashtextextended(i::text, 0)) AS total
         FROM begun, LATERAL pg_catalog.generate_series(1, 40000 + (extract(epoch FROM begun.at) * 0)::integer) AS i)
SELECT extract(epoch FROM pg_catalog.clock_timestamp() - begun.at) * 1000 FROM begun, counted WHERE counted.total IS NOT NULL
