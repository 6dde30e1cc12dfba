"""SQL text cut by PostgreSQL's grammar: statements, segments, and what may commit together."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopilot.errors import Refused
from autopilot.migrations.files import MigrationFile
from autopilot.migrations.segments import Migration, migration
from autopilot.migrations.statements import Statement, shortened, statements
from autopilot.migrations.unit import units, why_apart


def file(text: str, name: str = "1_a.sql") -> MigrationFile:
    version, rest = name.split("_", 1)
    return MigrationFile(version=version, name=rest.removesuffix(".sql"), file=name, text=text, sha256="s", normalized_sha256="n")


def cut(text: str) -> tuple[Statement, ...]:
    return statements(text, file="1_a.sql")


def refused(text: str) -> Refused:
    with pytest.raises(Refused) as caught:
        migration(file(text))
    assert caught.value.where.file == "1_a.sql"
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\n\n-- only words\n/* more */ ;;\n", []),
        ("select 1", [("select 1", 1)]),
        ("select 1;", [("select 1", 1)]),
        (";;select 1;;\n;select 2", [("select 1", 1), ("select 2", 2)]),
        ("\n\nselect\n  1\n;\nselect 2;\n", [("select\n  1", 3), ("select 2", 6)]),
        ("-- a\n/* b\n c */ select 1;", [("select 1", 3)]),
        ("/* a /* b; */\n c; */\nselect 1; /**/ select 2", [("select 1", 3), ("select 2", 3)]),
        ("/*/ not over */ select 1;", [("select 1", 1)]),
        ("select 1 -- one;\n, 2;\nselect 3;", [("select 1 -- one;\n, 2", 1), ("select 3", 3)]),
        (
            "do $$begin perform 1; end$$;\nselect 2;",
            [("do $$begin perform 1; end$$", 1), ("select 2", 2)],
        ),
        (
            "create function f() returns void language plpgsql as $body$\nbegin\n  execute $$a;b$$;\nend $body$;\nselect 2;",
            [
                ("create function f() returns void language plpgsql as $body$\nbegin\n  execute $$a;b$$;\nend $body$", 1),
                ("select 2", 5),
            ],
        ),
        (
            "create function f() returns int\nbegin atomic\n select 1;\n select 2;\nend;\nselect 3;",
            [("create function f() returns int\nbegin atomic\n select 1;\n select 2;\nend", 1), ("select 3", 6)],
        ),
        (
            "create rule r as on insert to t do also (select 1; select 2);\nselect 3;",
            [("create rule r as on insert to t do also (select 1; select 2)", 1), ("select 3", 2)],
        ),
        (r"select E'\';--', 'a;''b';" + "\nselect 2;", [(r"select E'\';--', 'a;''b'", 1), ("select 2", 2)]),
        ("select 'a\n;\nb', \"c;\nd\" from t;\nselect 2;", [("select 'a\n;\nb', \"c;\nd\" from t", 1), ("select 2", 5)]),
        ("select U&'d\\0061t;a', B'01', X'1F';select 2", [("select U&'d\\0061t;a', B'01', X'1F'", 1), ("select 2", 1)]),
        ("-- größer 😀\nselect 'ä😀;';\nselect 'é';", [("select 'ä😀;'", 2), ("select 'é'", 3)]),
        ("\tselect 1;\f\nselect 2;", [("select 1", 1), ("select 2", 2)]),
    ],
)
def test_a_text_is_cut_where_postgresql_cuts_it(text: str, expected: list[tuple[str, int]]) -> None:
    assert [(s.text, s.line) for s in cut(text)] == expected


@pytest.mark.parametrize(
    "text",
    [
        "select 1; select 2",
        "-- größer 😀\nselect 'ä';\n\n/* 😀 */ select 'é' ;select 3;\n-- ende ü\n",
        "do $$ begin raise notice 'ü;'; end $$;\nselect 2",
    ],
)
def test_start_and_end_are_characters_of_the_text(text: str) -> None:
    found = cut(text)
    assert all(text[s.start :].startswith(s.text) for s in found)
    assert all(s.line == text.count("\n", 0, s.start) + 1 for s in found)
    assert all(text[s.end - 1] == ";" for s in found[:-1])
    assert all(one.end <= two.start for one, two in pairwise(found))


_KNOWN = (
    "select 1",
    "select 'a;b', \"c\" from t",
    "select E'\\';'",
    "insert into t values ('größer 😀', 'it''s')",
    "do $$begin\n perform 1; -- ;\nend$$",
    "create function f() returns int begin atomic select 1; select 2; end",
    "create table t (\n  a int, /* x; */\n  b text default ';'\n)",
    "create index concurrently i on t (a)",
)
_BETWEEN = (
    "",
    " ",
    "\n",
    "\n\n",
    "\r",
    "\t",
    "-- ein Wort; ü\n",
    "/* a; */",
    "/* a /* b;\n */ 😀 */\n",
    ";",
    "-- '\n",
    "/*'*/",
    "\n--\n",
)


@given(
    parts=st.lists(st.tuples(st.lists(st.sampled_from(_BETWEEN), max_size=4), st.sampled_from(_KNOWN)), max_size=8),
    tail=st.lists(st.sampled_from(_BETWEEN), max_size=3),
    closed=st.booleans(),
)
def test_statements_joined_by_any_comments_and_blanks_come_back_with_their_lines(
    parts: list[tuple[list[str], str]], tail: list[str], closed: bool
) -> None:
    text, expected = "", []
    for position, (between, statement) in enumerate(parts):
        text += "".join(between)
        expected.append((statement, text.count("\n") + 1))
        text += statement + (";" if closed or position < len(parts) - 1 else "")
    if closed or not parts:
        text += "".join(tail)
    assert [(s.text, s.line) for s in cut(text)] == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\\restrict x\nselect 1;", 1),
        ("select 1;\n\n\\i other.sql\n", 3),
        ("-- é\nselect 'ü';\n\\set ON_ERROR_STOP on\nselect 2;", 3),
        ("\\connect postgres", 1),
        ("select 1 \\g", 1),
        ("  \\echo ready", 1),
    ],
)
def test_a_command_of_psql_is_refused_with_its_line(text: str, line: int) -> None:
    error = refused(text)
    assert (error.code, error.where.line) == ("psql_command", line)


def test_a_backslash_inside_a_string_or_a_body_is_no_command() -> None:
    text = "select '\n\\i x';\ndo $$begin\n\\ \nend$$;"
    assert len(cut(text)) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("COPY t FROM stdin;\n1\tx\n\\.\n", [("COPY t FROM stdin", 1, "1\tx\n")]),
        (
            "select 1;\nCOPY public.t (a, b) FROM stdin;\n1\tx\n2\ty\n\\.\n\nselect 2;\n",
            [("select 1", 1, None), ("COPY public.t (a, b) FROM stdin", 2, "1\tx\n2\ty\n"), ("select 2", 7, None)],
        ),
        ("COPY t FROM STDIN WITH (FORMAT csv);\na;b\n\\.\n", [("COPY t FROM STDIN WITH (FORMAT csv)", 1, "a;b\n")]),
        (
            "COPY t FROM stdin;\nit's /* $$ -- \\i x\n\\.\nselect 2;",
            [("COPY t FROM stdin", 1, "it's /* $$ -- \\i x\n"), ("select 2", 4, None)],
        ),
        ("COPY t FROM stdin;\n\\N\tx\n\\.\n", [("COPY t FROM stdin", 1, "\\N\tx\n")]),
        ("COPY t FROM stdin;\n\\.\n", [("COPY t FROM stdin", 1, "")]),
        (
            "-- ü\n\ncopy t\n from\n stdin;\nä😀\n\\.\nselect 'é';",
            [("copy t\n from\n stdin", 3, "ä😀\n"), ("select 'é'", 8, None)],
        ),
        (
            "COPY t FROM stdin;\ncopy that\n\\.\nCOPY u FROM stdin;\n1\n\\.\n",
            [("COPY t FROM stdin", 1, "copy that\n"), ("COPY u FROM stdin", 4, "1\n")],
        ),
        (
            "COPY t FROM stdin;\ncopy x from stdin;\n\\.\nselect 2;",
            [("COPY t FROM stdin", 1, "copy x from stdin;\n"), ("select 2", 4, None)],
        ),
        (
            "copy t from stdin; copy u from stdin; select 1; -- ; '\n1\n\\.\n2\n\\.\nselect 2;",
            [("copy t from stdin", 1, "1\n"), ("copy u from stdin", 1, "2\n"), ("select 1", 1, None), ("select 2", 6, None)],
        ),
        (
            "begin; copy t from stdin (delimiter ';');\n1;2\n\\.x\n\\. \n\\.\ncommit;",
            [("begin", 1, None), ("copy t from stdin (delimiter ';')", 1, "1;2\n\\.x\n\\. \n"), ("commit", 6, None)],
        ),
        (
            (
                "select E'\\';copy t from stdin;\n', E'a' -- it''s\n 'b\\';';\n"
                '/* ; */ copy /* ; */ "t;" from /* ; */ stdout\n;\n1\n\\.\n'
            ),
            [
                ("select E'\\';copy t from stdin;\n', E'a' -- it''s\n 'b\\';'", 1, None),
                ('copy /* ; */ "t;" from /* ; */ stdout', 4, "1\n"),
            ],
        ),
        (
            "copy t from stdin; -- what follows is the next statement\n1\n\\.\n-- words;\ncopy u from stdin;\n2\n\\.",
            [("copy t from stdin", 1, "1\n"), ("copy u from stdin", 5, "2\n")],
        ),
        (
            "select a$b$ from t;\ncopy t from stdin;\n$b$\n\\.\nselect $b$;$b$;",
            [("select a$b$ from t", 1, None), ("copy t from stdin", 2, "$b$\n"), ("select $b$;$b$", 5, None)],
        ),
        ("copy t from stdin;", [("copy t from stdin", 1, "")]),
        ("do $$\ncopy t from stdin;\n$$;\nselect 2;", [("do $$\ncopy t from stdin;\n$$", 1, None), ("select 2", 4, None)]),
    ],
)
def test_the_rows_of_a_copy_are_its_own_and_every_line_keeps_its_number(
    text: str, expected: list[tuple[str, int, str | None]]
) -> None:
    assert [(s.text, s.line, s.copy_rows) for s in cut(text)] == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [("COPY t FROM stdin;\n1\n", 1), ("select 1;\n\nCOPY t FROM stdin;\n1\n2\n\\. \\.\n", 3), ("COPY t FROM stdin;\n", 1)],
)
def test_rows_that_never_end_are_refused_with_the_line_of_their_copy(text: str, line: int) -> None:
    error = refused(text)
    assert (error.code, error.where.line) == ("copy_without_end", line)


@pytest.mark.parametrize(
    ("text", "clue"),
    [
        ("\\restrict x1y2\nselect 1;", "\\unrestrict"),
        ("select 1;\n\\.", "none is open"),
        ("\\copy t from 'x.csv'", "COPY … FROM stdin"),
        ("\\ir other.sql", "that file's text"),
        ("select 'create table t ()' \\gexec", "EXECUTE"),
        ("select 1 as one \\gset", "DO block"),
        ("\\if :x", "IF … THEN"),
        ("\\connect - postgres", "the database that Autopilot is given"),
        ("\\! ls `pwd`", "never run through psql"),
        ("\\set x `pwd`", "never run through psql"),
        ("select :'name';", "variable of psql"),
        ("insert into t values (:id);", "variable of psql"),
        ('select * from :"table";', "variable of psql"),
        ("select a ? b, : c;", "grammar stopped"),
    ],
)
def test_what_only_psql_understands_is_refused_with_what_to_write_instead(text: str, clue: str) -> None:
    error = refused(text)
    assert error.code == ("psql_command" if "\\" in text else "syntax_error")
    assert clue in error.hint


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("select 'one' -- größer 😀 größer 😀\n 'two';\n-- é\nselect 'é' \\gset\n", "psql_command"),
        ("select 'one' -- größer 😀\n 'two';\nselect 'é' frm\n from;", "syntax_error"),
    ],
)
def test_an_error_below_a_continued_literal_is_told_with_its_own_line(text: str, code: str) -> None:
    error = refused(text)
    assert (error.code, error.where.line) == (code, 4)


def test_a_comment_of_the_other_kind_ends_a_literal_as_it_does_in_postgresql() -> None:
    assert refused("select 'one' /* not here */\n 'two';").code == "syntax_error"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("set standard_conforming_strings = off;\nselect 1;\ninsert into t values ('a\\\\b');", 3),
        ("SET SESSION standard_conforming_strings TO 'off'; select '\\n';", 1),
    ],
)
def test_strings_whose_meaning_a_setting_would_change_are_refused(text: str, line: int) -> None:
    error = refused(text)
    assert (error.code, error.where.line) == ("backslash_strings", line)


@pytest.mark.parametrize(
    "text",
    [
        "set standard_conforming_strings = on; select '\\n';",
        "set standard_conforming_strings = off; select E'\\n', $$\\$$, 'plain' as \"\\\" -- \\\n;",
        "set standard_conforming_strings = off; set standard_conforming_strings to default; select '\\n';",
    ],
)
def test_strings_that_read_the_same_under_any_setting_are_fine(text: str) -> None:
    assert cut(text)


@pytest.mark.parametrize("text", ["copy t to stdout;", "copy t from '/tmp/stdin';", "select 'copy t from stdin';"])
def test_other_copies_take_no_rows(text: str) -> None:
    assert [s.copy_rows for s in cut(text)] == [None]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("selekt 1;", 1, "selekt"),
        ("select 1;\n-- é 😀\nselect 'äöü'\n  frm from;", 4, "syntax error"),
        ("select 1;\ncreate table t (a int,);", 2, "syntax error"),
        ("select 1;\nselect 'open", 2, "unterminated quoted string"),
        ("/* open", 1, "unterminated /* comment"),
        ("select 1;\ndo $$ begin", 2, "unterminated dollar-quoted string"),
        ("create table t (\n  a int\n", 3, "end of input"),
    ],
)
def test_a_syntax_error_is_refused_with_its_line_and_postgresqls_words(text: str, line: int, words: str) -> None:
    error = refused(text)
    assert (error.code, error.where.line) == ("syntax_error", line)
    assert words in error.message
    assert f"1_a.sql:{line}" in error.message


@pytest.mark.parametrize("terms", [40, 100, 500])
def test_a_long_chain_of_operators_is_one_statement(terms: int) -> None:
    """PostgreSQL takes it; a parse tree that many levels deep must not be too much for us."""
    chain = "select " + " || ".join(["'x'"] * terms)
    (found,) = cut(chain + ";")
    assert (found.text, found.kind) == (chain, "select_stmt")


def test_a_long_statement_is_shortened_for_a_message() -> None:
    assert shortened(" select 1 ") == "select 1"
    assert len(shortened("x" * 1000)) == 400
    assert shortened("x" * 1000).endswith("…")


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("create index i on t (a)", None),
        ("create index concurrently i on t (a)", "CREATE INDEX CONCURRENTLY"),
        ("create unique index concurrently if not exists i on t (a)", "CREATE INDEX CONCURRENTLY"),
        ('create index "concurrently" on t (a)', None),
        ("drop index i", None),
        ("drop index concurrently if exists i", "DROP INDEX CONCURRENTLY"),
        ("vacuum", "VACUUM"),
        ("vacuum (analyze) t", "VACUUM"),
        ("analyze t", None),
        ("reindex table t", None),
        ("reindex index i", None),
        ("reindex table concurrently t", "REINDEX CONCURRENTLY"),
        ("reindex (concurrently) index i", "REINDEX CONCURRENTLY"),
        ("reindex schema s", "REINDEX of more than one table"),
        ("reindex database d", "REINDEX of more than one table"),
        ("reindex system d", "REINDEX of more than one table"),
        ("alter system set work_mem = '8MB'", "ALTER SYSTEM"),
        ("alter system reset all", "ALTER SYSTEM"),
        ("create database d", "CREATE DATABASE"),
        ("drop database if exists d", "DROP DATABASE"),
        ("alter database d set work_mem = '8MB'", None),
        ("alter database d set tablespace s", "ALTER DATABASE SET TABLESPACE"),
        ("create tablespace s location '/x'", "CREATE TABLESPACE"),
        ("drop tablespace s", "DROP TABLESPACE"),
        ("alter table p detach partition c", None),
        ("alter table p detach partition c concurrently", "DETACH PARTITION CONCURRENTLY"),
        ("alter table p detach partition c finalize", None),
        ("cluster", "CLUSTER of all tables"),
        ("discard all", "DISCARD ALL"),
        ("discard temp", None),
        ("cluster t using i", None),
        ("create subscription s connection 'x' publication p", "CREATE SUBSCRIPTION"),
        ("alter type e add value 'x'", None),
        ("refresh materialized view concurrently m", None),
        ("select 1", None),
    ],
)
def test_a_statement_stands_alone_where_postgresql_wants_it_to(text: str, alone: str | None) -> None:
    (found,) = cut(text)
    assert found.alone_because == alone


def shape(text: str) -> list[tuple[str, int, str | None]]:
    return [(s.kind, len(s.statements), s.begin) for s in migration(file(text)).segments]


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("", []),
        ("-- nothing", []),
        ("begin; commit;", []),
        ("select 1;\nselect 2;", [("transaction", 2, None)]),
        ("begin; select 1; commit;\nbegin; select 2; select 3; end;", [("transaction", 1, "begin"), ("transaction", 2, "begin")]),
        (
            "START TRANSACTION ISOLATION LEVEL SERIALIZABLE;\nselect 1;\nCOMMIT;",
            [("transaction", 1, "START TRANSACTION ISOLATION LEVEL SERIALIZABLE")],
        ),
        (
            "select 1; begin; select 2; commit; select 3;",
            [("transaction", 1, None), ("transaction", 1, "begin"), ("transaction", 1, None)],
        ),
        ("select 1; commit; select 2;", [("transaction", 1, None), ("transaction", 1, None)]),
        (
            "create table t (a int);\ncreate index concurrently i on t (a);\ninsert into t values (1);",
            [("transaction", 1, None), ("alone", 1, None), ("transaction", 1, None)],
        ),
        ("create index concurrently i on t (a);", [("alone", 1, None)]),
        ("vacuum; vacuum t;", [("alone", 1, None), ("alone", 1, None)]),
        ("analyze t; select 1;", [("transaction", 2, None)]),
        ("begin; select 1; commit; vacuum;", [("transaction", 1, "begin"), ("alone", 1, None)]),
        ("savepoint a; select 1; rollback to a; release savepoint a;", [("transaction", 4, None)]),
        ("begin; savepoint a; select 1; rollback to savepoint a; commit;", [("transaction", 3, "begin")]),
        ("begin; begin; select 1; commit;", [("transaction", 2, "begin")]),
        ("begin; select 1; commit and no chain;", [("transaction", 1, "begin")]),
        # a new enum value can be used only once it is committed
        ("alter type e add value 'b';\nselect 1; select 'b'::e;", [("transaction", 2, None), ("transaction", 1, None)]),
        ("alter type e add value 'b';\nselect 'a'::e;", [("transaction", 2, None)]),
        ("do $$ begin alter type e add value 'b'; end $$; select 'b'::e;", [("transaction", 1, None), ("transaction", 1, None)]),
        ("do $$ begin execute 'alter type e add value ''b'''; end $$; select 'a'::e;", [("transaction", 2, None)]),
    ],
)
def test_a_file_is_cut_into_transactions_and_statements_that_stand_alone(
    text: str, segments: list[tuple[str, int, str | None]]
) -> None:
    assert shape(text) == segments


def test_a_segment_is_the_authors_text_from_its_first_statement_to_its_last() -> None:
    text = "-- ä\nselect 1; -- one\nselect 2;\nvacuum;\n\nselect 3"
    first, alone, last = migration(file(text)).segments
    assert (first.text, alone.text, last.text) == ("select 1; -- one\nselect 2;", "vacuum;", "select 3")
    assert all(text[s.start :].startswith(s.text) for s in (first, alone, last))


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("select 1;\nrollback;", "transaction_control", 2),
        ("begin;\nselect 1;\nabort;", "transaction_control", 3),
        ("begin; select 1;\ncommit and chain;\ncommit;", "transaction_control", 2),
        ("begin; select 1; rollback and chain; commit;", "transaction_control", 1),
        ("begin;\nprepare transaction 'x';", "transaction_control", 2),
        ("commit prepared 'x';", "transaction_control", 1),
        ("begin;\ncreate index concurrently i on t (a);\ncommit;", "alone_in_transaction", 2),
        ("begin;\nselect 1;\nvacuum;\ncommit;", "alone_in_transaction", 3),
        ("select 1;\n\nbegin;\nselect 2;", "unclosed_transaction", 3),
        ("begin; select 1; commit;\nbegin;", "unclosed_transaction", 2),
    ],
)
def test_what_would_leave_its_transaction_is_refused_with_its_line(text: str, code: str, line: int) -> None:
    error = refused(text)
    assert (error.code, error.where.line) == (code, line)
    assert error.where.statement


def push(*texts: str) -> tuple[Migration, ...]:
    return tuple(migration(file(text, f"{number}_m.sql")) for number, text in enumerate(texts, 1))


@pytest.mark.parametrize(
    ("texts", "clue"),
    [
        (("select 1;",), "only one file"),
        (("select 1;", "create index concurrently i on t (a);"), "2_m.sql holds statements that cannot share"),
        (("begin; select 1; commit;", "select 2;"), "1_m.sql has a BEGIN of its own"),
        (("alter type e add value 'x';", "select 2;"), "1_m.sql adds an enum value"),
        (("select 1;\nlock table t;", "select 2;"), "1_m.sql:2"),
        (("call p();", "select 2;"), "1_m.sql:1"),
        (("set constraints all deferred;", "select 2;"), "1_m.sql:1"),
        (("create temp table x (a int) on commit drop;", "select 2;"), "1_m.sql:1"),
        (("create temporary table x (a int);", "select 2;"), "1_m.sql:1"),
        (("select 1;", "alter table t add constraint c foreign key (a) references u deferrable;"), "2_m.sql:1"),
        (("create table t (a int references u initially deferred);", "select 1;"), "1_m.sql:1"),
    ],
)
def test_files_that_live_by_a_commit_in_between_are_kept_apart(texts: tuple[str, ...], clue: str) -> None:
    migrations = push(*texts)
    why = why_apart(migrations)
    assert why is not None
    assert clue in why
    assert len(units(migrations)) == sum(max(1, len(m.segments)) for m in migrations)


@pytest.mark.parametrize(
    "texts",
    [
        ("select 1;", "select 2;"),
        ("create type e as enum ('a');", "create table t (a e);", "insert into t values ('a');"),
        ("", "select 1;"),
        ("savepoint a; rollback to a;", "select 1;"),
        ("alter type e rename to f;", "select 1;"),
    ],
)
def test_files_that_may_commit_at_once_make_one_unit(texts: tuple[str, ...]) -> None:
    migrations = push(*texts)
    assert why_apart(migrations) is None
    (unit,) = units(migrations)
    assert [p.migration.version for p in unit.parts] == [m.version for m in migrations]
    assert all(p.last for p in unit.parts)


def test_the_ledger_row_belongs_to_a_files_last_segment() -> None:
    found = units(push("select 1; vacuum; select 2;", ""))
    assert [[(p.migration.version, p.number, p.last) for p in u.parts] for u in found] == [
        [("1", 0, False)],
        [("1", 1, False)],
        [("1", 2, True)],
        [("2", 0, True)],
    ]


def test_nothing_pending_makes_no_unit() -> None:
    assert units(()) == ()
