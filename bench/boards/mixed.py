"""What keeps runs off one board: all of it, so that it can be mended at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from bench.boards.entrants import Entrant
from bench.errors import BoardError

__all__ = ["check_alike", "what_differs"]

SHOWN = 3


def check_alike(entrants: Sequence[Entrant]) -> None:
    """BoardError, with everything that the runs differ in, where they cannot be compared."""
    if rows := what_differs(entrants):
        things = ", ".join(row["of"] for row in rows)
        raise BoardError(f"the runs cannot share a board: they differ in {things}", rows)


def what_differs(entrants: Sequence[Entrant]) -> list[dict[str, str]]:
    """A row for each thing in which runs must agree and do not: `of`, and what each run has, by its name.

    A metric that some runs lack is no difference: they have no score there.
    """
    things: dict[str, Callable[[Entrant], str]] = {
        "manifest": lambda each: f"{each.manifest} {each.plan.manifest_hash[:12]}",
        "samples": lambda each: _samples(each, entrants),
        "resolution": lambda each: str(each.plan.resolution),
        "seeds": lambda each: ", ".join(map(str, each.seeds)),
        "axes": lambda each: f"{each.named.editability} against {each.named.fidelity}",
    }
    found = [{"of": thing} | {each.name: tell(each) for each in entrants} for thing, tell in things.items()]
    prints = {each.name: _prints(each) for each in entrants}
    for metric in dict.fromkeys(name for own in prints.values() for name in own):
        found.append({"of": f"fingerprint of {metric}"} | {name: own.get(metric, "") for name, own in prints.items()})
    return [row for row in found if len({value for thing, value in row.items() if thing != "of"} - {""}) > 1]


def _samples(entrant: Entrant, entrants: Sequence[Entrant]) -> str:
    """How many there are, what they are by a digest, and which are not in every run."""
    rows = sorted(json.dumps({k: v for k, v in asdict(s).items() if k != "row"}, sort_keys=True) for s in entrant.plan.samples)
    shared = set.intersection(*({sample.id for sample in each.plan.samples} for each in entrants))
    own = [sample.id for sample in entrant.plan.samples if sample.id not in shared]
    more = f" and {len(own) - SHOWN} more" if len(own) > SHOWN else ""
    alone = f", not in every run: {', '.join(own[:SHOWN])}{more}" if own else ""
    return f"{len(rows)}, {hashlib.sha256(''.join(rows).encode()).hexdigest()[:8]}{alone}"


def _prints(entrant: Entrant) -> Mapping[str, str]:
    tables = (entrant.scores.pairs, entrant.scores.sets)
    return {str(m): str(p) for table in tables for m, p in zip(table["metric"], table["fingerprint"], strict=True)}
