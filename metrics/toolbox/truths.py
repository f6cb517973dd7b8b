"""The ground-truth edits of a batch, where they are known."""

from __future__ import annotations

from metrics.base import Image, PairBatch
from metrics.networks.images import check_image

__all__ = ["known_truths"]


def known_truths(batch: PairBatch) -> dict[int, Image]:
    """Row to ground truth uint8 (H, W, 3), where there is one.

    Raises:
        MetricError: a truth is no such picture.
    """
    return {row: check_image(truth, f"truths[{row}]") for row, truth in enumerate(batch.truths) if truth is not None}
