create policy "People edit their own profile" on public.profiles
  for update to authenticated
  using (id = (select auth.uid())) with check (id = (select auth.uid()));

create policy "Instructors edit their courses" on public.courses
  for update to authenticated
  using (instructor_id = (select auth.uid())) with check (instructor_id = (select auth.uid()));

create policy "Instructors keep their lessons" on public.lessons
  for all to authenticated
  using (public.teaches(course_id)) with check (public.teaches(course_id));

create policy "Learners enrol themselves" on public.enrolments
  for insert to authenticated
  with check (learner_id = (select auth.uid()) and status = 'active');

create policy "People write in their own name, about a course they share" on public.messages
  for insert to authenticated
  with check (
    sender_id = (select auth.uid())
    and (public.attends(course_id) or public.teaches(course_id))
  );
