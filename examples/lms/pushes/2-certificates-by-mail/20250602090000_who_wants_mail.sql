alter table public.profiles add column wants_mail boolean not null default true;
grant update (wants_mail) on public.profiles to authenticated;

alter table public.certificates add column mailed_at timestamptz;
comment on column public.certificates.mailed_at is 'Null until the certificate has gone out by mail.';

-- The earlier ones were handed over on paper; nobody is to get them twice.
update public.certificates set mailed_at = issued_at where mailed_at is null;
