-- Mail finds its reader whatever the case; our look-ups did not. From here on addresses are kept in
-- lower case, and the spelling people chose is kept beside them for the envelope.
alter table public.profiles add column email_as_written text;

create function public.lower_email() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if new.email <> lower(new.email) then
    new.email_as_written := new.email;
    new.email := lower(new.email);
  end if;
  return new;
end;
$$;

create trigger profiles_lower_email
  before insert or update of email on public.profiles
  for each row execute function public.lower_email();

-- Two people with one address in different cases would end this here: a person has to merge them.
update public.profiles
set email_as_written = email, email = lower(email)
where email <> lower(email);

alter table public.profiles add constraint profiles_email_in_lower_case check (email = lower(email));
