create table public.lessons (
  id bigint generated always as identity primary key,
  course_id bigint not null references public.courses (id) on delete cascade,
  "position" integer not null,
  title text not null,
  body text not null default '',
  minutes integer not null default 10,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint lessons_position_is_positive check ("position" > 0),
  constraint lessons_minutes_are_positive check (minutes > 0),
  -- Deferrable, so that the editor can swap two lessons in one transaction.
  constraint lessons_position_once unique (course_id, "position") deferrable initially immediate
);

alter table public.lessons enable row level security;

create trigger lessons_touch_updated_at
  before update on public.lessons
  for each row execute function public.touch_updated_at();
