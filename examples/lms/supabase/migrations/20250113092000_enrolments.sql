create type public.enrolment_status as enum ('active', 'completed', 'withdrawn');

create table public.enrolments (
  id bigint generated always as identity primary key,
  learner_id uuid not null references public.profiles (id) on delete cascade,
  course_id bigint not null references public.courses (id) on delete restrict,
  status public.enrolment_status not null default 'active',
  enrolled_at timestamptz not null default now(),
  completed_at timestamptz,
  updated_at timestamptz not null default now(),
  constraint enrolments_once_per_course unique (learner_id, course_id),
  constraint enrolments_completed_has_a_date check (status <> 'completed' or completed_at is not null)
);

create index enrolments_course_id_idx on public.enrolments (course_id);

alter table public.enrolments enable row level security;

create trigger enrolments_touch_updated_at
  before update on public.enrolments
  for each row execute function public.touch_updated_at();
