-- The chapter whose push drops enrolments.enrolled_at.

-- name: column
-- As it is defined, in words; no row where there is none.
SELECT pg_catalog.concat_ws(' ', pg_catalog.format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END,
                            'default ' || pg_catalog.pg_get_expr(d.adbin, d.adrelid))
FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = 'public.enrolments'::pg_catalog.regclass AND a.attname = 'enrolled_at' AND NOT a.attisdropped

-- name: rows
SELECT e.id, pg_catalog.to_jsonb(e) FROM public.enrolments e

-- name: enrolled
-- How many of these addresses have an enrolment.
SELECT count(*) FROM public.enrolments e JOIN public.profiles p ON p.id = e.learner_id WHERE p.email = ANY (%(emails)s)

-- name: withdraw
-- The learner who came first.
UPDATE public.enrolments SET status = 'withdrawn'
WHERE id = (SELECT id FROM public.enrolments WHERE status = 'active' ORDER BY id LIMIT 1) RETURNING id

-- name: remove
DELETE FROM public.enrolments
WHERE id = (SELECT id FROM public.enrolments WHERE status = 'active' ORDER BY id LIMIT 1) RETURNING id

-- name: pending_again
SELECT NOT EXISTS (SELECT FROM automation.applied_migrations WHERE version = %(version)s)
