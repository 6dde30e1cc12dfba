-- The learners the office brought along, typed in as they signed the paper list.
insert into public.profiles (id, full_name, email)
select md5('learner ' || email)::uuid, full_name, email
from (values
  ('Amara Okafor', 'amara.okafor@mail.example'),
  ('Anna Lindqvist', 'anna.lindqvist@mail.example'),
  ('Bao Nguyen', 'bao.nguyen@mail.example'),
  ('Beatriz Fonseca', 'Beatriz.Fonseca@mail.example'),
  ('Chidi Eze', 'chidi.eze@mail.example'),
  ('Clara Weiss', 'clara.weiss@mail.example'),
  ('Dimitri Papadakis', 'dimitri@papadakis.example'),
  ('Eilidh Fraser', 'eilidh.fraser@mail.example'),
  ('Farah Haddad', 'farah.haddad@mail.example'),
  ('Grace Mwangi', 'GRACE@MWANGI.EXAMPLE'),
  ('Hana Kobayashi', 'hana.kobayashi@mail.example'),
  ('Ishaan Patel', 'ishaan.patel@mail.example'),
  ('Jonas Brandt', 'jonas.brandt@mail.example'),
  ('Katarzyna Nowak', 'kasia.nowak@mail.example'),
  ('Leilani Kahale', 'leilani@kahale.example'),
  ('Mateo Rojas', 'Mateo.Rojas@mail.example'),
  ('Niamh Byrne', 'niamh.byrne@mail.example'),
  ('Omar Farouk', 'omar.farouk@mail.example'),
  ('Priya Raman', 'priya.raman@mail.example'),
  ('Quentin Lefèvre', 'quentin.lefevre@mail.example'),
  ('Rosa D''Angelo', 'rosa.dangelo@mail.example'),
  ('Sofia Marchetti', 'sofia.marchetti@mail.example'),
  ('Tariq Aziz', 'tariq.aziz@mail.example'),
  ('Uma Krishnan', 'uma.krishnan@mail.example'),
  ('Viktor Horváth', 'viktor.horvath@mail.example'),
  ('Yara Costa', 'yara.costa@mail.example')
) as list (full_name, email);

-- And the evening school's, who came with numbers for names.
insert into public.profiles (id, full_name, email)
select md5('learner ' || n)::uuid, format('Evening learner %s', n), format('evening%s@school.example', n)
from generate_series(1, 94) as school (n);

-- Everybody attends between one and four published courses.
insert into public.enrolments (learner_id, course_id, enrolled_at)
select p.id, c.id, timestamptz '2025-02-12 09:00+00' + (p.place % 40) * interval '3 hours'
from (
  select id, row_number() over (order by email collate "C") as place
  from public.profiles
  where not is_instructor
) p
join public.courses c on c.published_at is not null and (c.id + p.place) % 11 < 1 + p.place % 4;
