-- A world of tables, a release that changes it, what others write meanwhile (a transaction a line), and all of it as one value.

-- name: world
create extension if not exists citext with schema public;
create table people (id int primary key, name text not null, price numeric(10,2), note text, big text, meta jsonb, tags text[],
    flag boolean default true, at timestamptz, bits bit(4), raw bytea, mail public.citext, touched int not null default 0);
alter table people alter big set storage external;
insert into people (id, name, price, note, big, meta, tags, at, bits, raw, mail)
select i, 'Name ' || i, i + 0.75, 'note ' || i, repeat(md5(i::text), 200), jsonb_build_object('n', i, 'q', '"''x'), array['a b', null, 'c"d'],
       '2026-01-01 10:00+02'::timestamptz + i * '1 hour'::interval, B'0101', '\x00ff27'::bytea, 'A' || i || '@b.example'
from generate_series(1, 60) i;
create function touch() returns trigger language plpgsql as $$ begin new.touched = new.touched + 1; return new; end $$;
create trigger touch before update on people for each row when (old.note is distinct from new.note) execute function touch();
create table parents (id bigint generated always as identity primary key, name text unique deferrable);
create table children (id serial primary key, parent bigint references parents on delete cascade, twice int generated always as (age * 2) stored,
    age int, mother int references children deferrable);
insert into parents (name) select 'p' || i from generate_series(1, 20) i;
insert into children (parent, age) select i, i from generate_series(1, 20) i;
create table "Odd ""Ta ble" ("Key col" text primary key, "V""al" double precision);
insert into "Odd ""Ta ble" values ('it''s', 1.1), (E'two
lines', 'NaN'), ('[x]:y', '-Infinity');
create table log (what text, at date);
create table whole (a int, b text); alter table whole replica identity full; insert into whole values (1, null), (1, null), (2, 'x''y');
create table events (id int, day date, what text, primary key (id, day)) partition by range (day);
create table events_a partition of events for values from ('2026-01-01') to ('2026-02-01');
create table events_b partition of events for values from ('2026-02-01') to ('2026-03-01');
insert into events select i, '2026-01-20'::date + i, 'e' from generate_series(1, 20) i;
create table emptied (id int primary key); insert into emptied values (1), (2);
create materialized view ages as select count(*), sum(age) from children; create unique index on ages (count);
create table moved (id int primary key, old_name text); insert into moved select i, 'm' || i from generate_series(1, 5) i;
create domain small as int check (value < 1000);
create type mood as enum ('sad', 'ok');
create table kinds (id small primary key, m mood, ms mood[], r int4range, iv interval, mo money, x xml, reg regclass);
insert into kinds values (1, 'sad', '{ok,sad}', '[1,5)', '-1 days +02:03:04.5', 12.5, '<a b="c"/>', 'people');

-- name: release
update people set name = upper(name), price = price * 2 where id <= 50;
alter table people drop column flag;
alter table people alter column price type int;
alter table people add column added text default 'new', add column slug text;
update people set slug = lower(name) where id <= 40;
alter table moved rename to renamed; alter table renamed rename column old_name to new_name; update renamed set new_name = 'x';
update children set age = 0 where id < 5;
delete from whole where a = 2;
alter table log add column more int;
create table made (id int primary key); insert into made values (1);
alter type mood add value 'angry';

-- name: writes
update people set note = 'mine' where id in (1, 45, 55);
update people set name = 'Mine' where id in (2, 56);
update people set name = 'Mine' where id = 2; update people set name = 'Mine again', note = null where id = 2;
update people set big = repeat('n', 9000), tags = '{}', meta = 'null', raw = null where id = 3; update people set note = 'x' where id = 3;
update people set id = 1004 where id = 4; update people set note = 'moved' where id = 1004; delete from people where id = 5;
insert into people (id, name, mail) values (100, E'it''s\nü', 'New@b'); update people set note = 'again' where id = 100;
insert into people (id, name) values (101, 'gone'); delete from people where id = 101;
insert into parents (name) values ('new'); insert into children (parent, age) values (currval('parents_id_seq'), 5);
begin; set constraints all deferred; update parents set name = 'p' || (21 - id) where id <= 20; commit;
delete from parents where id in (3, 7);
begin; set constraints all deferred; insert into children (id, mother) values (900, 901), (901, 900); commit;
update children set age = 77 where id = 10;
update "Odd ""Ta ble" set "V""al" = 0.1::float4; insert into "Odd ""Ta ble" values ('', null);
insert into log values ('first', null), ('second', '2026-01-01');
update whole set b = 'was null' where ctid = (select min(ctid) from whole where a = 1); delete from whole where b = 'was null';
insert into whole values (3, 'three'), (null, null);
update events set day = '2026-02-20' where id = 1; insert into events values (50, '2026-01-02', 'new'); delete from events where id = 3;
truncate emptied; insert into emptied values (3);
refresh materialized view concurrently ages;
begin; insert into emptied values (9); savepoint s; insert into emptied values (10); rollback to s; commit;
update kinds set m = 'ok', ms = '{sad}', r = 'empty', iv = '1 year -3 days', mo = -1, x = '<z/>', reg = 'children' where id = 1;
insert into kinds values (2, null, null, null, null, null, null, null);

-- name: all_of_it
select jsonb_build_object('people', (select jsonb_agg(to_jsonb(t) order by id) from people t), 'parents', (select jsonb_agg(to_jsonb(t) order by id) from parents t),
  'children', (select jsonb_agg(to_jsonb(t) order by id) from children t), 'odd', (select jsonb_agg(to_jsonb(t) order by 1) from "Odd ""Ta ble" t),
  'log', (select jsonb_agg(to_jsonb(t) order by what) from log t), 'whole', (select jsonb_agg(to_jsonb(t) order by a, b) from whole t),
  'events', (select jsonb_agg(to_jsonb(t) order by id) from events t), 'emptied', (select jsonb_agg(id order by id) from emptied),
  'ages', (select jsonb_agg(to_jsonb(t)) from ages t), 'moved', (select jsonb_agg(to_jsonb(t) order by id) from moved t),
  'kinds', (select jsonb_agg(to_jsonb(t) order by id) from kinds t))
