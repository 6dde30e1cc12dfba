-- Visitors see what is published; learners see what is theirs; instructors see their courses.
create policy "Visitors read published courses" on public.courses
  for select to anon using (published_at is not null);

create policy "Members read published courses and their own drafts" on public.courses
  for select to authenticated
  using (published_at is not null or instructor_id = (select auth.uid()));

create policy "Learners read the lessons of their courses" on public.lessons
  for select to authenticated using (public.attends(course_id) or public.teaches(course_id));

create policy "People read their own profile" on public.profiles
  for select to authenticated using (id = (select auth.uid()));

create policy "Learners and their instructors read enrolments" on public.enrolments
  for select to authenticated
  using (learner_id = (select auth.uid()) or public.teaches(course_id));

create policy "Learners read the quizzes of their courses" on public.quizzes
  for select to authenticated using (public.attends(course_id) or public.teaches(course_id));

-- The answers are in the row: learners get questions through the server, never from the table.
create policy "Instructors read their questions" on public.questions
  for select to authenticated
  using (exists (select from public.quizzes q where q.id = quiz_id and public.teaches(q.course_id)));

create policy "Learners read their own attempts" on public.attempts
  for select to authenticated using (learner_id = (select auth.uid()));

create policy "Learners read their own certificates" on public.certificates
  for select to authenticated using (learner_id = (select auth.uid()));

create policy "People read what they sent or received" on public.messages
  for select to authenticated
  using ((select auth.uid()) in (sender_id, recipient_id));
