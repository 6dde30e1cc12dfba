insert into public.quizzes (course_id, title, pass_score)
select id, title || ': final quiz', 70 from public.courses where published_at is not null;

insert into public.questions (quiz_id, prompt, choices, answer)
select
  q.id,
  format('%s; question %s', q.title, item.n),
  jsonb_build_array('Always', 'Never; that''s a myth', 'It depends, and here is on what', 'Ask the planner'),
  item.n % 4
from public.quizzes q
cross join generate_series(1, 5) as item (n);
