create function public.welcome_learner() returns trigger
language plpgsql
set search_path = ''
as $$
declare
  course public.courses;
begin
  select * into strict course from public.courses where id = new.course_id;
  insert into public.messages (sender_id, recipient_id, course_id, body)
  values (
    course.instructor_id,
    new.learner_id,
    course.id,
    format('Welcome to %s; your first lesson is waiting.', course.title)
  );
  return null;
end;
$$;

create trigger enrolments_welcome_learner
  after insert on public.enrolments
  for each row execute function public.welcome_learner();
