"""Servers of our own: real ones, started, refused, orphaned and swept."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from autopilot import programs
from autopilot.errors import AutopilotError, Refused, UsageError
from autopilot.postgres import clients, embedded, orphans
from autopilot.postgres.clients import Installation
from autopilot.postgres.embedded import EmbeddedServer
from autopilot.secret import Secret

INSTALLED = clients.installations()
WITH_SERVER = [i for i in INSTALLED if i.has_server]
AS_ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not AS_ROOT, reason="only root can")
pytestmark = pytest.mark.skipif(not WITH_SERVER, reason="there is no PostgreSQL server to run here")

#: Starts a server, says where, and waits to be killed.
OWNER = """
import sys, time
from pathlib import Path
from autopilot.postgres import clients, embedded
server = embedded.start(clients.for_embedded(clients.installations()), home_root=Path(sys.argv[1]))
print(server.pid, server.data_dir, flush=True)
time.sleep(600)
"""

#: Starts a server, asks it something, and stops it.
PASSER_BY = """
import os, sys
from pathlib import Path
import psycopg
from autopilot.postgres import clients, embedded
root = Path(sys.argv[1]) if len(sys.argv) > 1 else None
with embedded.running(clients.for_embedded(clients.installations()), home_root=root) as server:
    with psycopg.connect(server.url().reveal()) as session:
        assert session.execute("select 42").fetchone() == (42,)
    print(os.geteuid(), server.data_dir.stat().st_uid, server.home)
"""


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """pytest's own tmp_path is closed to the user that runs the server, and long."""
    directory = Path(tempfile.mkdtemp(prefix="ap-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def root(open_dir: Path) -> Path:
    return open_dir / "homes"


@pytest.fixture
def installation() -> Installation:
    return clients.for_embedded(INSTALLED)


def asked(server: EmbeddedServer, query: str) -> object:
    with psycopg.connect(server.url().reveal()) as session:
        row = session.execute(query).fetchone()
    assert row is not None
    return row[0]


def homes_in(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("pg-*"))


def python(script: str, *arguments: object, interpreter: str = sys.executable) -> programs.Command:
    argv = (interpreter, "-c", script, *map(str, arguments))
    return programs.Command(argv=argv, env={"PYTHONPATH": ":".join(p for p in sys.path if p)})


@contextlib.contextmanager
def owner(root: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """Another process with a server of its own: the process, its server's pid and data directory."""
    with programs.ended(programs.start(python(OWNER, root), stderr=None)) as process:
        assert process.stdout is not None
        pid, data_dir = process.stdout.readline().decode().split()
        yield process, int(pid), Path(data_dir)


def wait_until_gone(data_dir: Path) -> None:
    while orphans.running_in(data_dir):
        pass


@pytest.mark.parametrize("which", WITH_SERVER, ids=lambda i: f"{i.origin}-{i.major}")
@pytest.mark.parametrize("tcp", [False, True], ids=["socket", "tcp"])
def test_a_server_answers_and_leaves_nothing_behind(which: Installation, tcp: bool, root: Path) -> None:
    with embedded.running(which, home_root=root, tcp=tcp) as server:
        assert asked(server, "select current_setting('server_version_num')::int / 10000") == which.major
        assert asked(server, "select pg_encoding_to_char(encoding) from pg_database limit 1") == "UTF8"
        assert asked(server, "show listen_addresses") == ("127.0.0.1" if tcp else "")
        assert orphans.running_in(server.data_dir) == (server.pid,)
    assert orphans.running_in(server.data_dir) == ()
    assert homes_in(root) == []


def test_a_scratch_server_trades_safety_for_speed_and_a_durable_one_does_not(installation: Installation, root: Path) -> None:
    for durable, expected in ((False, "off off off off"), (True, "on on on on")):
        with embedded.running(installation, home_root=root, durable=durable) as server:
            names = ("fsync", "full_page_writes", "synchronous_commit", "data_checksums")
            assert " ".join(str(asked(server, f"show {name}")) for name in names) == expected


def initialised_in(root: Path) -> list[Path]:
    return sorted(root.glob("initialised-*"))


def test_a_server_by_copy_is_a_server_of_its_own(installation: Installation, root: Path) -> None:
    names = []
    for _ in range(2):
        with embedded.running(installation, home_root=root, by_copy=True, superuser="boss") as server:
            assert asked(server, "select count(*) from pg_database") == 3
            assert asked(server, "show fsync") == "off"
            with psycopg.connect(server.url().reveal(), autocommit=True) as session:
                session.execute("create database mine")
        names.append(server.home.name)
        assert homes_in(root) == []
    assert len(set(names)) == 2
    [kept] = initialised_in(root)
    assert (kept.stat().st_mode & 0o777, kept.stat().st_uid) == (0o700, os.geteuid())
    with (
        embedded.running(installation, home_root=root, by_copy=True, superuser="boss") as one,
        embedded.running(installation, home_root=root, by_copy=True, superuser="boss") as other,
    ):
        with psycopg.connect(one.url().reveal(), autocommit=True) as session:
            session.execute("create table t (a int)")
        assert asked(other, "select to_regclass('t')") is None
    with embedded.running(installation, home_root=root, by_copy=True, superuser="another") as server:
        assert asked(server, "select current_user") == "another"
    assert len(initialised_in(root)) == 2


def test_what_is_copied_is_made_anew_each_day_and_after_it_failed(installation: Installation, root: Path) -> None:
    def started() -> Path:
        with embedded.running(installation, home_root=root, by_copy=True):
            [kept] = initialised_in(root)
            return kept

    first = (started() / "password").read_text()
    assert (started() / "password").read_text() == first
    os.utime(started(), (0, 0))
    second = (started() / "password").read_text()
    assert second != first
    (started() / "data" / "global" / "pg_control").unlink()
    with pytest.raises(Refused, match="failed"):
        started()
    assert initialised_in(root) == []
    assert (started() / "password").read_text() != second
    shutil.rmtree(started() / "data")
    assert started().is_dir()
    assert homes_in(root) == []


def test_settings_of_the_caller_win(installation: Installation, root: Path) -> None:
    with embedded.running(installation, home_root=root, settings={"max_connections": "7"}) as server:
        assert asked(server, "show max_connections") == "7"


def test_every_way_in_asks_for_a_password(installation: Installation, root: Path) -> None:
    with embedded.running(installation, home_root=root, superuser="o neil @ home", tcp=True) as server:
        methods = "select string_agg(distinct auth_method, ' ') from pg_hba_file_rules"
        assert asked(server, methods) == "scram-sha-256"
        by_socket = {"host": str(server.socket_dir), "port": server.port, "user": server.superuser}
        wrong = server.url(password=Secret("guess")).reveal()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(**by_socket, password="guess", dbname="postgres")  # type: ignore[arg-type]
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(**by_socket, dbname="postgres")  # type: ignore[arg-type]
        assert not [path.name for path in server.home.iterdir() if "password" in path.name]


@pytest.mark.parametrize("tcp", [False, True], ids=["socket", "tcp"])
def test_a_url_carries_any_name_and_password(tcp: bool, installation: Installation, root: Path) -> None:
    with embedded.running(installation, home_root=root, tcp=tcp) as server:
        url = server.url("a b/c?d", user="x@y:z", password=Secret("p/w #%"))
    parts = conninfo_to_dict(url.reveal())
    assert (parts["dbname"], parts["user"], parts["password"]) == ("a b/c?d", "x@y:z", "p/w #%")
    assert parts["host"] == ("127.0.0.1" if tcp else str(server.socket_dir))
    assert server.password.reveal() not in repr(server)


@only_root
def test_root_starts_a_server_that_runs_as_nobody(installation: Installation, root: Path) -> None:
    with embedded.running(installation, home_root=root) as server:
        import pwd

        nobody = pwd.getpwnam("nobody").pw_uid
        assert Path(f"/proc/{server.pid}").stat().st_uid == nobody
        assert (server.data_dir.stat().st_uid, stat.S_IMODE(server.data_dir.stat().st_mode)) == (
            nobody,
            0o700,
        )
        assert (server.home.stat().st_uid, stat.S_IMODE(server.home.stat().st_mode)) == (0, 0o711)
        assert stat.S_IMODE(root.stat().st_mode) == 0o711


@only_root
def test_an_ordinary_user_starts_a_server_below_a_directory_of_its_own(open_dir: Path) -> None:
    open_dir.chmod(0o777)
    interpreter = readable_interpreter()
    command = python(PASSER_BY, interpreter=interpreter)
    surroundings = {**command.env, "HOME": str(open_dir), "TMPDIR": str(open_dir)}
    finished = programs.run(programs.Command(argv=command.argv, env=surroundings, user="nobody", cwd=open_dir, timeout_s=60))
    assert finished.ok, finished.stderr
    user, data_owner, home = finished.stdout.decode().split()
    assert user == data_owner != "0"
    homes = open_dir / f"autopilot-{user}"
    assert Path(home).parent == homes
    assert stat.S_IMODE(homes.stat().st_mode) == 0o700


def readable_interpreter() -> str:
    """A Python of our version that nobody may run: root's own often lies under /root."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, shutil.which(version, path="/usr/bin:/usr/local/bin")):
        if candidate is not None:
            trial = python("import autopilot, psycopg", interpreter=candidate)
            with contextlib.suppress(AutopilotError):
                if programs.run(programs.Command(argv=trial.argv, env=trial.env, user="nobody", cwd=Path("/"))).ok:
                    return candidate
    return pytest.skip("no Python that an ordinary user may run")


def test_several_processes_start_and_sweep_at_once(root: Path) -> None:
    with contextlib.ExitStack() as all_ended:
        crowd = [all_ended.enter_context(programs.ended(programs.start(python(PASSER_BY, root)))) for _ in range(4)]
        spoken = [process.communicate(timeout=120) for process in crowd]
    assert [process.returncode for process in crowd] == [0] * 4, spoken
    assert homes_in(root) == []


def test_several_servers_live_side_by_side(installation: Installation, root: Path) -> None:
    with (
        embedded.running(installation, home_root=root) as one,
        embedded.running(installation, home_root=root, tcp=True) as two,
        embedded.running(installation, home_root=root, tcp=True) as three,
    ):
        assert two.port != three.port
        assert {asked(server, "show data_directory") for server in (one, two, three)} == {
            str(server.data_dir) for server in (one, two, three)
        }


def test_a_killed_owners_server_is_ended_and_removed_by_the_next_start(installation: Installation, root: Path) -> None:
    with owner(root) as (process, pid, data_dir):
        process.kill()
        process.wait()
        assert orphans.running_in(data_dir) == (pid,)
        with embedded.running(installation, home_root=root) as server:
            assert homes_in(root) == [server.home.name]
        assert orphans.running_in(data_dir) == ()
        assert not data_dir.parent.exists()


def test_a_killed_owners_dead_server_is_removed_too(root: Path) -> None:
    with owner(root) as (process, pid, data_dir):
        process.kill()
        process.wait()
        os.kill(pid, signal.SIGKILL)
        wait_until_gone(data_dir)
        assert orphans.sweep(root) == (data_dir.parent.name,)
        assert homes_in(root) == []


def test_a_postmaster_pid_that_now_belongs_to_somebody_else_is_left_alone(root: Path) -> None:
    with (
        owner(root) as (process, pid, data_dir),
        programs.ended(programs.start(programs.Command(argv=("sleep", "600")))) as stranger,
    ):
        process.kill()
        process.wait()
        os.kill(pid, signal.SIGKILL)
        wait_until_gone(data_dir)
        (data_dir / "postmaster.pid").write_text(f"{stranger.pid}\n{data_dir}\n")
        assert orphans.sweep(root) == (data_dir.parent.name,)
        assert stranger.poll() is None


def test_a_living_owners_server_is_not_swept(root: Path) -> None:
    with owner(root) as (process, pid, data_dir):
        assert orphans.sweep(root) == ()
        assert orphans.running_in(data_dir) == (pid,)
        process.kill()
        process.wait()
        assert orphans.sweep(root) == (data_dir.parent.name,)


def test_our_own_server_is_not_swept(installation: Installation, root: Path) -> None:
    with embedded.running(installation, home_root=root) as server:
        assert orphans.sweep(root) == ()
        assert asked(server, "select 1") == 1


def test_a_home_whose_maker_died_at_once_is_removed(root: Path, installation: Installation) -> None:
    with embedded.running(installation, home_root=root):
        (root / "pg-unborn").mkdir()
        orphans.sweep(root)
        assert "pg-unborn" not in homes_in(root)


def test_there_is_nothing_to_sweep_where_nothing_is(root: Path) -> None:
    assert orphans.sweep(root) == ()


@pytest.mark.parametrize("durable", [False, True])
def test_a_started_server_outlives_a_block_and_stops_twice(durable: bool, installation: Installation, root: Path) -> None:
    server = embedded.start(installation, home_root=root, durable=durable)
    assert asked(server, "select 1") == 1
    embedded.stop(server)
    embedded.stop(server)
    assert orphans.running_in(server.data_dir) == ()
    assert homes_in(root) == []


def test_an_open_session_does_not_hold_up_the_stop(installation: Installation, root: Path) -> None:
    with contextlib.ExitStack() as later:
        with embedded.running(installation, home_root=root, durable=True) as server:
            session = psycopg.connect(server.url().reveal())
            later.callback(session.close)
            session.execute("select 1")
        assert homes_in(root) == []


def test_a_server_that_died_by_itself_is_still_tidied_away(installation: Installation, root: Path) -> None:
    with embedded.running(installation, home_root=root) as server:
        os.kill(server.pid, signal.SIGKILL)
        wait_until_gone(server.data_dir)
    assert homes_in(root) == []


def test_a_full_disk_is_named_with_its_free_bytes(installation: Installation, open_dir: Path) -> None:
    with small_disk(open_dir) as disk, pytest.raises(Refused) as refused:
        embedded.start(installation, home_root=disk / "homes")
    assert refused.value.code == "no_space"
    assert str(disk) in refused.value.message
    assert "bytes are free" in refused.value.message


def test_a_full_disk_leaves_nothing_behind(installation: Installation, open_dir: Path) -> None:
    with small_disk(open_dir) as disk:
        with pytest.raises(Refused):
            embedded.start(installation, home_root=disk / "homes")
        assert homes_in(disk / "homes") == []


@contextlib.contextmanager
def small_disk(open_dir: Path) -> Iterator[Path]:
    disk = open_dir / "disk"
    disk.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "tmpfs", str(disk))
    if not AS_ROOT or not programs.run(programs.Command(argv=mount)).ok:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        yield disk
    finally:
        assert programs.run(programs.Command(argv=("umount", str(disk)))).ok


@only_root
def test_a_read_only_disk_is_named(installation: Installation, open_dir: Path) -> None:
    with small_disk(open_dir) as disk:
        again = ("mount", "-o", "remount,ro", str(disk))
        assert programs.run(programs.Command(argv=again)).ok
        with pytest.raises(Refused, match="Read-only") as refused:
            embedded.start(installation, home_root=disk / "homes")
    assert refused.value.code == "no_permission"
    assert str(disk) in refused.value.message


def test_a_closed_directory_is_named(installation: Installation, open_dir: Path) -> None:
    closed = open_dir / "closed"
    # Root gets in; the user that runs the server does not.
    closed.mkdir(mode=0o700 if AS_ROOT else 0o500)
    with pytest.raises(Refused) as refused:
        embedded.start(installation, home_root=closed / "homes")
    assert refused.value.code == "no_permission"
    assert str(closed) in refused.value.message
    assert stat.S_IMODE(closed.stat().st_mode) == (0o700 if AS_ROOT else 0o500)


@pytest.mark.parametrize("trap", ["a link", "a file", "open to all"])
def test_an_unsafe_root_directory_is_refused(trap: str, installation: Installation, root: Path) -> None:
    if trap == "a link":
        root.symlink_to(root.parent)
    elif trap == "a file":
        root.touch()
    else:
        root.mkdir()
        root.chmod(0o777)
    with pytest.raises(UsageError) as wrong:
        embedded.start(installation, home_root=root)
    assert wrong.value.code == "unsafe_directory"


@only_root
def test_somebody_elses_root_directory_is_refused(installation: Installation, root: Path) -> None:
    root.mkdir()
    os.chown(root, 65534, 65534)
    with pytest.raises(UsageError, match="belongs to user 65534"):
        embedded.start(installation, home_root=root)


def test_a_path_too_long_for_a_socket_is_refused(installation: Installation, open_dir: Path) -> None:
    deep = open_dir / ("d" * 90)
    with pytest.raises(UsageError) as wrong:
        embedded.start(installation, home_root=deep)
    assert wrong.value.code == "home_path_too_long"
    assert homes_in(deep) == []


def test_a_server_that_will_not_start_shows_its_last_words(installation: Installation, root: Path) -> None:
    with pytest.raises(Refused, match="shared_buffers") as refused:
        embedded.start(installation, home_root=root, settings={"shared_buffers": "nonsense"})
    assert refused.value.code == "embedded_failed"
    assert homes_in(root) == []


def test_an_initdb_that_fails_shows_its_last_words(installation: Installation, root: Path) -> None:
    with pytest.raises(Refused, match="pg_") as refused:
        embedded.start(installation, home_root=root, superuser="pg_reserved")
    assert refused.value.code == "embedded_failed"
    assert homes_in(root) == []


@only_root
def test_programs_that_nobody_can_reach_are_copied_once(installation: Installation, open_dir: Path, root: Path) -> None:
    if installation.origin != "embedded":
        pytest.skip("only a wheel's tree can be moved")
    closed = open_dir / "closed"
    closed.mkdir(mode=0o700)
    tree = shutil.copytree(installation.bin_dir.parent, closed / "package" / "pginstall", symlinks=True)
    hidden = clients.for_embedded(clients.installations(tree / "bin")[:1])
    for _ in range(2):
        with embedded.running(hidden, home_root=root) as server:
            assert asked(server, "select 1") == 1
            assert server.installation == hidden
    assert len(list(root.glob("programs-*"))) == 1
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
