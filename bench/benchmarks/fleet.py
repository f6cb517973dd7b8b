"""A fleet of workers on one store, simulated and on paper: requests that a unit takes, what a fleet asks for, and where that ends.

Planner, claims, mirror and drain are the real ones. The editor sleeps, and the store is memory that counts requests and takes as long for
each as a store far away. Workers are threads of this process, so requests are measured, and what is wasted; not time.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from fsspec import register_implementation
from fsspec.implementations.memory import MemoryFileSystem
from pydantic import Field

from bench.benchmarks.scale import prepared
from editors.base import Editor, EditTask, Image, Knob
from editors.base import Params as BaseParams

__all__ = ["KINDS", "PAGE", "Sleep", "Traffic", "add_arguments", "run", "simulate", "table"]

PAGE = Path(__file__).parents[2] / "docs" / "fleet.md"
KINDS = ("put", "get", "head", "list", "delete")
PAGE_OF_A_LISTING = 1000
WRITES, READS = 3_500, 5_500
"""Requests a second that S3 takes below one prefix before it asks for patience."""
WRITING = ("put", "delete")
GRID = tuple(number / 10 for number in range(11))
TEXT = """# Fleets of workers on one store

What a run at a URL asks of its store. Measured by `python -m bench.benchmarks fleet`: the real planner, claims, mirror and drain, an
editor that sleeps {seconds:g} s a unit of {values} edits, {units} units, and a store of memory that takes {latency:g} ms a request.

{measured}

Refused: claims that another held. Twice: units made by two workers. A listing is a request for every {page} names.

On paper, {edits:,} edits by {gpus:,} GPUs, that is {all_units:,} units, with the constants of the largest fleet above, for units of so many
seconds. A claim is refreshed every {beat:g} s, by a read and a write. A worker spends one part in {looks} of its time at most on listing what
is finished; the last column is what that makes when all is. Pictures of half a megabyte, as 512 pixels give, are {bytes:.2f} TB in
{objects:,} objects.

{paper}

S3 takes {writes:,} writes and {reads:,} reads a second below a prefix before it asks for patience, and more once it has split the
prefix. Bold is what exceeds that: then the store answers SlowDown, its library waits and tries again, and GPUs wait for it. So short units
should be longer ones, of more knob values or a larger `batch`. The driver of a run reads each record once, and every worker the plan, once.
"""


class Sleep(Editor[Image]):
    """Takes its time and gives the source."""

    name = "sleep"
    version = "1"
    knob = Knob("amount", 0.0, 1.0, GRID, "nothing")
    needs_model = False

    class Params(BaseParams):
        """How long it sleeps."""

        seconds: float = Field(1.0, ge=0, description="time a unit takes")

    params: Params

    def prepare(self, task: EditTask) -> Image:
        time.sleep(self.params.seconds)
        return task.image

    def render(self, state: Image, values: Sequence[float]) -> list[Image]:
        return [state] * len(values)


class CountedStore(MemoryFileSystem):
    """A store of memory, `counted://`, that counts requests by kind and lets each of them take `latency` seconds."""

    protocol = "counted"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    requests: ClassVar[Counter[str]] = Counter()
    latency: ClassVar[float] = 0.0
    _lock = threading.Lock()

    def _count(self, kind: str, number: int = 1) -> None:
        with self._lock:
            self.requests[kind] += number
        time.sleep(self.latency * number)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
        self._count("put")
        with self._lock:
            try:
                super().pipe_file(path, value, mode=mode, **more)
            except FileExistsError:
                self.requests["refused"] += 1
                raise

    def cat_file(self, path: str, *more: Any, **named: Any) -> bytes:
        self._count("get")
        with self._lock:
            data: bytes = super().cat_file(path, *more, **named)
            return data

    def info(self, path: str, **more: Any) -> dict[str, Any]:
        if more.pop("refresh", False):  # who asks for one object; others ask on the way
            self._count("head")
        found: dict[str, Any] = super().info(path)
        return found

    def ls(self, path: str, detail: bool = True, **more: Any) -> list[Any]:
        with self._lock:
            found: list[Any] = super().ls(path, detail=detail, **more)
        self._count("list", math.ceil(len(found) / PAGE_OF_A_LISTING) or 1)
        return found

    def rm_file(self, path: str) -> None:
        self._count("delete")
        with self._lock:
            self.store.pop(self._strip_protocol(path), None)


@dataclass(frozen=True)
class Traffic:
    """What a fleet asked of its store: requests by kind, claims refused, units made and how many of them twice, seconds it took."""

    workers: int
    units: int
    made: int
    requests: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def each(self, kind: str) -> float:
        """Requests of a kind for a unit."""
        return self.requests.get(kind, 0) / self.units


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--units", type=int, default=1_000, help="units of the simulated run (a multiple of ten)")
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100], help="workers of the simulated fleets")
    parser.add_argument("--seconds", type=float, default=2.0, help="what a unit takes")
    parser.add_argument("--latency", type=float, default=0.02, help="seconds of a request")
    parser.add_argument("--table", type=Path, default=PAGE, help="the page that is written")


def run(given: argparse.Namespace) -> None:
    """Simulate, calculate, print and write the page."""
    found = [simulate(given.units, workers, given.seconds, given.latency) for workers in given.workers]
    text = page(found, given.seconds, given.latency)
    print(text)
    given.table.write_text(text, encoding="utf-8")


def simulate(units: int, workers: int, seconds: float, latency: float) -> Traffic:
    """Let so many workers drain a run of so many units, each with 11 edits; what they asked of the store from their start to their end."""
    from bench import api
    from bench.store import Run
    from bench.workers.drain import drain

    url, made, failed = f"counted://{uuid.uuid4().hex[:8]}/run", Counter[str](), list[BaseException]()
    register_implementation("counted", CountedStore, clobber=True)

    def work(name: str) -> None:
        try:
            drain(url, device="cpu", worker=name, watch=lambda record: made.update([record.key]))
        except BaseException as error:
            failed.append(error)

    with tempfile.TemporaryDirectory(prefix="etabench-fleet-") as folder, _scratch(f"{folder}/scratch"):
        editor = f"editors=[{{name: 'bench.benchmarks.fleet:Sleep', params: {{seconds: {seconds}}}}}]"
        spec = api.open_spec(prepared(Path(folder), units // 10), [editor])
        plan, manifest = api.plan(spec)
        run = Run.create(url)
        run.begin(spec, plan, manifest)
        run.share_samples()
        CountedStore.latency = latency
        CountedStore.requests.clear()
        begun = time.monotonic()
        threads = [threading.Thread(target=work, args=(f"fleet-{number}",)) for number in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took, requests = time.monotonic() - begun, dict(CountedStore.requests)
        CountedStore.latency = 0.0
    if failed:
        raise failed[0]
    return Traffic(workers, len(plan.units), made.total(), requests, took)


def page(found: Sequence[Traffic], seconds: float, latency: float, edits: int = 1_000_000, gpus: int = 1_000) -> str:
    """The page: what was measured, and what follows for another fleet from the largest that was."""
    from bench.store.claims import BEAT_SECONDS
    from bench.store.mirror import LOOKS

    units = math.ceil(edits / len(GRID))
    heads = ("", "writes/s", "reads/s", "refreshing/s", "listing/s")
    rows = [[f"{each:g} s", *_rates(found[-1], units, gpus, each, latency)] for each in (1.0, 10.0, 60.0, 600.0)]
    measured = [
        [
            str(each.workers),
            *(f"{each.each(kind):.1f}" for kind in KINDS),
            f"{each.each('refused'):.2f}",
            str(each.made - each.units),
        ]
        for each in found
    ]
    return TEXT.format(
        seconds=seconds,
        values=len(GRID),
        units=f"{found[-1].units:,}",
        latency=1e3 * latency,
        measured=table(["workers", *(f"{kind} a unit" for kind in KINDS), "refused a unit", "twice"], measured),
        page=f"{PAGE_OF_A_LISTING:,}",
        edits=edits,
        gpus=gpus,
        all_units=units,
        beat=BEAT_SECONDS,
        looks=LOOKS,
        bytes=edits * 0.5e6 / 1e12,
        objects=edits + 2 * units,
        paper=table(heads, rows),
        writes=WRITES,
        reads=READS,
    )


def _rates(traffic: Traffic, units: int, gpus: int, seconds: float, latency: float) -> list[str]:
    """Requests a second of a fleet: writes, reads, refreshed claims, and listings of what is finished when all is."""
    from bench.store.claims import BEAT_SECONDS
    from bench.store.mirror import LOOKS, SECONDS_OF_A_LOOK

    pace = gpus / seconds
    writes = pace * sum(traffic.each(kind) for kind in WRITING)
    reads = pace * (traffic.each("get") + traffic.each("head"))
    beats = 2 * gpus / BEAT_SECONDS if seconds > BEAT_SECONDS else 0.0
    pages = math.ceil(units / PAGE_OF_A_LISTING)
    listings = gpus * pages / (pages * latency + max(SECONDS_OF_A_LOOK, LOOKS * pages * latency))
    limits = zip((writes, reads, beats, listings), (WRITES, READS, READS, READS), strict=True)
    return [f"**{number:,.0f}**" if number > limit else f"{number:,.0f}" for number, limit in limits]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [list(heads), ["--:"] * len(heads), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@contextlib.contextmanager
def _scratch(folder: str) -> Iterator[None]:
    before = os.environ.get("ETABENCH_SCRATCH")
    os.environ["ETABENCH_SCRATCH"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["ETABENCH_SCRATCH"]
        else:
            os.environ["ETABENCH_SCRATCH"] = before
