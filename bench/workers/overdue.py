"""Workers that are stuck: they hold a unit far beyond its time limit."""

from __future__ import annotations

import time
from collections import Counter

from bench.store import Run, claims

__all__ = ["Overdue"]

GRACE_SECONDS = 60.0
"""For what is no part of the unit's time: opening a model, writing pictures."""
SECONDS_BETWEEN_LOOKS = 1.0


class Overdue:
    """Watches the claims of workers whose names begin with `crew`, by this process's own clock; without a `limit` it finds nobody.

    A worker has twice the time limit of all units that it holds, and a minute: within the limit itself it ends a unit on its own.
    """

    def __init__(self, run: Run, crew: str, limit: float | None) -> None:
        self._run, self._crew, self._limit = run, crew, limit
        self._seen: dict[str, tuple[str, float]] = {}
        """Claim by its token to who holds it, and when it was seen first."""
        self._looked = -SECONDS_BETWEEN_LOOKS

    def found(self) -> dict[str, str]:
        """The names of stuck workers, and why they are taken for it."""
        now = time.monotonic()
        if self._limit is None or now - self._looked < SECONDS_BETWEEN_LOOKS:
            return {}
        self._looked = now
        notes = claims.held(self._run.claims).values()
        mine = {note["token"]: note["worker"] for note in notes if note.get("worker", "").startswith(self._crew)}
        self._seen = {token: self._seen.get(token, (worker, now)) for token, worker in mine.items()}
        held = Counter(mine.values())
        most = {worker: 2 * self._limit * number + GRACE_SECONDS for worker, number in held.items()}
        late = {worker: now - since for worker, since in self._seen.values() if now - since > most[worker]}
        return {worker: f"stuck for {seconds:.0f} s, unit_seconds is {self._limit:g}" for worker, seconds in late.items()}
