"""Which files of a migrations directory count, in which order, and which are refused."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest

from autopilot.errors import AutopilotError, Refused, UsageError
from autopilot.migrations.files import listing


def put(directory: Path, **files: str | bytes) -> None:
    """Writes `v_name="text"` as v_name.sql; the leading v is dropped, as a keyword begins with no digit."""
    for name, text in files.items():
        write(directory, f"{name.removeprefix('v')}.sql", text)


def write(directory: Path, name: str, text: str | bytes = "select 1;") -> None:
    (directory / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def names(directory: Path) -> list[str]:
    return [f.file for f in listing(directory).files]


def refused(directory: Path) -> Refused:
    with pytest.raises(Refused) as caught:
        listing(directory)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    "in_order",
    [
        ("10_b.sql", "1_a.sql"),
        ("20250101000000_a.sql", "20250101000001_a.sql"),
        ("10_z.sql", "2_a.sql", "9_a.sql"),
        ("1_B.sql", "2_a.sql", "3_é.sql", "4_a.sql"),
        ("0001_a.sql", "001_a.sql", "01_a.sql", "1_a.sql"),
    ],
)
def test_files_come_in_the_byte_order_of_their_names(tmp_path: Path, in_order: tuple[str, ...]) -> None:
    for name in reversed(in_order):
        write(tmp_path, name)
    assert names(tmp_path) == list(in_order)


@pytest.mark.parametrize(
    ("file", "version", "name"),
    [
        ("20250113090000_touch_updated_at.sql", "20250113090000", "touch_updated_at"),
        ("1_.sql", "1", ""),
        ("001_a_b.c.sql", "001", "a_b.c"),
        ("7_x.sql.sql", "7", "x.sql"),
        ("7_ä ö.sql", "7", "ä ö"),
    ],
)
def test_a_name_is_cut_at_its_first_underscore(tmp_path: Path, file: str, version: str, name: str) -> None:
    write(tmp_path, file)
    (found,) = listing(tmp_path).files
    assert (found.version, found.name, found.file) == (version, name, file)


@pytest.mark.parametrize(
    "twin",
    [
        b"\xef\xbb\xbfselect 1;\nselect 2;\n",
        b"select 1;\r\nselect 2;\r\n",
        b"\xef\xbb\xbfselect 1;\r\nselect 2;\r\n",
        b"select 1;\rselect 2;\r",
    ],
    ids=["byte order mark", "CRLF", "both", "CR"],
)
def test_line_ends_and_a_byte_order_mark_change_the_hash_of_the_bytes_alone(tmp_path: Path, twin: bytes) -> None:
    put(tmp_path, v1_plain=b"select 1;\nselect 2;\n", v2_twin=twin)
    plain, other = listing(tmp_path).files
    assert other.text == plain.text == "select 1;\nselect 2;\n"
    assert other.normalized_sha256 == plain.normalized_sha256
    assert other.sha256 != plain.sha256
    assert other.sha256 == hashlib.sha256(twin).hexdigest()


def test_a_changed_character_changes_both_hashes(tmp_path: Path) -> None:
    put(tmp_path, v1_a="select 1;", v2_b="select 2;")
    one, two = listing(tmp_path).files
    assert one.sha256 != two.sha256
    assert one.normalized_sha256 != two.normalized_sha256


def test_an_empty_file_is_kept(tmp_path: Path) -> None:
    put(tmp_path, v1_empty="")
    (found,) = listing(tmp_path).files
    assert found.text == ""
    assert found.sha256 == found.normalized_sha256 == hashlib.sha256(b"").hexdigest()


def test_an_empty_directory_holds_nothing(tmp_path: Path) -> None:
    found = listing(tmp_path)
    assert (found.files, found.ignored) == ((), ())


@pytest.mark.parametrize(
    "name",
    [
        "init.sql",
        "_a.sql",
        "1.sql",
        "1-a.sql",
        "v1_a.sql",
        " 1_a.sql",
        "1_a.SQL",
        "1_a.sql~",
        "1_a.sql\n",
        "1_a\nb.sql",
        "\uff11\uff12_a.sql",
        "\u0661_a.sql",
        ".gitkeep",
        "README.md",
        "1_a.sql.bak",
    ],
)
def test_a_file_that_is_not_named_like_a_migration_is_ignored_and_said_to_be(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, b"\xff\x00 never read")
    write(tmp_path, "5_good.sql")
    found = listing(tmp_path)
    assert [f.file for f in found.files] == ["5_good.sql"]
    assert [i.name for i in found.ignored] == [name]
    assert "<version>_<name>.sql" in found.ignored[0].why


def test_a_directory_is_ignored_whatever_its_name_and_whatever_it_holds(tmp_path: Path) -> None:
    for name in ("1_x.sql", "nested"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "2_inside.sql")
    put(tmp_path, v3_good="")
    found = listing(tmp_path)
    assert [f.file for f in found.files] == ["3_good.sql"]
    assert [(i.name, "directory" in i.why) for i in found.ignored] == [("1_x.sql", True), ("nested", True)]


@pytest.mark.parametrize(
    ("entries", "kept"),
    [
        (("20211208235959_init.sql", "20220101000000_a.sql"), ["20220101000000_a.sql"]),
        (("20211209000000_init.sql",), ["20211209000000_init.sql"]),
        (("20211208235959_initial.sql",), ["20211208235959_initial.sql"]),
        (("2021120823595_init.sql",), ["2021120823595_init.sql"]),
        (("20200101000000_a.sql", "20211208235959_init.sql"), ["20200101000000_a.sql", "20211208235959_init.sql"]),
        # the Supabase CLI looks at the first entry of the directory, not at the first migration
        ((".gitkeep", "20211208235959_init.sql"), ["20211208235959_init.sql"]),
    ],
)
def test_only_a_first_dump_of_an_early_supabase_cli_is_passed_over(
    tmp_path: Path, entries: tuple[str, ...], kept: list[str]
) -> None:
    for name in entries:
        write(tmp_path, name)
    found = listing(tmp_path)
    assert [f.file for f in found.files] == kept
    assert {i.name for i in found.ignored} == set(entries) - set(kept)


@pytest.mark.parametrize(
    ("raw", "code", "line"),
    [
        ("select 'ä';".encode("latin-1"), "not_utf8", 1),
        ("select 1;\n-- grün\n".encode("latin-1"), "not_utf8", 2),
        (b"select 1;\r\nselect 2;\r\n\xff", "not_utf8", 3),
        (b"select '\xed\xa0\x80'", "not_utf8", 1),
        ("select 1;".encode("utf-16"), "not_utf8", 1),
        ("select 1;".encode("utf-16-be"), "nul_byte", 1),
        (b"\xfe\xff" + "select 1;".encode("utf-16-be"), "not_utf8", 1),
        (b"select 1;\n\nselect \x00 2;", "nul_byte", 3),
        (b"\x00", "nul_byte", 1),
    ],
)
def test_bytes_that_are_not_plain_utf8_are_refused_with_their_line(tmp_path: Path, raw: bytes, code: str, line: int) -> None:
    put(tmp_path, v1_good="select 1;", v2_bad=raw)
    error = refused(tmp_path)
    assert (error.code, error.where.file, error.where.line) == (code, "2_bad.sql", line)
    assert "2_bad.sql" in error.message


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "real.txt")
    (tmp_path / "1_link.sql").symlink_to(tmp_path / "real.txt")
    error = refused(tmp_path)
    assert (error.code, error.where.file) == ("symlink", "1_link.sql")


@pytest.mark.parametrize("target", ["missing", "."], ids=["dangling", "to a directory"])
def test_a_link_that_leads_to_no_file_is_refused_as_a_link(tmp_path: Path, target: str) -> None:
    (tmp_path / "1_link.sql").symlink_to(target)
    assert refused(tmp_path).code == "symlink"


def test_every_file_of_a_doubled_version_is_named(tmp_path: Path) -> None:
    put(tmp_path, v1_a="", v2_b="", v2_c="", v3_d="", v4_e="", v4_f="")
    error = refused(tmp_path)
    assert error.code == "duplicate_version"
    assert "2_b.sql, 2_c.sql, 4_e.sql, 4_f.sql" in error.message
    assert error.where.file == "2_b.sql"


def test_leading_zeros_make_another_version(tmp_path: Path) -> None:
    put(tmp_path, v01_a="", v1_b="")
    assert names(tmp_path) == ["01_a.sql", "1_b.sql"]


@pytest.mark.timeout(20)
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "1_pipe.sql")
    error = refused(tmp_path)
    assert (error.code, error.where.file) == ("not_a_file", "1_pipe.sql")


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("1_socket.sql")
        assert refused(tmp_path).where.file == "1_socket.sql"


def test_a_file_name_that_is_no_text_is_refused_or_ignored_but_never_planned(tmp_path: Path) -> None:
    """Its name could be written neither into the ledger nor to a terminal."""
    raw = os.fsencode(tmp_path) + b"/1_caf\xe9.sql"
    try:
        Path(os.fsdecode(raw)).write_bytes(b"select 1;")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    try:
        found = listing(tmp_path)
    except AutopilotError as error:
        error.message.encode()
    else:
        assert found.files == ()


@pytest.mark.parametrize(
    ("place", "code"),
    [("missing", "no_such_directory"), ("file", "not_a_directory"), ("file/below", "not_a_directory")],
)
def test_a_place_that_is_no_directory_is_a_usage_error(tmp_path: Path, place: str, code: str) -> None:
    write(tmp_path, "file")
    with pytest.raises(UsageError) as wrong:
        listing(tmp_path / place)
    assert wrong.value.code == code
    assert str(tmp_path / place) in wrong.value.message
    assert "--dir" in wrong.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_directory_is_a_usage_error(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o000)
    with pytest.raises(UsageError) as wrong:
        listing(locked)
    assert wrong.value.code == "unreadable_directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    put(tmp_path, v1_a="")
    (tmp_path / "1_a.sql").chmod(0o000)
    assert refused(tmp_path).code == "unreadable_file"


def test_a_file_too_large_to_read_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "1_big.sql").open("wb") as big:
        big.truncate(65 * 1024 * 1024)
    error = refused(tmp_path)
    assert (error.code, error.where.file) == ("file_too_large", "1_big.sql")
