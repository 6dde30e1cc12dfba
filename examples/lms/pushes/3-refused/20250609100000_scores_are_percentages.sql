-- The new report adds scores up, so each must be a percentage and each must say who gave it.
alter table public.attempts add column graded_by text not null default 'platform';

create function public.average_score(course bigint) returns numeric
language sql stable
set search_path = ''
as $$
  select round(avg(a.score), 1)
  from public.attempts a
  join public.quizzes q on q.id = a.quiz_id
  where q.course_id = course;
$$;

alter table public.attempts add constraint attempts_score_is_a_percentage check (score between 0 and 100);

comment on column public.attempts.score is 'Percent of the points, 0 to 100.';
comment on function public.average_score(bigint) is 'Over all attempts at the quizzes of a course.';
