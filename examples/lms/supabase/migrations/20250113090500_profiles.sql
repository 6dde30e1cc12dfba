-- One row per person. The id is the one Supabase Auth hands out at sign-up;
-- people enrolled by the office get one of our own until they first sign in.
create table public.profiles (
  id uuid primary key default gen_random_uuid(),
  full_name text not null,
  email text not null,
  is_instructor boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint profiles_email_key unique (email),
  constraint profiles_full_name_not_blank check (btrim(full_name) <> ''),
  constraint profiles_email_looks_like_one check (email like '%_@_%')
);

alter table public.profiles enable row level security;

create trigger profiles_touch_updated_at
  before update on public.profiles
  for each row execute function public.touch_updated_at();
