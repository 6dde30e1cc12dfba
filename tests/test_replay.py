"""What is decided about an archive's text and rows before anything runs: its frame, names in other schemas, room."""

from __future__ import annotations

from io import BytesIO

import pytest

from autopilot.backups.replay import Entry, _copies, _Text, body
from autopilot.errors import Refused
from autopilot.rollback.loading import bare
from autopilot.rollback.quarantine.choice import Room, aside, base, require_room
from autopilot.rollback.quarantine.default_rights import Default, Right, commands
from autopilot.rollback.quarantine.renaming import Renaming

HEAD = b"""--
-- PostgreSQL database dump
--

\\restrict aBc123

-- Dumped from database version 17.10
-- Dumped by pg_dump version 17.10

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;

"""
TAIL = b"--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict aBc123\n\n"
TRAP = b"CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$\n\\restrict x\n\\unrestrict aBc124\nCOPY a FROM stdin;\n\\.\n$$;\n"


def test_only_the_frame_is_taken_off_and_what_looks_like_it_inside_stays() -> None:
    assert body(HEAD + TRAP + TAIL, "b").encode() == b"\n" + TRAP + b"--\n-- PostgreSQL database dump complete\n--\n\n"


def test_an_archive_of_another_encoding_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        body(HEAD.replace(b"UTF8", b"LATIN1") + TAIL, "b")
    assert refused.value.code == "backup_encoding"


@pytest.mark.parametrize("strange", [b"DROP TABLE x;\n", b"\\! rm\n", b"\\restrict other\n"])
def test_a_head_that_holds_anything_else_is_not_run(strange: bytes) -> None:
    with pytest.raises(Refused) as refused:
        body(HEAD.replace(b"SET check", strange + b"SET check") + TAIL, "b")
    assert refused.value.code == "backup_unreadable"


def entry(name: str, what: str = "TABLE DATA") -> Entry:
    return Entry(line="", what=what, schema="s", name=name, owner="o", section="data")


def read(text: bytes, *names: str) -> list[tuple[str, bytes]]:
    copies = _copies(_Text(raw=BytesIO(text), archive="b"), [entry(name) for name in names])
    return [(copy.statement, b"".join(copy.pieces)) for copy in copies]


def test_rows_end_at_their_own_end_and_nowhere_else() -> None:
    rows = b"1\t\\\\.\n2\tCOPY x FROM stdin;\n\\N\t\\\\restrict\n"
    text = HEAD + b'COPY s.a (x, "odd\nname") FROM stdin;\n' + rows + b"\\.\n\n\nCOPY s.b  FROM stdin;\n\\.\n\n\n" + TAIL
    assert read(text, "a", "b") == [('COPY s.a (x, "odd\nname") FROM stdin', rows), ("COPY s.b  FROM stdin", b"")]


@pytest.mark.parametrize(
    "cut", [b"COPY s.a (x) FROM stdin;\n1\n2", b"", b"COPY s.a (x) FROM stdin;\n\\.\nCOPY s.z (x) FROM stdin;\n\\.\n"]
)
def test_rows_that_end_too_early_or_are_too_many_are_not_taken_for_all(cut: bytes) -> None:
    with pytest.raises(Refused):
        read(HEAD + cut, "a")


def test_names_are_moved_and_words_that_only_look_like_them_are_not() -> None:
    renamed = Renaming(names={"app": "app__r_1"}, stays={("app", "citext")})
    text = (
        "CREATE TABLE app.t (id int DEFAULT nextval('app.s'::regclass), m app.citext, n app.\"Mood\" DEFAULT 'app.t');\n"
        "CREATE VIEW app.v AS SELECT app.id FROM app.app JOIN app.t x ON x.id = app.f(app.id);\n"
        "CREATE FUNCTION app.g() RETURNS int LANGUAGE sql AS $$ select 1 from app.t $$;\n"
        "ALTER TABLE app.t OWNER TO app; COMMENT ON TABLE app.t IS 'app.t';"
    )
    assert renamed(text) == (
        'CREATE TABLE "app__r_1".t (id int DEFAULT nextval(\'"app__r_1".s\'::regclass), m app.citext,'
        ' n "app__r_1"."Mood" DEFAULT \'app.t\');\n'
        'CREATE VIEW "app__r_1".v AS SELECT app.id FROM "app__r_1".app JOIN "app__r_1".t x ON x.id = "app__r_1".f(app.id);\n'
        'CREATE FUNCTION "app__r_1".g() RETURNS int LANGUAGE sql AS $$ select 1 from app.t $$;\n'
        'ALTER TABLE "app__r_1".t OWNER TO app; COMMENT ON TABLE "app__r_1".t IS \'app.t\';'
    )


def test_the_room_for_locks_is_counted_as_the_server_has_it() -> None:
    room = Room(objects=2239, max_locks_per_transaction=64, sessions=100, may_create=True, needed_bytes=10)
    require_room(room)
    with pytest.raises(Refused, match=r"2,240 objects take about 4,480 locks, and 70% of 64 \* 100 = 4,480"):
        require_room(Room(objects=2240, max_locks_per_transaction=64, sessions=100, may_create=True, needed_bytes=10))
    with pytest.raises(Refused) as refused:
        require_room(Room(objects=1, max_locks_per_transaction=64, sessions=100, may_create=True, needed_bytes=10, free_bytes=9))
    assert refused.value.code == "no_room_on_server"


def test_a_quarantines_name_fits() -> None:
    assert aside("public", "0a1b2c3d", letter="q") == "public__q_0a1b2c3d"
    assert aside("ä" * 31, "0a1b2c3d", letter="q") == "ä" * 25 + "__q_0a1b2c3d"


@pytest.mark.parametrize(
    ("what", "name", "of"),
    [
        ("TABLE", "t", "t"), ("FUNCTION", "f(integer, text)", "f"), ("CONSTRAINT", "t t_pkey", "t"), ("ACL", "COLUMN t.c", "t"),
        ("ACL", "FUNCTION f(a integer)", "f"), ("COMMENT", "TRIGGER x ON t", "t"), ("POLICY", "t everybody sees", "t"),
        ("PUBLICATION TABLE", "news t", "t"),
    ],
)  # fmt: skip
def test_an_item_is_known_by_what_it_belongs_to(what: str, name: str, of: str) -> None:
    assert base(entry(name, what)) == of


def test_default_rights_are_lifted_and_put_back_as_they_were() -> None:
    anon, everybody = (
        Right(grantee="anon", privilege="SELECT", may_grant=True),
        Right(grantee="", privilege="EXECUTE", may_grant=False),
    )
    inside = Default(schema="public", kind="r", rights=(anon,))
    assert list(commands(inside, (), back=False)) == [
        'ALTER DEFAULT PRIVILEGES IN SCHEMA "public" REVOKE ALL ON TABLES FROM "anon"'
    ]
    assert list(commands(inside, (), back=True)) == [
        'ALTER DEFAULT PRIVILEGES IN SCHEMA "public" GRANT SELECT ON TABLES TO "anon" WITH GRANT OPTION'
    ]
    anywhere = Default(schema="", kind="f", rights=())
    assert list(commands(anywhere, (everybody,), back=False)) == ["ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC"]
    assert list(commands(anywhere, (everybody,), back=True)) == ["ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM PUBLIC"]


def test_a_tables_columns_are_read_without_the_rest_of_it() -> None:
    made = bare(
        "CREATE TABLE s.t (id bigint NOT NULL, n numeric(10,2)[] DEFAULT '{}', CHECK (id > 0)) PARTITION BY RANGE (id);", "x"
    )
    assert made == "CREATE TEMPORARY TABLE x (id bigint, n numeric(10, 2)[])"
