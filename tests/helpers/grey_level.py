"""A pair metric and a set metric of the grey level, wrapped for torchmetrics, and a process that takes part in computing them.

Here and not in the test, because a process that is started afresh imports what it is to run by the name of its module.
"""

from __future__ import annotations

import json
import warnings
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.base import Card, FeatureSet, Image, PairBatch, PairMetric, SetMetric
from metrics.torch_wrapper import SetTorchMetric, as_torchmetric

CARD = Card(*["x"] * 10, higher_is_better=True, definition="", source="")


class Level(PairMetric):
    """Mean grey level of the edit; undefined for a black one."""

    name = "level"
    card = CARD

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        levels = np.array([edit.mean() for edit in batch.edits])
        return np.where(levels > 0, levels, np.nan)


class LevelGap(SetMetric):
    """Mean over edits of the gap between their level and that of their class in the reference."""

    name = "level_gap"
    card = CARD
    min_samples = 1
    extractor = "level"

    def features(self, images: list[Image]) -> NDArray[np.float32]:
        return np.array([[image.mean(), 1.0] for image in images], dtype=np.float32)

    def value(self, edits: FeatureSet, reference: FeatureSet) -> float:
        known = dict(zip(reference.classes, reference.features[:, 0], strict=True))
        gaps = [row[0] - known[name] for row, name in zip(edits.features, edits.classes, strict=True)]
        return float(np.mean(gaps))


def pixels(*levels: int) -> torch.Tensor:
    return torch.stack([torch.full((3, 6, 5), level, dtype=torch.uint8) for level in levels])


def level_gap() -> SetTorchMetric:
    wrapped = as_torchmetric(LevelGap(), pixels(10, 20, 50), ["cat", "dog", None])
    assert isinstance(wrapped, SetTorchMetric)
    return wrapped


def take_part(rank: int, folder: str) -> None:
    """One of two processes: process 1 has less data, and of one metric none."""
    meeting = f"file://{folder}/meeting"
    torch.distributed.init_process_group("gloo", meeting, timedelta(seconds=120), world_size=2, rank=rank)
    try:
        pair, set_, idle = as_torchmetric(Level()), level_gap(), as_torchmetric(Level())
        levels, names = [([4, 0, 8], ["cat", "dog", "cat"]), ([100], ["dog"])][rank]
        pair.update(pixels(*levels))
        set_.update(pixels(*levels), target_classes=names)
        if rank == 0:
            idle.update(pixels(7))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*before the ``update`` method")
            values = [float(metric.compute()) for metric in (pair, set_, idle)]
        with pair.sync_context():
            together = len(pair.per_sample())
        Path(folder, f"{rank}.json").write_text(json.dumps([*values, together, len(pair.per_sample())]))
    finally:
        torch.distributed.destroy_process_group()
