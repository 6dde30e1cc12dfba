-- A message without a sender comes from the platform itself.
create table public.messages (
  id bigint generated always as identity primary key,
  sender_id uuid references public.profiles (id) on delete set null,
  recipient_id uuid not null references public.profiles (id) on delete cascade,
  course_id bigint references public.courses (id) on delete cascade,
  body text not null,
  sent_at timestamptz not null default now(),
  read_at timestamptz,
  constraint messages_body_not_blank check (btrim(body) <> '')
);

create index messages_sender_id_idx on public.messages (sender_id);
create index messages_course_id_idx on public.messages (course_id);
create index messages_unread_idx on public.messages (recipient_id) where read_at is null;

alter table public.messages enable row level security;
