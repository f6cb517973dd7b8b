"""L1 and L2 between an edit and the true edit, for sets that have one.

Origin: Zhang et al., "MagicBrush", arXiv 2306.10012, whose columns L1 and L2 these are; reference code: `eval_distance` of
`evaluation/image_eval.py` of its repository. L1 is the mean absolute and L2 the mean squared difference of pixels in 0..1 over the whole
picture, a value per edit; the table prints plain means over edits.

Where it departs: the reference brings an edit of another size to that of the truth by Pillow's bicubic filter; here edit and truth have one
size, to which the run brought them (Lanczos). The reference computes in float32, this in float64. The table's other half, "multi-turn",
takes the last turn of a chain of the method's own outputs, and is a protocol, not another metric.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics.base import PIXELS, Bounds, Card, MetricError, PairBatch, PairMetric
from metrics.networks.images import check_images, open_device
from metrics.toolbox.truths import known_truths

__all__ = ["L1Truth", "L2Truth"]


class _TruthMetric(PairMetric):
    """A mean over the differences of an edit's pixels and the truth's.

    Args:
        device: torch device; a network-free metric of uint8 pixels is not worth the way there and runs on the CPU.

    Raises:
        MetricError: unknown device.
    """

    reads = frozenset({"truths"})
    bounds: Bounds = (0.0, 1.0)
    scale: ClassVar[str]
    definition: ClassVar[str]

    def __init__(self, *, device: str = "cpu") -> None:
        open_device(device)
        self.card = Card(
            name=self.name,
            version="1",
            **PIXELS,
            scale=self.scale,
            masking="whole picture, compared with the true edit",
            nan_rule="true edit unknown",
            higher_is_better=False,
            definition=self.definition,
            source="Zhang et al. 2023, arXiv 2306.10012; evaluation/image_eval.py of OSU-NLP-Group/MagicBrush",
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        edits, truths = check_images(batch.edits, "edits"), known_truths(batch)
        scores = np.full(len(edits), np.nan, dtype=np.float64)
        for row, truth in truths.items():
            if edits[row].shape != truth.shape:
                raise MetricError(
                    f"{self.name}: edits[{row}] is {edits[row].shape[:2]}, truths[{row}] {truth.shape[:2]}; "
                    "pixels are compared in place: give both one size"
                )
            scores[row] = self._value(edits[row].astype(np.float64) / 255 - truth.astype(np.float64) / 255)
        return scores

    @abstractmethod
    def _value(self, difference: NDArray[np.float64]) -> float:
        """The metric of the differences (H, W, 3) of x/255."""


class L1Truth(_TruthMetric):
    """Mean absolute difference of edit and true edit, pixels in 0..1; 0 is the truth, lower is better."""

    name = "l1_truth"
    scale = "mean absolute difference of x/255"
    definition = "Mean absolute difference between edit and true edit."

    def _value(self, difference: NDArray[np.float64]) -> float:
        return float(np.abs(difference).mean())


class L2Truth(_TruthMetric):
    """Mean squared difference of edit and true edit, pixels in 0..1; 0 is the truth, lower is better."""

    name = "l2_truth"
    scale = "mean square of differences of x/255"
    definition = "Mean squared difference between edit and true edit."

    def _value(self, difference: NDArray[np.float64]) -> float:
        return float(np.square(difference).mean())
