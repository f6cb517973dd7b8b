"""Where the score of an edit comes from: the maps of a run's spatial metric (`metrics.base.SpatialMetric`), for people to look at.

    scores/maps/<fingerprint>/<name>.png     8 bits of grey, at most some 64 cells a side; the name is made of sample and edit

A map is made when its edit is scored, or by the next scoring where it lacks; it is never read as a number. Grey g stands for v with
g / 255 = v / (v + HALF), one scale for all edits of all runs: nothing is cut off, however large, and small values keep their steps.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeGuard

from bench.errors import ScoreError
from bench.store import Run, png_bytes, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from bench.scoring.edits import Edit
    from metrics.base import PairMetric, ScoreMap, SpatialMetric

__all__ = ["HALF", "MapStore", "grey", "is_spatial"]

HALF = 0.25
"""The value of middle grey."""


class MapStore:
    """The maps of a run by one metric. Raises RunError where their folder leads out of the run."""

    def __init__(self, run: Run, fingerprint: str) -> None:
        self._folder = run.own(run.scores / "maps" / fingerprint)
        self._there = set[str]()
        if self._folder.is_dir():
            with os.scandir(self._folder) as files:
                self._there = {file.name for file in files if file.is_file(follow_symlinks=False)}

    def __len__(self) -> int:
        return len(self._there)

    def path(self, sample: str, content: str) -> Path | None:
        """Of the map of the edit with this `content` of the sample with this digest; None where there is none."""
        name = _name(sample, content)
        return self._folder / name if name in self._there else None

    def has(self, edit: Edit) -> bool:
        return _name(edit.info.digest, edit.content) in self._there

    def put(self, edits: Sequence[Edit], maps: Sequence[ScoreMap]) -> None:
        """Keep the maps of edits. Raises ScoreError for one that is none."""
        import numpy as np

        for edit, one in zip(edits, maps, strict=True):
            if one.ndim != 2 or not one.size or not (np.isfinite(one) & (one >= 0)).all():
                raise ScoreError(f"the map of {edit.info.id} is not a table of finite numbers from 0 on: shape {one.shape}")
            name = _name(edit.info.digest, edit.content)
            write_atomically(self._folder / name, png_bytes(grey(one)))
            self._there.add(name)


def grey(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Values >= 0 as the greys that stand for them."""
    import numpy as np

    return np.rint(255 * values / (values + HALF)).astype(np.uint8)


def is_spatial(metric: PairMetric) -> TypeGuard[SpatialMetric]:
    """Whether the metric has maps."""
    from metrics.base import SpatialMetric

    return isinstance(metric, SpatialMetric) and metric.spatial


def _name(sample: str, content: str) -> str:
    return f"{hashlib.sha256(f'{sample} {content}'.encode()).hexdigest()[:32]}.png"
