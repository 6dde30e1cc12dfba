create table public.attempts (
  id bigint generated always as identity primary key,
  quiz_id bigint not null references public.quizzes (id) on delete cascade,
  learner_id uuid not null references public.profiles (id) on delete cascade,
  -- Percent of the points; the bonus question counts on top.
  score numeric(5, 2) not null,
  answers jsonb not null default '[]',
  finished_at timestamptz not null default now()
);

create index attempts_quiz_id_idx on public.attempts (quiz_id);

alter table public.attempts enable row level security;
