"""Classifier accuracy: is the target class what a classifier sees in the edit?

Origin: Couairon et al., "FlexIT", arXiv 2203.04705, section 4 (DeiT restricted to the classes in use); reference code: `eval.py` of its
repository, reproduced by `flexit_accuracy`.

Definition: 1 if the target class is among the `top` highest logits of the allowed labels, else 0; the mean over edits is the
accuracy. Restricting the labels makes the question easier; the card holds how many there were and which.

A class meets a label when it is the label, one of its comma-separated names ("tabby, tabby cat"), or its number. In a network of several
heads a class may go on after the label: "dog in the snow" meets "dog" of the head "object".

Fingerprint: classifier, weights, preprocessing, head, allowed labels, top.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics.base import Card, Embedded, PairBatch, PairMetric, sight_of
from metrics.networks.classifier import Choice, open_classifier
from metrics.networks.images import BATCH_SIZE, check_images, check_whole

__all__ = ["Accuracy"]


class Accuracy(PairMetric):
    """1 where the classifier reads the target class from the edit, else 0; higher is better.

    Args:
        net: "folder:/path", an image classification folder of transformers.
        head: of a network whose labels read "head:value", the head that decides; "" is the first.
        labels: the labels to choose between: a list, or a file with one a line; None allows all of the head.
        top: how many of the highest logits may hold the class.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: the folder cannot be read, or a parameter names a head or label that the network does not have.
    """

    name: ClassVar[str] = "accuracy"
    reads = frozenset({"target_classes"})
    bounds = (0.0, 1.0)
    binary = True
    embedded: ClassVar[Embedded] = {"net": "features"}

    def __init__(
        self,
        net: str,
        *,
        head: str = "",
        labels: Sequence[str] | str | None = None,
        top: int = 1,
        device: str = "cpu",
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self._top = check_whole(top, f"{self.name} top", 1, "1 is the default")
        self._classifier = open_classifier(net, f"{self.name} net", device, batch_size)
        self._choice = Choice(self._classifier, head, labels, self.name)
        self.card = Card(
            name=self.name,
            version="1",
            **sight_of(self._classifier),
            scale=f"1 or 0, top {self._top} of {self._choice.description}",
            masking="whole picture",
            nan_rule="target class unknown",
            higher_is_better=True,
            definition="Whether the classifier reads the target class from the edit.",
            source="Couairon et al. 2022, arXiv 2203.04705; transformers",
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        edits = check_images(batch.edits, "edits")
        wanted = {row: self._choice.place(cls, row) for row, cls in enumerate(batch.target_classes) if cls is not None}
        scores = np.full(len(edits), np.nan, dtype=np.float64)
        if wanted:
            logits = self._choice.of(self._logits([edits[row] for row in wanted]))
            own = np.take_along_axis(logits, np.array(list(wanted.values()))[:, None], axis=1)
            scores[list(wanted)] = np.sum(logits > own, axis=1) < self._top
        return scores

    def _logits(self, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return self._classifier.logits(images)
