"""Kinds of change, each driven there and back again by `test_reverse_ddl.py`: what was there, what a migration does, what
users write meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: By the superuser, before BASE: what belongs to others.
PLATFORM = """
create schema auth;
create table auth.users (id bigint generated always as identity primary key, email text not null);
insert into auth.users (email) select 'user' || n || '@example.com' from generate_series(1, 20) n;
do $$ begin
  if not exists (select from pg_roles where rolname = 'undo_auth_admin') then create role undo_auth_admin; end if;
  if not exists (select from pg_roles where rolname = 'undo_anon') then create role undo_anon; end if;
  if not exists (select from pg_roles where rolname = 'undo_api') then create role undo_api; end if;
end $$;
alter schema auth owner to undo_auth_admin;
alter table auth.users owner to undo_auth_admin;
grant usage on schema auth to public;
grant select, references, trigger on auth.users to public;
alter default privileges for role {owner} grant select on tables to undo_anon;
alter default privileges for role {owner} in schema public grant execute on functions to undo_api;
"""

#: By the owner: a shop with rows in everything.
BASE = """
create schema shop;
grant usage on schema shop to undo_anon;
create type shop.status as enum ('open', 'paid', 'sent');
create type shop.money_pair as (amount numeric(10, 2), currency text);
create domain shop.email as text check (value like '%@%');
create type shop.span as range (subtype = integer);
create collation shop.plain (locale = 'C');
create sequence shop.ticket start 100;
create function shop.tax(amount numeric) returns numeric language sql immutable as 'select amount * 0.19';
create function shop.touch() returns trigger language plpgsql as 'begin new.touched := now(); return new; end';
create function shop.one(text) returns text language sql immutable begin atomic select upper($1); end;
create procedure shop.tidy() language sql as 'select 1';
create aggregate shop.product(numeric) (sfunc = numeric_mul, stype = numeric, initcond = '1');
create table shop.customers (
  id bigint generated always as identity primary key,
  name text not null,
  mail shop.email,
  user_id bigint references auth.users (id),
  score integer default 0,
  constraint customers_name_not_blank check (name <> '')
);
comment on table shop.customers is 'Who buys. It''s "them".';
comment on column shop.customers.mail is 'Where they are written to';
grant select on shop.customers to undo_anon;
grant update (name, score) on shop.customers to undo_api;
create table shop.orders (
  id serial primary key,
  customer_id bigint not null references shop.customers (id) on delete cascade,
  state shop.status not null default 'open',
  total numeric(12, 2) not null default 0,
  gross numeric generated always as (total * 1.19) stored,
  small smallint,
  code varchar(40),
  note text,
  placed timestamp without time zone default '2024-01-01',
  touched timestamptz,
  price shop.money_pair
);
create index orders_state on shop.orders (state) where state <> 'sent';
create index orders_note on shop.orders (lower(note));
create unique index orders_code on shop.orders (code);
comment on index shop.orders_state is 'For the list of work';
create trigger orders_touch before update on shop.orders for each row execute function shop.touch();
create table shop.lines (
  order_id integer not null references shop.orders (id),
  position integer not null,
  quantity integer not null check (quantity > 0),
  primary key (order_id, position)
);
create table shop."Odd ""Näme"" and more, up to the sixty-three bytes there a" (
  "Key" integer primary key, "Wert; drop table x" text default '; -- ''"'
);
create table shop.loose (what text, how_many integer);
alter table shop.orders enable row level security;
create policy own_orders on shop.orders for select to undo_anon using (total >= 0);
create policy writing on shop.orders for insert to undo_anon with check (total < 1000000);
create view shop.open_orders with (security_barrier = true) as
  select o.id, o.total, c.name from shop.orders o join shop.customers c on c.id = o.customer_id where o.state = 'open';
grant select on shop.open_orders to undo_anon;
comment on view shop.open_orders is 'Still to do';
create view shop.open_totals as select count(*) n, sum(total) total from shop.open_orders;
create materialized view shop.sales as select customer_id, sum(total) total from shop.orders group by customer_id;
create unique index sales_customer on shop.sales (customer_id);
grant select on shop.sales to undo_api;
create statistics shop.orders_stats on state, customer_id from shop.orders;
create rule keep_lines as on delete to shop.loose do also select 1;
create publication shop_live for table shop.orders, shop.lines;
create text search configuration shop.words (copy = simple);
create table shop.events (at date not null, what text, primary key (at, what)) partition by range (at);
create table shop.events_2024 partition of shop.events for values from ('2024-01-01') to ('2025-01-01');
create index events_what on shop.events (what);
create table shop.animals (id integer primary key, legs integer);
create table shop.dogs (breed text) inherits (shop.animals);

insert into shop.customers (name, mail, user_id, score)
  select 'c' || n, 'c' || n || '@example.com', n, n from generate_series(1, 10) n;
insert into shop.orders (customer_id, state, total, small, code, note, price)
  select 1 + n % 10, (array['open', 'paid', 'sent'])[1 + n % 3]::shop.status, n, n, 'code ' || n, 'Note ' || n,
    row(n, 'EUR'::text)::shop.money_pair
  from generate_series(1, 30) n;
insert into shop.lines select n, 1, n from generate_series(1, 30) n;
insert into shop."Odd ""Näme"" and more, up to the sixty-three bytes there a" select n, 'v' || n from generate_series(1, 5) n;
insert into shop.loose select 'x', n from generate_series(1, 5) n;
insert into shop.events select date '2024-01-01' + n, 'e' || n from generate_series(1, 20) n;
insert into shop.animals select n, 4 from generate_series(1, 5) n;
insert into shop.dogs select 10 + n, 4, 'pug' from generate_series(1, 5) n;
refresh materialized view shop.sales;
select nextval('shop.ticket');
"""

ODD = 'shop."Odd ""Näme"" and more, up to the sixty-three bytes there a"'


@dataclass(frozen=True, kw_only=True)
class Change:
    """forward: the migration. writes: what users write after it. loses: what the way back says it cannot bring (then it goes
    back with the loss accepted). admin: by the superuser. moves: a column comes back at the end.
    """

    kind: str
    forward: str
    writes: str = ""
    loses: str = ""
    #: Entries of the dump that stay different; the notes say so.
    leaves: str = ""
    #: Values that are called otherwise before.
    relabels: Mapping[str, str] = field(default_factory=dict)
    admin: bool = False
    moves: bool = False
    #: The least version that knows the statement.
    since: int = 0
    extension: str = ""


def change(kind: str, forward: str, writes: str = "", **rest: Any) -> Change:
    return Change(kind=kind, forward=forward, writes=writes, **rest)


_ORDER = "insert into shop.orders (customer_id, total, code) values (3, 77, 'w ' || clock_timestamp());"
_CUSTOMER = "insert into shop.customers (name) values ('written since');"

CHANGES = (
    # tables
    change(
        "a new table with rows in it",
        "create table shop.news (id serial primary key, body text, at timestamptz default now())",
        "insert into shop.news (body) values ('one'), ('two')",
    ),
    change(
        "a new table without a key",
        "create table shop.heap (body text)",
        "insert into shop.heap values ('one'), ('one')",
    ),
    change(
        "new tables that refer to each other and to an old one",
        "create table shop.a (id int primary key, c bigint references shop.customers, b int);create table shop.b "
        "(id int primary key, a int references shop.a);alter table shop.a add foreign key (b) references shop.b; "
        "create index on shop.a (c)",
        "insert into shop.a values (1, 1, null); insert into shop.b values (1, 1); update shop.a set b = 1",
    ),
    change(
        "an old table refers to a new one",
        "create table shop.places (id int primary key); "
        "insert into shop.places values (1);alter table shop.orders add column place_id int default 1 references "
        "shop.places",
        _ORDER,
    ),
    change(
        "a new table with an identity, a trigger, policies and grants",
        "create table shop.diary (id bigint generated by default as identity, body text check (body <> "
        "''));alter table shop.diary enable row level security; "
        "create policy p on shop.diary using (true);create function shop.noted() returns trigger language "
        "plpgsql as 'begin return new; end';create trigger t before insert on shop.diary for each row execute "
        "function shop.noted();grant all on shop.diary to undo_api",
        "insert into shop.diary (body) values ('dear')",
    ),
    change(
        "a new table of new types with a default from a new function",
        "create type shop.mood as enum ('good', 'bad'); "
        "create type shop.feeling as (mood shop.mood, why text);create domain shop.short as text check "
        "(length(value) < 9);create function shop.usual() returns shop.mood language sql as $$select "
        "'good'::shop.mood$$;create table shop.moods (id int primary key, m shop.mood default shop.usual(), f "
        "shop.feeling, s shop.short, ms shop.mood[])",
        "insert into shop.moods values (1, default, row('bad', 'rain'), 'abc', '{good,bad}')",
    ),
    change(
        "a new partitioned table",
        "create table shop.log (at date, w text) partition by list (w);create table shop.log_a partition of "
        "shop.log for values in ('a'); create index on shop.log (at)",
        "insert into shop.log values ('2024-02-02', 'a')",
    ),
    change(
        "a new partition",
        "create table shop.events_2025 partition of shop.events for values from ('2025-01-01') to ('2026-01-01')",
        "insert into shop.events values ('2025-03-03', 'later'), ('2024-03-03', clock_timestamp()::text)",
    ),
    change(
        "a partition is detached",
        "alter table shop.events detach partition shop.events_2024",
        "insert into shop.events_2024 values ('2024-12-12', clock_timestamp()::text)",
    ),
    change(
        "a new heir",
        "create table shop.cats (tail int) inherits (shop.animals)",
        "insert into shop.cats values (90, 4, 1)",
    ),
    change(
        "an heir leaves its parent",
        "alter table shop.dogs no inherit shop.animals",
        "insert into shop.dogs values (91, 4, 'x')",
        leaves="CREATE TABLE shop.dogs",
    ),
    change(
        "a new table in a new schema",
        "create schema extra; create table extra.t (id int primary key); grant usage on schema extra to undo_anon",
        "insert into extra.t values (1)",
    ),
    change(
        "a table is dropped",
        "drop table shop.lines",
        loses="shop.lines was dropped",
    ),
    change(
        "a table with everything on it is dropped",
        "truncate shop.lines; drop table shop.orders cascade",
        loses="shop.orders was dropped",
    ),
    change(
        "a table is dropped and made anew",
        "drop table shop.loose; create table shop.loose (what text, other int)",
        "insert into shop.loose values ('new', 1)",
        loses="shop.loose was dropped",
    ),
    change(
        "a table is renamed",
        "alter table shop.orders rename to purchases",
        "insert into shop.purchases (customer_id) values (2)",
    ),
    change(
        "two tables swap their names",
        "alter table shop.loose rename to tmp; alter table shop.animals rename to loose;alter table shop.tmp rename to animals",
        "insert into shop.loose values (70, 3) on conflict do nothing",
    ),
    change(
        "a table is renamed and a new one has its name",
        "alter table shop.loose rename to loose_old;create table shop.loose (what text)",
        "insert into shop.loose values ('new'); insert into shop.loose_old values ('old', 1)",
    ),
    change(
        "a table moves to another schema",
        "create schema attic; alter table shop.orders set schema attic",
        "insert into attic.orders (customer_id) values (2)",
    ),
    change(
        "a table moves and is renamed",
        "alter table shop.loose rename to l2; alter table shop.l2 set schema public",
        "insert into public.l2 values ('since', 1)",
    ),
    change(
        "a table becomes unlogged",
        "alter table shop.loose set unlogged",
        "insert into shop.loose values ('since', 1)",
    ),
    change(
        "storage parameters",
        "alter table shop.orders set (fillfactor = 70, toast.autovacuum_enabled = false)",
        _ORDER,
    ),
    change(
        "replica identity",
        "alter table shop.orders replica identity full",
        _ORDER,
    ),
    change(
        "replica identity by an index",
        "alter table shop.orders alter code set not null;alter table shop.orders replica identity using index orders_code",
        _ORDER,
    ),
    change(
        "a table is clustered",
        "alter table shop.orders cluster on orders_pkey",
        _ORDER,
    ),
    change(
        "the owner of a table",
        "alter table shop.loose owner to undo_api",
        admin=True,
    ),
    # row level security
    change(
        "row level security is turned off",
        "alter table shop.orders disable row level security",
        _ORDER,
    ),
    change(
        "row level security is turned on and forced",
        "alter table shop.loose enable row level security;alter table shop.customers enable row level security, "
        "force row level security; create policy all_of_it on shop.customers using (true)",
        _CUSTOMER,
    ),
    change(
        "a new policy",
        "create policy p2 on shop.orders as restrictive for update to undo_anon, undo_api using (total > 1) with check (true)",
        _ORDER,
    ),
    change(
        "a policy is changed",
        "alter policy own_orders on shop.orders to undo_api using (total > 5)",
        _ORDER,
    ),
    change(
        "a policy loses its condition to another command",
        "drop policy own_orders on shop.orders;create policy own_orders on shop.orders for update using (true)",
        _ORDER,
    ),
    change(
        "a policy is dropped",
        "drop policy own_orders on shop.orders",
        _ORDER,
    ),
    change(
        "a policy is renamed",
        "alter policy own_orders on shop.orders rename to theirs",
        _ORDER,
    ),
    # columns
    change(
        "a new column with values",
        "alter table shop.customers add column phone text",
        "update shop.customers set phone = '0' || id where id < 5;" + _CUSTOMER,
    ),
    change(
        "new columns with a default, an index and a check",
        "alter table shop.orders add column rank int not null default 5, add column tags text[] default '{}', "
        "add check (rank > 0);create index on shop.orders (rank)",
        "update shop.orders set rank = id, tags = '{a}';" + _ORDER,
    ),
    change(
        "a new column on a table without a key",
        "alter table shop.loose add column more jsonb",
        "update shop.loose set more = '[1]'; insert into shop.loose values ('since', 3, '{}')",
    ),
    change(
        "a new column that nobody fills",
        "alter table shop.customers add column phone text",
        _CUSTOMER,
    ),
    change(
        "a new identity column",
        "alter table shop.loose add column nr bigint generated always as identity",
        "insert into shop.loose values ('since', 3)",
    ),
    change(
        "a new computed column",
        "alter table shop.orders add column twice numeric generated always as (total * 2) stored",
        _ORDER,
    ),
    change(
        "a new column of a new type",
        "create type shop.size as enum ('s', 'm'); alter table shop.lines add column size shop.size",
        "update shop.lines set size = 'm' where order_id < 9",
    ),
    change(
        "a new column on a partitioned table",
        "alter table shop.events add column who text default 'me'",
        "insert into shop.events values ('2024-06-06', clock_timestamp()::text, 'you')",
    ),
    change(
        "a new column on a parent",
        "alter table shop.animals add column colour text",
        "update shop.animals set colour = 'red'",
    ),
    change(
        "a column is dropped",
        "alter table shop.customers drop column score",
        _CUSTOMER,
        loses="score was dropped",
        moves=True,
    ),
    change(
        "a column that views, an index and policies need is dropped",
        "alter table shop.orders drop column total cascade",
        loses="total was dropped",
        moves=True,
    ),
    change(
        "a column is dropped and another has its name",
        "alter table shop.customers drop column score;alter table shop.customers add column score text",
        "update shop.customers set score = 'best'",
        loses="score was dropped",
        moves=True,
    ),
    change(
        "a column is renamed",
        "alter table shop.orders rename column total to sum",
        "insert into shop.orders (customer_id, sum) values (4, 8)",
    ),
    change(
        "two columns swap their names",
        "alter table shop.orders rename note to tmp; "
        "alter table shop.orders rename code to note;alter table shop.orders rename tmp to code",
        "insert into shop.orders (customer_id, note) values (1, 'w ' || clock_timestamp())",
    ),
    change(
        "a default is changed, one is dropped, one is new",
        "alter table shop.orders alter total set default 9, alter state drop default, alter note set default 'none'",
        "insert into shop.orders (customer_id, state) values (1, 'paid')",
    ),
    change(
        "not null is dropped",
        "alter table shop.lines alter quantity drop not null",
        "update shop.lines set quantity = quantity + 1",
    ),
    change(
        "not null is set",
        "alter table shop.orders alter note set not null",
        "update shop.orders set note = 'x' where id = 1",
    ),
    change(
        "integer becomes bigint",
        "alter table shop.lines alter quantity type bigint",
        "update shop.lines set quantity = 2000000000",
    ),
    change(
        "smallint becomes integer under a view",
        "create view shop.smalls as select small from shop.orders; "
        "drop view shop.smalls;alter table shop.orders alter small type integer; "
        "create view shop.smalls as select small from shop.orders",
        "update shop.orders set small = 32000 where id = 3",
    ),
    change(
        "a text gets longer",
        "alter table shop.orders alter code type text",
        "update shop.orders set code = repeat('y', 40) where id = 1",
    ),
    change(
        "a type changes under views and a computed column",
        "drop view shop.open_totals; drop view shop.open_orders; "
        "drop materialized view shop.sales;drop policy own_orders on shop.orders; "
        "drop policy writing on shop.orders; alter table shop.orders drop column gross;alter table shop.orders "
        "alter total type numeric(14, 2);create policy own_orders on shop.orders for select to undo_anon using "
        "(total >= 0);create policy writing on shop.orders for insert to undo_anon with check (total < "
        "1000000);alter table shop.orders add column gross numeric generated always as (total * 1.19) "
        "stored;create view shop.open_orders with (security_barrier = true) as select o.id, o.total, c.name from "
        "shop.orders o join shop.customers c on c.id = o.customer_id where o.state = 'open';create view "
        "shop.open_totals as select count(*) n, sum(total) total from shop.open_orders;create materialized view "
        "shop.sales as select customer_id, sum(total) total from shop.orders group by customer_id",
        "update shop.orders set total = 5 where id = 7",
        moves=True,
    ),
    change(
        "a type is cut",
        "alter table shop.customers alter score type smallint using (score % 5)::smallint",
        _CUSTOMER,
        loses="what of its integer values did not fit",
    ),
    change(
        "a collation is set",
        "alter table shop.orders alter note type text collate shop.plain",
        _ORDER,
    ),
    change(
        "an identity becomes by default, with other steps",
        "alter table shop.customers alter id set generated by default set increment by 5",
        _CUSTOMER,
    ),
    change(
        "a column becomes an identity",
        "alter table shop.animals alter id add generated by default as identity (start 50)",
        "insert into shop.animals (legs) values (6) on conflict do nothing",
    ),
    change(
        "an identity is taken away",
        "alter table shop.customers alter id drop identity",
        "insert into shop.customers (id, name) values (900, 'since') on conflict do nothing",
    ),
    change(
        "a computed column becomes a plain one",
        "alter table shop.orders alter gross drop expression",
        "update shop.orders set gross = 1 where id = 5",
        moves=True,
    ),
    change(
        "storage, compression, statistics and options of a column",
        "alter table shop.orders alter note set storage external, alter code set statistics 500, alter note set "
        "(n_distinct = 5);alter table shop.customers alter name set compression pglz",
        _ORDER,
    ),
    change(
        "a comment is changed, one is new, one is gone",
        "comment on table shop.customers is 'other'; comment on column shop.orders.note is 'E\\\\''x'''; "
        "comment on column shop.customers.mail is null; comment on function shop.tax(numeric) is 'f'",
    ),
    # constraints
    change(
        "new constraints of all kinds",
        "alter table shop.orders add check (total > -1), add unique (customer_id, id), add constraint later "
        "foreign key (small) references shop.orders (id) deferrable initially deferred not valid;alter table "
        "shop.loose add exclude (how_many with =)",
        _ORDER,
    ),
    change(
        "a constraint is dropped",
        "alter table shop.customers drop constraint customers_name_not_blank",
        _CUSTOMER,
    ),
    change(
        "a foreign key is dropped",
        "alter table shop.orders drop constraint orders_customer_id_fkey",
        _ORDER,
    ),
    change(
        "a foreign key gets another action",
        "alter table shop.orders drop constraint orders_customer_id_fkey;alter table shop.orders add constraint "
        "orders_customer_id_fkey foreign key (customer_id) references shop.customers on delete set null",
        _ORDER,
    ),
    change(
        "a primary key gets another column",
        "alter table shop.lines drop constraint lines_pkey, add column part int default 0;alter table shop.lines "
        "add primary key (order_id, position, part)",
        "insert into shop.lines select 1, 1 + max(position), 3, 0 from shop.lines where order_id = 1",
    ),
    change(
        "a primary key that others refer to is dropped",
        "alter table shop.orders drop constraint orders_pkey cascade",
        _ORDER,
    ),
    change(
        "a constraint is renamed",
        "alter table shop.orders rename constraint orders_pkey to orders_key;alter table shop.lines rename "
        "constraint lines_quantity_check to positive",
        _ORDER,
    ),
    change(
        "a key to a table of another role",
        "alter table shop.orders add column by_user bigint references auth.users (id)",
        "update shop.orders set by_user = 3 where id < 4",
    ),
    # indexes and statistics
    change(
        "new indexes",
        "create index on shop.orders (total desc nulls last) include (note) where total > 3;create unique index "
        "on shop.customers (lower(name)); create index on shop.orders using hash (code)",
        _ORDER,
    ),
    change(
        "an index is dropped",
        "drop index shop.orders_state; drop index shop.orders_code",
        "update shop.orders set note = 'z'",
    ),
    change(
        "an index is renamed and gets options",
        "alter index shop.orders_note rename to by_note;alter index shop.by_note set (fillfactor = 60); "
        "alter index shop.by_note alter column 1 set statistics 300",
        _ORDER,
    ),
    change(
        "an index is made anew in another way",
        "drop index shop.orders_note; create index orders_note on shop.orders (note, code)",
        _ORDER,
    ),
    change(
        "an index on a partitioned table",
        "create index events_at on shop.events (at); drop index shop.events_what",
        "insert into shop.events values ('2024-07-07', clock_timestamp()::text)",
    ),
    change(
        "statistics come, go and change",
        "create statistics shop.more (mcv) on total, small from shop.orders;alter statistics shop.orders_stats set statistics 50",
        _ORDER,
    ),
    change(
        "statistics are dropped",
        "drop statistics shop.orders_stats",
        _ORDER,
    ),
    # views
    change(
        "a new view upon a view",
        "create view shop.v1 as select * from shop.open_orders; create view shop.v2 as select id from shop.v1",
        _ORDER,
    ),
    change(
        "a view is replaced with a column more",
        "create or replace view shop.open_orders with (security_barrier = true) as select o.id, o.total, c.name, "
        "o.code from shop.orders o join shop.customers c on c.id = o.customer_id where o.state = 'open'",
        _ORDER,
    ),
    change(
        "a view is replaced with the same columns",
        "create or replace view shop.open_totals as select count(*) n, sum(total) * 2 total from shop.open_orders",
        _ORDER,
    ),
    change(
        "a view reads a new column",
        "alter table shop.customers add column vip boolean; "
        "create or replace view shop.open_totals as select count(*) n, sum(total) total from shop.open_orders "
        "where exists (select from shop.customers where vip)",
        "update shop.customers set vip = true",
    ),
    change(
        "views are dropped",
        "drop view shop.open_totals; drop view shop.open_orders",
        _ORDER,
    ),
    change(
        "a view is renamed, its column too",
        "alter view shop.open_orders rename to todo; alter view shop.todo rename column name to who",
        _ORDER,
    ),
    change(
        "the options of a view",
        "alter view shop.open_orders set (security_barrier = false)",
        _ORDER,
    ),
    change(
        "a view can be written through a trigger",
        "create function shop.into() returns trigger language plpgsql as 'begin return null; end'; "
        "create trigger i instead of insert on shop.open_totals for each row execute function shop.into();alter "
        "view shop.open_totals alter column n set default 5",
        _ORDER,
    ),
    change(
        "a new materialized view",
        "create materialized view shop.mv as select * from shop.loose; create index on shop.mv (what)",
    ),
    change(
        "a materialized view is replaced",
        "drop materialized view shop.sales; create materialized view shop.sales as select 1 one",
        _ORDER,
    ),
    change(
        "a materialized view is dropped",
        "drop materialized view shop.sales",
        _ORDER,
    ),
    # sequences
    change(
        "a new sequence as a default",
        "create sequence shop.nr start 7; alter table shop.loose alter how_many set default nextval('shop.nr')",
        "insert into shop.loose values ('since')",
    ),
    change(
        "a sequence is changed and moved on",
        "alter sequence shop.ticket increment by 10 maxvalue 5000 cycle cache 5",
        "select nextval('shop.ticket')",
    ),
    change(
        "a sequence is dropped",
        "drop sequence shop.ticket",
    ),
    change(
        "a sequence gets an owner, another loses its own",
        "alter sequence shop.ticket owned by shop.loose.how_many;alter sequence shop.orders_id_seq owned by none",
        _ORDER,
    ),
    change(
        "a sequence belongs to a new column",
        "alter table shop.loose add column t bigint default nextval('shop.ticket');alter sequence shop.ticket "
        "owned by shop.loose.t",
        "insert into shop.loose values ('since', 1)",
    ),
    # functions and triggers
    change(
        "new functions, a procedure and an aggregate",
        "create function shop.f(a int, variadic b text[] default '{}') returns table (x int) language plpgsql "
        "security definer set search_path = '' as 'begin return; end'; "
        "create procedure shop.p(inout a int) language plpgsql as 'begin end'; "
        "create aggregate shop.total(int) (sfunc = int4pl, stype = int); "
        "create function shop.f(text) returns text language sql as 'select $1'",
    ),
    change(
        "a function is replaced",
        "create or replace function shop.tax(amount numeric) returns numeric language sql stable as 'select "
        "amount * 0.07'; create or replace function shop.one(text) returns text language sql as 'select "
        "lower($1)'",
        _ORDER,
    ),
    change(
        "a function returns something else",
        "drop function shop.tax(numeric); create function shop.tax(amount numeric) returns text language sql as "
        "'select amount::text'",
    ),
    change(
        "a function gets other arguments",
        "drop function shop.tax(numeric); create function shop.tax(amount numeric, rate numeric default 0.19) "
        "returns numeric language sql as 'select amount * rate'",
    ),
    change(
        "functions are dropped",
        "drop function shop.tax(numeric); drop procedure shop.tidy(); "
        "drop aggregate shop.product(numeric);drop function shop.one(text)",
    ),
    change(
        "a function is renamed, moved and its rights change",
        "alter function shop.tax(numeric) rename to vat; alter function shop.vat(numeric) set schema public; "
        "revoke execute on function public.vat(numeric) from public; "
        "grant execute on function public.vat(numeric) to undo_api",
    ),
    change(
        "new triggers",
        "create trigger a after insert or update of total on shop.orders for each row when (new.total > 5) "
        "execute function shop.touch(); create constraint trigger c after insert on shop.lines deferrable "
        "initially deferred for each row execute function shop.touch()",
        _ORDER,
    ),
    change(
        "a trigger is disabled",
        "alter table shop.orders disable trigger orders_touch",
        _ORDER,
    ),
    change(
        "a trigger is changed",
        "drop trigger orders_touch on shop.orders; "
        "create trigger orders_touch before insert on shop.orders for each row execute function shop.touch()",
        _ORDER,
    ),
    change(
        "a trigger is dropped with its function",
        "drop function shop.touch() cascade",
        _ORDER,
    ),
    change(
        "a trigger is renamed",
        "alter trigger orders_touch on shop.orders rename to touching",
        _ORDER,
    ),
    change(
        "a trigger on a table of another role",
        "create function shop.on_user() returns trigger language plpgsql as 'begin return new; end'; "
        "create trigger on_auth_user_created after insert on auth.users for each row execute function "
        "shop.on_user()",
    ),
    change(
        "rules",
        "create rule r as on update to shop.loose do instead nothing; drop rule keep_lines on shop.loose",
    ),
    change(
        "an event trigger",
        "create function shop.ddl() returns event_trigger language plpgsql as 'begin end'; "
        "create event trigger watch on ddl_command_end when tag in ('CREATE TABLE') execute function shop.ddl()",
        admin=True,
    ),
    # types
    change(
        "new types",
        "create type shop.t1 as enum ('a'); create type shop.t2 as (a shop.t1); "
        "create domain shop.t3 as shop.t2; create type shop.t4 as range (subtype = text); "
        "create function shop.g(shop.t2) returns shop.t1 language sql as 'select $1.a'",
    ),
    change(
        "a new label that no row has",
        "alter type shop.status add value 'lost' after 'paid'",
        _ORDER,
    ),
    change(
        "a label is renamed",
        "alter type shop.status rename value 'paid' to 'settled'",
        "insert into shop.orders (customer_id, state) values (1, 'settled')",
        relabels={"settled": "paid"},
    ),
    change(
        "a type is renamed and moved",
        "alter type shop.status rename to state; alter type shop.state set schema public",
        _ORDER,
    ),
    change(
        "a new attribute and a renamed one",
        "alter type shop.span owner to current_user; create type shop.pt as (x int, y int); drop type shop.pt",
    ),
    change(
        "a domain is changed",
        "alter domain shop.email drop constraint email_check; "
        "alter domain shop.email add constraint longer check (length(value) > 3); "
        "alter domain shop.email set default 'a@b'; alter domain shop.email set not null",
        loses="",
        writes="",
    ),
    change(
        "types are dropped",
        "drop type shop.span; drop collation shop.plain",
    ),
    # rights
    change(
        "grants of all kinds",
        "grant select, insert on shop.orders to undo_api with grant option; "
        "revoke select on shop.customers from undo_anon; grant update (note) on shop.orders to undo_anon; "
        "revoke update (name) on shop.customers from undo_api; grant usage on sequence shop.ticket to undo_anon; "
        "grant usage on type shop.status to undo_api; grant create on schema shop to undo_api; "
        "revoke execute on function shop.tax(numeric) from public; revoke usage on schema shop from undo_anon",
    ),
    change(
        "default privileges",
        "alter default privileges in schema shop grant all on tables to undo_api; "
        "alter default privileges grant usage on types to undo_anon; "
        "alter default privileges revoke select on tables from undo_anon; "
        "alter default privileges in schema public revoke execute on functions from undo_api; "
        "alter default privileges revoke execute on functions from public",
    ),
    # the rest
    change(
        "a new schema with everything in it",
        "create schema more; create table more.t (id int primary key); "
        "create view more.v as select * from more.t; "
        "create function more.f() returns int language sql as 'select 1'; create type more.e as enum ('a')",
        "insert into more.t values (1)",
    ),
    change(
        "a schema is renamed",
        "alter schema shop rename to store",
        "insert into store.loose values ('since', 2)",
    ),
    change(
        "publications",
        "alter publication shop_live drop table shop.lines; "
        "alter publication shop_live add table shop.customers; "
        "alter publication shop_live set (publish = 'insert'); create publication more for table shop.loose",
        _ORDER,
    ),
    change(
        "a publication is dropped",
        "drop publication shop_live",
        _ORDER,
    ),
    change(
        "a table in a publication is made anew",
        "alter publication shop_live set table shop.orders (id, customer_id) where (id > 3)",
        since=150000,
    ),
    change(
        "text search",
        "create text search configuration shop.w2 (copy = english); "
        "alter text search configuration shop.words alter mapping for word with english_stem; "
        "create text search dictionary shop.d (template = simple, stopwords = english)",
    ),
    change(
        "text search is dropped",
        "drop text search configuration shop.words",
    ),
    change(
        "an operator and a cast",
        "create function shop.same(shop.money_pair, shop.money_pair) returns boolean language sql as 'select "
        "$1.amount = $2.amount'; create operator shop.=== (function = shop.same, leftarg = shop.money_pair, "
        "rightarg = shop.money_pair); create function shop.amount(shop.money_pair) returns numeric language sql "
        "as 'select $1.amount'; create cast (shop.money_pair as numeric) with function "
        "shop.amount(shop.money_pair) as assignment",
    ),
    change(
        "foreign data",
        "create foreign data wrapper w; create server s foreign data wrapper w options (host 'x'); "
        "create foreign table shop.far (id int, what text) server s; grant select on shop.far to undo_api; "
        "create user mapping for public server s",
        admin=True,
    ),
    change(
        "an extension and a column of its type",
        "create extension {extension} schema shop; alter table shop.loose add column e shop.{extension}",
        "update shop.loose set e = 'Ab'",
        admin=True,
        extension="citext",
    ),
    change(
        "an extension and a table of its type",
        "create extension {extension}; create table shop.cities (n public.{extension} primary key)",
        "insert into shop.cities values ('Ulm')",
        admin=True,
        extension="citext",
    ),
    change(
        "names that need quotes",
        f'alter table {ODD} add column "Größe ""x""" int; create index "I; i" on {ODD} ("Wert; '
        f'drop table x");create view shop."V ""w""" as select * from {ODD}; alter table {ODD} rename "Wert; '
        f'drop table x" to "%s {{}}";create policy "P p" on {ODD} using (true); '
        f'comment on table {ODD} is $$its \\ "%s"$$',
        f'update {ODD} set "Größe ""x""" = 5',
    ),
    change(
        "a name of 63 bytes is taken",
        f"alter table {ODD} rename to short; create table {ODD} (a int)",
        f"insert into {ODD} values (1); insert into shop.short values (77, 'x') on conflict do nothing",
    ),
)
