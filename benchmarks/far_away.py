"""A database 30 ms away: how often a transactional file makes us wait for the network, with `transaction = "file"`."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.peers import Row, autopilot, finish, new_database, server, silently, small_migrations, write_migrations

ROUND_TRIP_S = 0.030
FEW, MANY = 5, 45
LIMIT = 2.0
_PIECE = 64 * 1024


@dataclass(slots=True, kw_only=True)
class Link:
    """A proxy on loopback that holds every byte for half a round trip, and counts how often the client has to wait."""

    host: str
    port: int
    #: Turns of the conversation: the client speaks after the server has spoken.
    flights: int = 0
    own_port: int = 0
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    async def serve(self, ready: threading.Event, over: asyncio.Event) -> None:
        listening = await asyncio.start_server(self._met, "127.0.0.1", 0)
        self.own_port = int(listening.sockets[0].getsockname()[1])
        ready.set()
        async with listening:
            await over.wait()

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection(self.host, self.port)
        heard = [True]  # whether the server has spoken since the client last did

        def client_spoke() -> None:
            self.flights += heard[0]
            heard[0] = False

        def server_spoke() -> None:
            heard[0] = True

        await asyncio.gather(_carry(reader, their_writer, client_spoke), _carry(their_reader, writer, server_spoke))


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, spoke: object) -> None:
    """Every piece arrives half a round trip after it was sent; many may be under way at once."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due_s, piece = await under_way.get()
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            if not piece:
                return
            writer.write(piece)
            await writer.drain()

    arriving = asyncio.create_task(deliver())
    with contextlib.suppress(ConnectionError):
        while True:
            piece = await reader.read(_PIECE)
            if piece and callable(spoke):
                spoke()
            under_way.put_nowait((loop.time() + ROUND_TRIP_S / 2, piece))
            if not piece:
                break
    with contextlib.suppress(ConnectionError):
        await arriving
    writer.close()


@contextmanager
def far(url: str) -> Iterator[tuple[Link, str]]:
    """The link, and the URL that goes through it."""
    parts = urlsplit(url)
    link = Link(host=str(parts.hostname), port=int(parts.port or 5432))
    ready, over = threading.Event(), asyncio.Event()
    thread = threading.Thread(target=lambda: link.loop.run_until_complete(link.serve(ready, over)))
    thread.start()
    ready.wait(10)
    try:
        yield link, url.replace(f":{parts.port}/", f":{link.own_port}/")
    finally:
        link.loop.call_soon_threadsafe(over.set)
        thread.join()
        link.loop.close()


def measured(home: Path, url: str, count: int) -> tuple[int, float]:
    """Flights and seconds of a run with `count` files."""
    write_migrations(home / "supabase" / "migrations", small_migrations(count))
    (home / "autopilot.toml").write_text('transaction = "file"\n', encoding="utf-8")
    with far(url) as (link, distant):
        begun = time.perf_counter()
        silently(autopilot("migrate", "--no-backup", "--no-rehearsal", "--no-deploy"), cwd=home, env={"SUPABASE_DB_URL": distant})
        return link.flights, time.perf_counter() - begun


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="autopilot-bench-") as made, server() as running:
        few, few_s = measured(Path(made) / "few", new_database(running, "few"), FEW)
        many, many_s = measured(Path(made) / "many", new_database(running, "many"), MANY)
    more = MANY - FEW
    return finish(
        [
            Row(what=f"flights of a run with {FEW} files", value=few, unit="", note=f"{few_s:.2f} s"),
            Row(what=f"flights of a run with {MANY} files", value=many, unit="", note=f"{many_s:.2f} s"),
            Row(what="round trips a file, counted", value=(many - few) / more, unit="", limit=LIMIT),
            Row(what="round trips a file, by the clock", value=(many_s - few_s) / more / ROUND_TRIP_S, unit=""),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
