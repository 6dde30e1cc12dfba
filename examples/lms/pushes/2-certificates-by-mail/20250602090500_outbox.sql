-- Mail to be sent. The mailer works through what has no sent_at, oldest first.
create table public.outbox (
  id bigint generated always as identity primary key,
  recipient_id uuid not null references public.profiles (id) on delete cascade,
  certificate_id uuid references public.certificates (id) on delete cascade,
  subject text not null,
  body text not null,
  queued_at timestamptz not null default now(),
  sent_at timestamptz,
  constraint outbox_once_per_certificate unique (certificate_id),
  constraint outbox_subject_is_one_line check (subject !~ '[\r\n]')
);

create index outbox_recipient_id_idx on public.outbox (recipient_id);
create index outbox_to_be_sent_idx on public.outbox (queued_at) where sent_at is null;

alter table public.outbox enable row level security;

create policy "People read their own mail" on public.outbox
  for select to authenticated using (recipient_id = (select auth.uid()));

grant select on public.outbox to authenticated;
grant all on public.outbox to service_role;
