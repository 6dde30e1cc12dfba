"""Our cut of SQL files against two oracles: libpg_query's own splitter, and what psql makes of the same files."""

# ruff: noqa: E501 - SQL in one line is read best

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import postgast
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.conftest import Cli, Database

from autopilot.migrations.statements import statements
from autopilot.postgres.embedded import EmbeddedServer

#: Each is one statement, written to mislead whoever looks for semicolons.
NASTY = (
    "select 1",
    "select 'a;b', 'it''s; fine', ''",
    r"select E'\';\\', E'a\''';b', 'c\'",
    r"""select U&'d\0061t\+000061;', U&'!0041;' UESCAPE '!', U&"t;\0041" from (select 1 as "t;A") s""",
    "select B'0101', X'1F', N'n;'",
    "select 'one;'\n   'two;'\n\n   'three;'",
    'select 1 as "a;b", 2 as "c""d;", 3 as "--", 4 as "/*"',
    "select $$a;b$$, $q$ $$ ; $$ $q$, $q$ $r$ ; $r$ $q$, $$'$$",
    "select $$;$$ || $é$;$é$ || $_1$ $1;$ $_1$",
    "select 1 /* a ; /* b ; */ ' \" $$ ; */ + 2 -- ; ' \" $$ /*\n + 3",
    "select 1 <-- a comment, not an operator;\n 2",
    "select 5 - -3, 5 -/* ; */-3, 2 +-/**/1",
    "select 1 as a$1, 2 as b$$c",
    "select '{\"a;\": 1}'::jsonb ->> 'a;', array[1,2]@>array[1], 'a' ~~* 'b', '(1,2)'::point <-> '(3,4)'::point",
    "select operator_with.a OPERATOR(pg_catalog.*) 2 from (select 1 as a) operator_with",
    "do $$ begin perform 1; perform ';'; end; $$",
    "do language plpgsql $do$ declare x text := $$a;$$; begin execute $e$ do $i$ begin null; end; $i$ $e$; end $do$",
    "create function f1() returns int language sql begin atomic select 1; select 2; end",
    "create function f2(a int) returns int begin atomic; select case when a > 1 then 2 else 3 end; end",
    "create procedure p1() begin atomic insert into t values (1); update t set a = 2; end",
    "create function f3(a int, b int) returns int language sql immutable return a + case when b > 0 then b else 0 end",
    "create function f4() returns trigger language plpgsql as 'begin new.a := ''x;''; return new; end;'",
    "create function f5() returns text language sql as $end$ select 'begin atomic;' $end$",
    "create rule r1 as on insert to t do also (insert into u values (1); insert into u values (';'); notify n)",
    "create rule r2 as on delete to t do instead (update t set a = 1; ; select 2;)",
    "create schema s1 create table t1 (a int) create view v1 as select a from t1",
    "prepare q (int, text) as select $1 + 1, $2 || ';'",
    "execute q (1, 'x;')",
    'create table "t;x" ("begin" int, "end;" text default \'a;b\', check ("end;" <> \';\'))',
    "create operator <+-> (leftarg = int, rightarg = int, function = int4pl)",
    "comment on table t is 'naïve; “quoted” — 漢字; 🚢;'",
    "insert into t values ('日本語;', $$漢;字$$, 'ÿ') on conflict do nothing",
    "with recursive c (n) as (values (1) union all select n + 1 from c where n < 3) select * from c",
    'create view v2 as select 1 as begin, 2 as atomic, case when true then 1 end as "case"',
    "begin",
    "commit",
    'set search_path = "a;b", public',
    "copy (select ';') to stdout",
    "explain (costs off) select ';'",
    "create trigger tr before update on t for each row when (old.a is distinct from new.a) execute function f4('a;b')",
    "grant select on t to public",
    "create policy p on t using (a = current_setting('x;y')::int)",
    "select (select ';' from (values (';')) v (a))",
    "merge into t using u on t.a = u.a when matched then delete when not matched then insert values (';')",
    "select x'0f'::int, 0b101, 1_000, 1e-3, .5, 5.",
    'listen "channel;"',
    "notify n, 'pay;load'",
    "create domain d as text check (value ~ '^[^;]*$')",
    "create type e as enum ('a;', 'b''c;')",
    "select\v1,\f2",
    "values (';'), ($$;$$)",
    "table t",
    "select 'unicode\u00a0;\u2028;\u0085'",
)
SEPARATORS = (
    ";", ";\n", ";;", " ; ; ", ";\n\n-- a comment; with ' and \" and $$\n", "; /* ; /* ' */ \" */ ", ";\n/**/\n", ";--\n", "\n;\n",
    "; -- é; 漢\n", ";\t\n/* $$ */;\n",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Piece:
    text: str
    line: int
    start: int


def ours(text: str) -> list[Piece]:
    return [Piece(text=s.text, line=s.line, start=s.start) for s in statements(text, file="1_a.sql")]


def by_libpg_query(text: str) -> list[Piece]:
    """libpg_query's split; where a piece's first word is, its scanner tells."""
    raw, found, at = text.encode(), [], 0
    for piece in postgast.split(text):
        whole = piece.encode()
        at = raw.index(whole, at)
        first = next(token.start for token in postgast.scan(piece).tokens if token.token not in COMMENTS)
        start = len(raw[: at + first].decode())
        found.append(Piece(text=whole[first:].decode().rstrip(), line=text.count("\n", 0, start) + 1, start=start))
        at += len(whole)
    return found


COMMENTS = {postgast.pg_query_pb2.SQL_COMMENT, postgast.pg_query_pb2.C_COMMENT}


@pytest.mark.parametrize("statement", NASTY)
def test_a_nasty_statement_is_one_and_keeps_its_text(statement: str) -> None:
    assert [piece.text for piece in ours(statement)] == [statement]
    assert [piece.text for piece in ours(f"{statement};")] == [statement]
    assert [piece.text for piece in ours(f"-- é;\n/* ; */ {statement} ;\n")] == [statement]


def test_all_nasty_statements_in_one_file_are_cut_as_libpg_query_cuts_them() -> None:
    text = ";\n".join(NASTY) + ";\n"
    assert [piece.text for piece in ours(text)] == list(NASTY)
    assert ours(text) == by_libpg_query(text)


@settings(max_examples=300, deadline=None)
@given(
    parts=st.lists(st.tuples(st.sampled_from(NASTY), st.sampled_from(SEPARATORS)), min_size=1, max_size=12),
    head=st.sampled_from(["", "\n", "-- é\n", ";", "/* ; */", "\t;\n"]),
    closed=st.booleans(),
)
def test_any_row_of_nasty_statements_is_cut_where_it_was_joined(parts: list[tuple[str, str]], head: str, *, closed: bool) -> None:
    text = head + "".join(statement + separator for statement, separator in parts)
    text = text if closed else text.rstrip("; \n\t") if parts[-1][1] in {";", ";\n"} else text
    found = ours(text)
    assert [piece.text for piece in found] == [statement for statement, _ in parts]
    assert found == by_libpg_query(text)
    for piece in found:
        assert text.startswith(piece.text, piece.start)
        assert piece.line == text.count("\n", 0, piece.start) + 1


@settings(max_examples=300, deadline=None)
@given(
    literal=st.text(st.characters(exclude_characters="\x00\r", exclude_categories=["Cs"]), max_size=30),
    tag=st.from_regex(r"\A([a-z_é][a-z0-9_é]{0,3})?\Z"),
)
@example(literal="\\", tag="")
@example(literal="$", tag="a")
@example(literal="\u2028\x85\xa0", tag="é")
def test_whatever_a_literal_holds_the_statement_after_it_is_found(literal: str, tag: str) -> None:
    quoted = "'" + literal.replace("'", "''") + "'"
    escaped = "E'" + literal.replace("\\", "\\\\").replace("'", "\\'") + "'"
    name = '"' + (literal.replace('"', '""') or "x") + '"'
    written = [f"select {quoted}", f"select {escaped}", f"select 1 as {name}"]
    if f"${tag}$" not in literal + "$":
        written.append(f"select ${tag}${literal}${tag}$")
    # what follows must not be changed by what is before, in whatever order they stand
    text = "".join(f"{statement};\nselect 'next';" for statement in written)
    assert [piece.text for piece in ours(text)] == [piece for statement in written for piece in (statement, "select 'next'")]
    assert ours(text) == by_libpg_query(text)


def test_a_literal_goes_on_after_a_comment() -> None:
    text = "select 'one;' -- and; on the next line: größer 😀\n 'two;';\nselect 2;"
    assert [piece.text for piece in ours(text)] == text.removesuffix(";").split(";\n")
    assert [(piece.line, text[piece.start :][:8]) for piece in ours(text)] == [(1, "select '"), (3, "select 2")]


def test_a_statement_too_deep_for_its_tree_leaves_the_places_of_the_others_right() -> None:
    deep = "select " + " || ".join(["'a;'"] * 400)
    text = f"select 1;\n{deep};\n/* ; */ select 2;\n"
    assert [(piece.text, piece.line) for piece in ours(text)] == [("select 1", 1), (deep, 2), ("select 2", 3)]
    assert all(text.startswith(piece.text, piece.start) for piece in ours(text))


def test_a_statement_deeper_than_a_stack_has_room_for_ends_nobodys_process() -> None:
    deep = "select " + "+".join(["1"] * 40_000)
    assert [(piece.text, piece.line) for piece in ours(f"{deep};\nselect 2")] == [(deep, 1), ("select 2", 2)]


def test_beside_a_statement_too_deep_for_its_tree_a_commented_copy_is_not_taken_for_the_statement() -> None:
    deep = "select " + " || ".join(["'a'"] * 400)
    text = f"{deep};\n/* select 2 */;select 2"
    assert [(piece.text, piece.start) for piece in ours(text)] == [(deep, 0), ("select 2", len(text) - len("select 2"))]


DIRECTORIES: dict[str, dict[str, str]] = {
    "strings": {
        "1_a.sql": "create table words (id serial primary key, word text);\n"
        r"insert into words (word) values ('a;b'), (E'it\'s;'), (E'\\;'), ('c\'), (U&'\0041;'), ($$;$$), ($x$ $$;$$ $x$);"
        "\ninsert into words (word) values ('one'\n  'two;'\n\n  'three');\n",
        "2_b.sql": "insert into words (word) select 'x;' || word from words where word like '%;%'",
    },
    "bodies": {
        "1_a.sql": "create table t (a int);\ncreate function one() returns int language sql return 1;\n"
        "create function two() returns int language sql begin atomic select 1; select 2; end;\n"
        "create function three(a int) returns text language sql begin atomic\n select case when a > 1 then ';' else 'end' end;\nend;\n"
        "create procedure fill() begin atomic insert into t values (1); insert into t values (2); end;\ncall fill();\n",
        "2_b.sql": "create function four() returns void language plpgsql as $body$\nbegin\n  execute $$insert into t values (4);$$;\n"
        "  execute $q$ do $i$ begin insert into t values (5); end; $i$ $q$;\nend $body$;\nselect four();\n"
        "do $$ begin for i in 10..12 loop insert into t values (i); end loop; end; $$ language plpgsql;",
    },
    "rules": {
        "1_a.sql": "create table t (a int);\ncreate table log (what text);\n"
        "create rule twice as on insert to t do also (insert into log values ('one;'); insert into log values ('two'));\n"
        "insert into t values (1);insert into t values (2);\n",
        "2_b.sql": "create view v as select a from t;\ncreate rule change as on update to v do instead"
        " (update t set a = new.a where a = old.a; insert into log values ('v;'));\nupdate v set a = a + 10;\n",
    },
    "names": {
        "1_a.sql": 'create schema "s;x";\ncreate table "s;x"."t""; --" ("begin" int, "end;" text, "é漢" int);\n'
        'insert into "s;x"."t""; --" values (1, \'a;\', 2);\ncomment on table "s;x"."t""; --" is \'naïve; 漢字; 🚢\';\n',
        "2_b.sql": 'create index "i;x" on "s;x"."t""; --" ("end;") where "end;" <> \';\';\nalter table "s;x"."t""; --" add "more;" text;',
    },
    "comments": {
        "1_a.sql": "/* a ; /* b ; */ ' */ create table t (a int); -- create table no (a int);\n"
        "-- ' unbalanced\ninsert into t values (1 /* ; */ + 2); -- \"\n/* $$ */ insert into t values ((5 <-- a comment;\n 7)::int);\n",
        "2_b.sql": "-- nothing but words; here\n/* and /* here; */ ; */\n",
        "3_c.sql": ";;\n; insert into t values (9);;",
    },
    "settings": {
        "1_a.sql": "create schema shop;\nset search_path = shop;\ncreate table goods (id int);\nset standard_conforming_strings = on;\n",
        "2_b.sql": "create table outside (id int);\nset local lock_timeout = '5s';\nset role none;\n",
        "3_c.sql": "set check_function_bodies = off;\ncreate function later() returns int language sql as 'select id from not_yet';\n"
        "create table not_yet (id int);\n",
    },
    "prepared": {
        "1_a.sql": "create table t (a int, b text);\nprepare put (int, text) as insert into t values ($1, $2 || ';');\n"
        "execute put (1, 'x');\nexecute put (2, '$1;');\ndeallocate put;\n",
        "2_b.sql": "declare c cursor with hold for select a from t order by a;\nclose c;\nlisten \"a;b\";\nnotify \"a;b\", 'c;';\nunlisten *;\n",
    },
    "transactions": {
        "1_a.sql": "begin;\ncreate table t (a int);\nsavepoint one;\ninsert into t values (1);\nrollback to one;\ninsert into t values (2);\ncommit;\n"
        "insert into t values (3);\n",
        "2_b.sql": "start transaction isolation level serializable;\ninsert into t select count(*) from t;\nend;\ncreate index concurrently t_a on t (a);\n"
        "insert into t values (4);\n",
    },
    "enums": {
        "1_a.sql": "create type mood as enum ('a;', 'b''c');\ncreate table diary (m mood);\nalter type mood add value 'new;';\n",
        "2_b.sql": "alter type mood add value 'newer';\ninsert into diary values ('newer'), ('new;');\n",
    },
    "copy": {
        "1_a.sql": "create table t (id int, name text);\nCOPY t (id, name) FROM stdin;\n1\ta;b\n2\t'quoted $$ -- /*\n3\t\\\\N\n4\t\\N\n\\.\n"
        "insert into t values (5, 'after;');\ncopy t from stdin (format csv);\n6,\"x;\ny\"\n\\.\ncopy t from stdin;\n\\.\n",
        "2_b.sql": "create function f() returns void language plpgsql as $$\nbegin\n-- copy t from stdin;\nnull;\nend $$;\n"
        "insert into t values (7, '\ncopy t from stdin;\n');\n",
    },
    "copies": {
        "1_a.sql": 'create table t (id int, name text);\ncreate table "u;v" (id int, name text);\n'
        "copy t from stdin; Copy \"u;v\" (id, name) From STDIN; -- a note; with '\n1\t\\\\.x\n\\.\n2\t\\N\n\\.\n"
        "COPY t /* ; from */ FROM STDIN\n  WITH (FORMAT csv, DELIMITER ';', HEADER, QUOTE '~')\n;\nid;name\n3;~a;\n\\.x\nb'~\n4;\"\n\\.\n"
        "insert into t values (5, E'it\\'s; copy t from stdin;'); copy t from stdin with delimiter as ';' null as '';\n6;\n\\.\n",
        "2_b.sql": "copy t from stdin;\r\n7\tline ends of Windows\r\n\\.\r\ninsert into t values (8, 'x');\r\n",
    },
    "continued": {
        "1_a.sql": "create table t (a text default 'one;' -- a note; with '\n  'two');\ninsert into t values ('x' -- é\n 'y'), (default);\n"
        "create index concurrently t_a on t (a) where a <> 'x' --;\n 'z';\ncomment on table t is 'a;' --\n\n 'b';\n",
    },
    "alone": {
        "1_a.sql": "create table p (a int primary key) partition by range (a);\ncreate table p1 partition of p for values from (1) to (9);\n"
        "insert into p values (1);\nreindex table p;\ncluster p using p_pkey;\ncreate schema s;\nset search_path = s;\ndiscard all;\n"
        "create table in_public (a int);\nset transaction isolation level serializable;\nreindex index p_pkey;\ninsert into p values (2);\n",
    },
    "enums in blocks": {
        "1_a.sql": "create type mood as enum ('sad');\ncreate table diary (m mood);\n"
        "do $$ begin alter type mood add value if not exists 'happy'; exception when duplicate_object then null; end $$;\n"
        "insert into diary values ('happy');\ndo $$ begin execute 'alter type mood add value ''so so'''; end $$;\ninsert into diary values ('so so');\n",
        "2_b.sql": "do $$ begin execute 'alter type mood add value ''new'''; end $$;\ninsert into diary values ('new');\n",
    },
    "triggers": {
        "1_a.sql": "create table t (a int, seen text);\ncreate function mark() returns trigger language plpgsql as"
        " 'begin new.seen := ''x;'' || tg_argv[0]; return new; end;';\n"
        "create trigger tr before insert on t for each row when (new.a > 0) execute function mark('a;b');\n"
        "insert into t values (1), (0);\n",
        "2_b.sql": "create policy own on t using (seen <> ';');\nalter table t enable row level security;\n"
        "create domain word as text check (value ~ '^[^;]*$');\ncreate table u (w word default 'a'::word);\ninsert into u default values;\n",
    },
}  # fmt: skip


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_the_end_is_what_psql_makes_of_the_same_files(
    cli: Cli, database: Database, server: EmbeddedServer, new_database: Callable[[], Database], directory: str
) -> None:
    by_psql = new_database()
    files = [cli.write(name, text) for name, text in DIRECTORIES[directory].items()]
    for file in files:
        told(server, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(file), by_psql.url)
    ran = cli("migrate", "--no-backup", "--no-deploy", "--yes-destroy-data")
    assert ran.code == 0, ran.err
    assert schema(server, database) == schema(server, by_psql)
    assert contents(database) == contents(by_psql)


def told(server: EmbeddedServer, program: str, *arguments: str) -> str:
    done = subprocess.run([server.installation.tool(program), *arguments], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def schema(server: EmbeddedServer, database: Database) -> list[str]:
    """All but our own schemas; without the words that pg_dump makes up anew each time."""
    own = ("--exclude-schema=automation", "--exclude-schema=supabase_migrations")
    dumped = told(server, "pg_dump", "--schema-only", *own, database.url)
    return [line for line in dumped.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def contents(database: Database) -> dict[str, list[str]]:
    """Every row of every table, by the table's name."""
    tables = database.rows(
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace where relkind = 'r'"
        " and nspname !~ '^pg_' and nspname not in ('information_schema', 'automation', 'supabase_migrations', 'auth')"
    )
    return {str(name): [str(row[0]) for row in database.rows(f"select t::text from {name} t order by 1")] for (name,) in tables}
