-- The first catalogue, as the office keeps it.
insert into public.profiles (id, full_name, email, is_instructor) values
  (md5('instructor 1')::uuid, 'Ingrid Solheim', 'ingrid@harbour.example', true),
  (md5('instructor 2')::uuid, 'Tomás Echeverría', 'tomas@harbour.example', true),
  (md5('instructor 3')::uuid, 'Wanjiru Kamau', 'wanjiru@harbour.example', true),
  (md5('instructor 4')::uuid, 'Seán O''Dálaigh', 'sean@harbour.example', true);

insert into public.courses (slug, title, summary, instructor_id, published_at)
select slug, title, summary, md5('instructor ' || instructor)::uuid, published_at
from (values
  ('sql-from-scratch', 'SQL from scratch', 'Tables, joins and the questions they answer.', 1, timestamptz '2025-01-20 08:00+00'),
  ('indexes-that-help', 'Indexes that help', 'Reading plans; choosing and dropping indexes.', 1, '2025-01-20 08:00+00'),
  ('row-level-security', 'Row level security', 'Policies that say what you mean.', 1, '2025-01-27 08:00+00'),
  ('web-basics', 'Web basics', 'What happens between the address bar and the page.', 2, '2025-01-20 08:00+00'),
  ('typescript-for-teams', 'TypeScript for teams', 'Types as the conversation between colleagues.', 2, '2025-02-03 08:00+00'),
  ('accessible-forms', 'Accessible forms', 'Labels, errors and focus; done once, done right.', 2, '2025-02-03 08:00+00'),
  ('statistics-by-hand', 'Statistics by hand', 'Means, spreads and doubt, on paper first.', 3, '2025-01-20 08:00+00'),
  ('charts-people-read', 'Charts people read', 'Say one thing per picture.', 3, '2025-01-27 08:00+00'),
  ('forecasting', 'Forecasting', 'Seasons, trends and honest intervals.', 3, '2025-02-10 08:00+00'),
  ('writing-for-work', 'Writing for work', 'Shorter letters; fewer meetings.', 4, '2025-01-20 08:00+00'),
  ('giving-feedback', 'Giving feedback', 'Kind, specific, soon.', 4, '2025-02-10 08:00+00'),
  ('incident-reviews', 'Incident reviews', 'Learning without blame; a draft.', 4, null)
) as catalogue (slug, title, summary, instructor, published_at);

insert into public.lessons (course_id, "position", title, body, minutes)
select
  c.id,
  step.n,
  format('%s, part %s', c.title, step.n),
  repeat(format('%s Take a sheet of paper; try it before you read on. ', c.summary), 4),
  5 + (step.n * 7) % 20
from public.courses c
cross join generate_series(1, 6) as step (n);
