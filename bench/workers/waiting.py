"""Whom a run waits for, said in one line when it has waited for a few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from bench.store import Run, claims

__all__ = ["Waiting"]

SECONDS_BEFORE_A_WORD = 4.0
MOST_UNITS = 100
"""Of more nobody asks who holds each: a store would be asked for as many notes, by every worker."""


class Waiting:
    """To be told again and again which units are still to do, while nothing else happens; `over` when something does.

    Workers whose name begins with `mine` are not waited for: they work.
    """

    def __init__(self, run: Run, say: Callable[[str], None], mine: str = "") -> None:
        self._run, self._say, self._mine = run, say, mine
        self.over()

    def over(self) -> None:
        """What was waited for has come, or there is something to do."""
        self._since, self._said = time.monotonic(), False

    def go_on(self, pending: Collection[str]) -> None:
        """Say who holds the `pending` units, once, if others hold all of them."""
        now = time.monotonic()
        if self._said or now - self._since < SECONDS_BEFORE_A_WORD or len(pending) > MOST_UNITS:
            return
        self._since = now
        held = [note for key, note in claims.held(self._run.claims).items() if key in pending]
        others = [note for note in held if not (self._mine and note.get("worker", "").startswith(self._mine))]
        if len(others) < len(pending):
            return
        who = sorted({f"process {note['pid'] or '?'} on {note['host'] or '?'} since {note['since'] or '?'}" for note in others})
        more = f" and {len(who) - 1} more" if len(who) > 1 else ""
        units = f"{len(pending)} units that others work" if len(pending) > 1 else "a unit that another works"
        self._say(f"waiting for {units} on: {who[0]}{more}; claims in {self._run.claims}")
        self._said = True
