-- The first passed quiz of a course completes it; later and better attempts change nothing.
-- As definer: learners may neither write certificates nor close their own enrolment.
create function public.certify_passed_attempt() returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
  passed_course bigint;
begin
  select q.course_id into passed_course
  from public.quizzes q
  where q.id = new.quiz_id and new.score >= q.pass_score;

  if passed_course is null then
    return null;
  end if;

  insert into public.certificates (learner_id, course_id, score, issued_at)
  values (new.learner_id, passed_course, least(new.score, 100), new.finished_at)
  on conflict (learner_id, course_id) do nothing;

  update public.enrolments
  set status = 'completed', completed_at = new.finished_at
  where learner_id = new.learner_id and course_id = passed_course and status = 'active';
  return null;
end;
$$;

create trigger attempts_certify_passed
  after insert on public.attempts
  for each row execute function public.certify_passed_attempt();
