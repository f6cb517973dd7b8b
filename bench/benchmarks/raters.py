"""Many raters against one server of a study: is every vote there once, are trials dealt out evenly, and how long does an answer take?

A made-up study is served by the command itself in a process of its own, and raters come to it over HTTP, some hundred at a time: each opens
the link, consents, and answers trial after trial, looking at the pictures of every tenth. With ``--kills`` the server is killed (SIGKILL)
that often on the way and started anew; raters try again, as the page does. In the end the votes in the ledger are held against
those that raters were told are stored.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.raters.ledger import Ledger
from bench.raters.study import Item, Shown, Study, StudyFolder

if TYPE_CHECKING:
    import httpx2

__all__ = ["Outcome", "add_arguments", "crowd", "made_study", "run"]

CHOICES = ("left", "right", "tie", "both_bad")
POSITION = re.compile(r'name="position" value="(\d+)"')
PATIENCE = 120.0
"""Seconds after which a rater gives up."""


@dataclass
class Outcome:
    """What the raters saw and what the ledger has. `lost`, `doubled` and `changed` are votes; `spread` is between items, of raters dealt."""

    raters: int
    votes: int = 0
    lost: int = 0
    doubled: int = 0
    changed: int = 0
    unfinished: int = 0
    spread: int = 0
    kills: int = 0
    seconds: float = 0.0
    waits: dict[str, list[float]] = field(default_factory=lambda: {"page": [], "vote": []})

    @property
    def sound(self) -> bool:
        """Whether nothing was lost, doubled or changed, all came to their end, and no item is ahead by more than one."""
        return not (self.lost or self.doubled or self.changed or self.unfinished) and self.spread <= 1

    def lines(self) -> list[str]:
        """The figures, a line each."""
        waits = {name: np.quantile(times, (0.5, 0.99)) * 1000 for name, times in self.waits.items() if times}
        return [
            f"{self.raters} raters, {self.votes} votes in {self.seconds:.0f} s ({self.votes / self.seconds:.0f} a second), "
            f"{self.kills} kills of the server",
            f"lost {self.lost}, doubled {self.doubled}, changed {self.changed}, raters that did not come to the end {self.unfinished}",
            f"raters dealt to an item: the most less the fewest is {self.spread}",
            *(f"{name}: median {half:.0f} ms, 99 % within {most:.0f} ms" for name, (half, most) in waits.items()),
        ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the part."""
    parser.add_argument("--raters", type=int, default=2000, help="how many come")
    parser.add_argument("--at-once", type=int, default=200, help="how many are there at a time")
    parser.add_argument("--kills", type=int, default=3, help="how often the server is killed on the way")


def run(given: argparse.Namespace) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = made_study(Path(scratch) / "study", sources=100, editors=4, votes=given.raters)
        outcome = crowd(folder, given.raters, at_once=given.at_once, kills=given.kills)
    print("\n".join(outcome.lines()))


def made_study(
    path: Path, *, sources: int, editors: int, votes: int, trials: int = 20, side: int = 64, seed: int = 0
) -> StudyFolder:
    """A study of noise: every pair of `editors` on each of `sources` pictures of `side` pixels, with gold trials."""
    rng = np.random.default_rng(seed)
    folder = StudyFolder.create(path)
    items: list[Item] = []
    for number in range(sources):
        source, *edits = (folder.put(rng.integers(256, size=(side, side, 3), dtype=np.uint8)) for _ in range(editors + 1))
        shown = [Shown(f"editor-{index}", 0.5, picture) for index, picture in enumerate(edits)]
        about = (f"sample-{number}", f"source-{number}", "", "a picture", f"picture number {number}", source)
        pairs = [(one, other) for index, one in enumerate(shown) for other in shown[index + 1 :]]
        items += [Item(f"{number}-{one.editor}-{other.editor}", "trial", *about, one, other) for one, other in pairs]
        items += [Item(f"{number}-gold", "gold", *about, shown[0], shown[1], "first")] if number < 10 else []
    folder.write(Study(path.name, "pairs", seed, votes, trials, 1, 1, tuple(items)))
    return folder


def crowd(folder: StudyFolder, raters: int, *, at_once: int = 200, kills: int = 0, seed: int = 0) -> Outcome:
    """Let raters come to a served study, and hold the ledger against what they were told."""
    outcome = Outcome(raters)
    told: dict[tuple[str, int], str] = {}
    server = Server(folder)
    try:
        begun = time.perf_counter()
        asyncio.run(_come(server, outcome, told, at_once=at_once, kills=kills, seed=seed, trials=folder.read().trials))
        outcome.seconds = time.perf_counter() - begun
    finally:
        server.stop()
    ledger = Ledger(folder.ledger, folder.read())
    votes, sessions, held = ledger.votes(), ledger.sessions(), ledger.held()
    ledger.close()
    names = {session["number"]: session["participant"] for session in sessions}
    kept = [((names[vote["number"]], vote["position"]), vote["answer"]) for vote in votes]
    stored = dict(kept)
    outcome.votes, outcome.doubled = len(kept), len(kept) - len(stored)
    outcome.lost = sum(key not in stored for key in told)
    outcome.changed = sum(stored.get(key, answer) != answer for key, answer in told.items())
    outcome.unfinished = raters - sum(session["finished"] is not None for session in sessions)
    outcome.spread = max(held.values()) - min(held.values())
    return outcome


class Server:
    """`etabench study serve` in a process of its own, on one port however often it is started."""

    def __init__(self, folder: StudyFolder) -> None:
        self.folder, self.port = folder, 0
        self.start()

    def start(self) -> None:
        """Start it and wait until it tells its address."""
        command = [sys.executable, "-m", "bench.cli", "study", "serve", str(self.folder.path), "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", line)
        if found is None:
            raise RuntimeError(f"the server did not start: {line!r}")
        self.port, self.token = int(found[1]), found[2]

    def kill(self) -> None:
        """Kill it without a word of warning."""
        self.process.kill()
        self.process.wait()
        self._close()

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self.process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.kill()

    def _close(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()


async def _come(
    server: Server, outcome: Outcome, told: dict[tuple[str, int], str], *, at_once: int, kills: int, seed: int, trials: int
) -> None:
    import httpx2

    room = asyncio.Semaphore(at_once)
    limits = httpx2.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    address = f"http://127.0.0.1:{server.port}"
    async with httpx2.AsyncClient(base_url=address, limits=limits, timeout=60, trust_env=False) as client:

        async def one(number: int) -> None:
            async with room:
                await Rater(client, f"P{number}", np.random.default_rng([seed, number]), outcome, told).take_part(server.token)

        async def killer() -> None:
            expected = outcome.raters * trials
            for turn in range(1, kills + 1):
                while len(told) < expected * turn / (kills + 1):
                    await asyncio.sleep(0.02)
                await asyncio.to_thread(server.kill)
                outcome.kills += 1
                await asyncio.to_thread(server.start)

        await asyncio.gather(killer(), *(one(number) for number in range(outcome.raters)))


class Rater:
    """Somebody who takes part by HTTP, and tries again where the server is gone, as the page does."""

    def __init__(
        self, client: httpx2.AsyncClient, name: str, rng: np.random.Generator, outcome: Outcome, told: dict[tuple[str, int], str]
    ) -> None:
        self.client, self.name, self.rng, self.outcome, self.told = client, name, rng, outcome, told

    async def take_part(self, token: str) -> None:
        """From the link to the last trial."""
        opened = await self._ask("GET", "/", params={"token": token, "PROLIFIC_PID": self.name})
        session = opened.headers["location"]
        await self._ask("POST", f"{session}/consent")
        while True:
            page = await self._timed("page", "GET", session)
            found = POSITION.search(page.text)
            if found is None:
                return
            position, choice = int(found[1]), str(self.rng.choice(CHOICES))
            if position % 10 == 0:
                for role in ("source", "left", "right"):
                    (await self._ask("GET", f"{session}/{position}/{role}.png")).raise_for_status()
            fields = {"position": found[1], "answer": choice, "seconds": "1.5"}
            stored = await self._timed("vote", "POST", f"{session}/vote", data=fields)
            if stored.status_code == 303:
                self.told[self.name, position] = choice

    async def _timed(self, what: str, method: str, path: str, **more: Any) -> httpx2.Response:
        begun = time.perf_counter()
        answer = await self._ask(method, path, **more)
        self.outcome.waits[what].append(time.perf_counter() - begun)
        return answer

    async def _ask(self, method: str, path: str, **more: Any) -> httpx2.Response:
        import httpx2

        until = time.monotonic() + PATIENCE
        while True:
            try:
                return await self.client.request(method, path, **more)
            except httpx2.TransportError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.1)
