"""Own chains: later turns of a session, each edited from what the same editor made of the turn before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench import registry
from bench.errors import SpecError
from bench.plan.entries import Entry

if TYPE_CHECKING:
    from bench.manifest import Manifest, Sample
    from bench.spec import Spec

__all__ = ["Chain"]


class Chain:
    """Which unit makes what a unit edits; none where a spec's turns start from the true pictures.

    Edits that were made elsewhere belong to no chain of ours: whoever made them had their own.
    """

    def __init__(self, spec: Spec, manifest: Manifest, entries: Sequence[Entry]) -> None:
        self._own = spec.chain == "own"
        if self._own and all(row.previous is None for row in manifest.rows):
            raise SpecError(f"chain: own: manifest {manifest.name} has no sessions, no row of it names a `previous`")
        self._outside = [bool(registry.load_editor(entry.target).outside) for entry in entries]
        self._keys: dict[tuple[str, int, int], str] = {}

    def before(self, sample: Sample, entry: int, seed: int) -> dict[str, str]:
        """What is added to the identity of a unit: `before`, the key of the unit of the turn before, or nothing.

        Raises SpecError where that turn is not planned before this one.
        """
        if not self._own or sample.previous is None or self._outside[entry]:
            return {}
        key = self._keys.get((sample.previous, entry, seed))
        if key is None:
            raise SpecError(
                f"chain: own: sample '{sample.id}' follows '{sample.previous}', which is not planned before it; add it to samples"
            )
        return {"before": key}

    def note(self, sample: Sample, entry: int, seed: int, key: str) -> None:
        """Remember a unit, which later turns can now follow."""
        if self._own:
            self._keys[sample.id, entry, seed] = key
