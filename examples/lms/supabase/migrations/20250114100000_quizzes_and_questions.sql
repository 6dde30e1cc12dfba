create table public.quizzes (
  id bigint generated always as identity primary key,
  course_id bigint not null references public.courses (id) on delete cascade,
  title text not null,
  pass_score numeric(5, 2) not null default 60,
  created_at timestamptz not null default now(),
  constraint quizzes_pass_score_is_a_percentage check (pass_score between 0 and 100)
);

create index quizzes_course_id_idx on public.quizzes (course_id);

create table public.questions (
  id bigint generated always as identity primary key,
  quiz_id bigint not null references public.quizzes (id) on delete cascade,
  prompt text not null,
  choices jsonb not null,
  -- Index into choices, from 0.
  answer integer not null,
  constraint questions_choices_are_a_list check (jsonb_typeof(choices) = 'array'),
  constraint questions_answer_is_a_choice check (answer >= 0 and answer < jsonb_array_length(choices))
);

create index questions_quiz_id_idx on public.questions (quiz_id);

alter table public.quizzes enable row level security;
alter table public.questions enable row level security;
