-- Tidying up: the site does not read it any more.
alter table public.enrolments drop column enrolled_at;
