"""The command that looks at a run while others work on it."""

from __future__ import annotations

import json
import math
import time
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from bench.cli.app import Json, RunArgument, app
from bench.commands import console

if TYPE_CHECKING:
    from bench.commands.status import Status

__all__ = ["status"]

SHOWN_CLAIMS = 12


@app.command()
def status(
    run: RunArgument,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="look again and again until nothing is left to do")] = False,
    seconds: Annotated[float, typer.Option(min=0.2, help="between two looks")] = 2.0,
    as_json: Json = False,
) -> None:
    """Say how far a run is, at what pace, who works on it, and what they hold; reads the folder only, and writes nothing."""
    from rich.live import Live

    from bench.commands.status import Watched
    from bench.store import Run

    watched = Watched(Run.open(run))
    found = watched.look()
    if not watch:
        print(_line(found)) if as_json else console.out.print(_view(found))
        return
    with nullcontext() if as_json else Live(_view(found), console=console.out, auto_refresh=False) as live:
        while True:
            if live is None:
                print(_line(found), flush=True)
            else:
                live.update(_view(found), refresh=True)
            if not found.left:
                return
            time.sleep(seconds)
            found = watched.look()


def _line(found: Status) -> str:
    """One line of JSON; what is not known is null."""
    return json.dumps(_null_for_nan(asdict(found) | {"left": found.left}))


def _null_for_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: _null_for_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_null_for_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _view(found: Status) -> RenderableType:
    from bench.progress import duration

    failed = ", ".join(f"{number} {kind}" for kind, number in sorted(found.failed.items(), key=lambda item: (-item[1], item[0])))
    pace = "" if math.isnan(found.per_minute) else f", {found.per_minute:.3g} units a minute of late"
    left = "" if math.isnan(found.seconds_left) or not found.left else f", about {duration(found.seconds_left)} left"
    numbers = f"{found.done} of {found.units} units done, {sum(found.failed.values())} failed, {found.left} left"
    lines = [f"{found.name}: {numbers}{pace}{left}", *([f"failed: {failed}"] if failed else [])]
    if found.left and not found.workers and not found.claims:
        lines.append("nobody works on it; `etabench run` on the folder continues")
    parts: list[RenderableType] = [escape(line) for line in lines]
    if found.workers:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for title in ("worker", "host", "process", "device", "units", "done", "failed", "memory"):
            table.add_column(title, justify="left" if title in {"worker", "host", "device"} else "right")
        for each in found.workers:
            memory = f"{each.memory_mb:.0f} MiB" if each.memory_mb else ""
            names = (escape(each.worker), escape(each.host), str(each.pid), escape(each.device))
            table.add_row(*names, str(each.units), str(each.done), str(each.failed), memory)
        parts.append(table)
    if found.claims:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for title in ("unit", "held by", "for", "last sign"):
            table.add_column(title, justify="right" if title in {"for", "last sign"} else "left")
        for claim in found.claims[:SHOWN_CLAIMS]:
            who = f"{claim.worker} on {claim.host}"
            since = "" if math.isnan(claim.seconds) else duration(claim.seconds)
            table.add_row(escape(claim.unit), escape(who), since, f"{duration(claim.beat)} ago")
        parts.append(table)
        if more := len(found.claims) - SHOWN_CLAIMS:
            parts += [f"and {more} more"] if more > 0 else []
    return Group(*parts)
