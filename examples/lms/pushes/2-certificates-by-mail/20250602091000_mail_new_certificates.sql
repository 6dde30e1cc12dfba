create function public.queue_certificate_mail() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
  insert into public.outbox (recipient_id, certificate_id, subject, body)
  select
    p.id,
    new.id,
    format('Your certificate: %s', c.title),
    format(E'Dear %s,\n\nyou passed %s with %s percent; well done.', p.full_name, c.title, new.score)
  from public.profiles p
  join public.courses c on c.id = new.course_id
  where p.id = new.learner_id and p.wants_mail
  on conflict (certificate_id) do nothing;
  return null;
end;
$$;

create trigger certificates_queue_mail
  after insert on public.certificates
  for each row execute function public.queue_certificate_mail();
