create table public.courses (
  id bigint generated always as identity primary key,
  slug text not null unique,
  title text not null,
  summary text not null default '',
  instructor_id uuid not null references public.profiles (id) on delete restrict,
  published_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint courses_slug_is_a_slug check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$')
);

comment on column public.courses.published_at is 'Null while the course is a draft.';

create index courses_instructor_id_idx on public.courses (instructor_id);

alter table public.courses enable row level security;

create trigger courses_touch_updated_at
  before update on public.courses
  for each row execute function public.touch_updated_at();
