-- Everything PostgreSQL has that a dump has to bring back, one of each at least.
create schema app;
comment on schema app is 'of its own';
create extension if not exists pgcrypto with schema app;
create type app.mood as enum ('a', 'b c');
create domain app.pos as int check (value > 0) default 3;
create type app.comp as (x int, y text collate "C");
create type app.rng as range (subtype = int);
create table app.part (id int generated always as identity, d date not null, m app.mood, primary key (id, d)) partition by range (d);
create table app.part_1 partition of app.part for values from ('2020-01-01') to ('2021-01-01');
create table app.part_def partition of app.part default;
create table app.gen (
    a int default 5 check (a > 0), b int generated always as (a * 2) stored, c app.comp, p app.pos, r app.rng,
    j jsonb, t timestamptz, f float8, y bytea, u uuid, i interval, n numeric, exclude using gist (r with &&)
);
create table app."odd ""name;" ("a column" text, "autopilot" text, t text);
create materialized view app.mv as select a from app.gen;
create index on app.mv (a);
create view app.v with (security_invoker = on) as select a, b, case when a in (1, 2) then 'x' end as k from app.gen where a > 1;
create sequence app.s increment 5 start 10 maxvalue 100 cycle;
create statistics app.st on a, b from app.gen;
create rule r as on update to app.gen do also notify x;
create function app.f(a int, b text default 'x') returns int language plpgsql set search_path = '' as $$ begin return 1; end $$;
create function app.atomic() returns int language sql begin atomic select 1; end;
create procedure app.p() language sql as 'select 1';
create aggregate app.agg(int) (sfunc = int4pl, stype = int);
comment on table app.gen is 'it''s';
comment on column app.gen.a is 'col';
comment on function app.f(int, text) is 'fn';
alter table app.gen enable row level security;
create policy pol on app.gen for select to authenticated using (a = 1);
grant usage on schema app to anon;
grant select (a) on app.gen to anon;
grant execute on function app.f to anon;
create trigger tg before update on app.gen for each row when (old.a in (1, 2)) execute function suppress_redundant_updates_trigger();
alter table app.gen disable trigger tg;
create table app.dropped (a int, b int, c int);
alter table app.dropped drop column b;
alter table app.gen add constraint nv check (a < 1000) not valid;
create table app.child () inherits (app.dropped);
create unlogged table app.un (id bigserial primary key, name varchar(3) check (name in ('x', 'y')));
create unique index on app.un (id) where id > 3;
create index on app.un (lower(name), id desc);
alter default privileges in schema app grant select on tables to anon;
create operator app.=== (leftarg = int, rightarg = int, function = int4eq);
create collation app.coll from "C";
insert into app.part (d, m) select '2020-06-01'::date + n, 'a' from generate_series(1, 400) n;
insert into app.gen (a, c, r, j, t, f, y, u, i, n)
    select n, (n, 'ä')::app.comp, app.rng(n * 10, n * 10 + 5), jsonb_build_object('n', n), now(), 1.0 / n, '\x00ff', gen_random_uuid(), '1 mon -2 days', n / 3.0
    from generate_series(1, 50) n;
insert into app."odd ""name;" values ('x', e'tab\tand\\', null), ('x', e'tab\tand\\', null);
insert into app.dropped values (1, 2);
insert into app.child values (3, 4);
select nextval('app.s'), nextval('app.s');
refresh materialized view app.mv;
select lo_from_bytea(0, 'abc'), lo_from_bytea(0, 'def');
