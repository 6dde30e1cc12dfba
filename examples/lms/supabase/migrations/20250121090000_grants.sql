-- Policies narrow what a grant allows; without the grant there is nothing to narrow.
grant select on public.courses to anon;

grant select on
  public.profiles, public.courses, public.lessons, public.enrolments, public.quizzes,
  public.questions, public.attempts, public.certificates, public.messages
to authenticated;

-- Nobody makes themselves an instructor: only these columns are theirs to change.
grant update (full_name) on public.profiles to authenticated;
grant update (slug, title, summary, published_at) on public.courses to authenticated;
grant insert, update, delete on public.lessons to authenticated;
grant insert (learner_id, course_id) on public.enrolments to authenticated;
grant insert (sender_id, recipient_id, course_id, body) on public.messages to authenticated;

grant all on all tables in schema public to service_role;
grant usage on all sequences in schema public to service_role;
