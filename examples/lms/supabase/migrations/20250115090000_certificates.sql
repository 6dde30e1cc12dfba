create table public.certificates (
  id uuid primary key default gen_random_uuid(),
  learner_id uuid not null references public.profiles (id) on delete restrict,
  course_id bigint not null references public.courses (id) on delete restrict,
  score numeric(5, 2) not null,
  issued_at timestamptz not null default now(),
  constraint certificates_once_per_course unique (learner_id, course_id)
);

create index certificates_course_id_idx on public.certificates (course_id);

alter table public.certificates enable row level security;
