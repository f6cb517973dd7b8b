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
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics.base import Card, Embedded, MetricError, PairBatch, PairMetric, fingerprint
from metrics.classifier import Classifier, open_classifier
from metrics.images import BATCH_SIZE, check_images, check_whole
from metrics.weights import require_file

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
    bounds = (0.0, 1.0)
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
            network=self._classifier.network,
            weights=self._classifier.weights,
            resolution=self._classifier.resolution,
            resize=self._classifier.resize,
            value_range=self._classifier.value_range,
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


class Choice:
    """The labels that a decision is between.

    Args:
        classifier: whose labels they are.
        head: "" is the first.
        labels: None allows all of the head.
        what: beginning of messages.

    Attributes:
        description: number and digest of the labels, in the words of a card.
    """

    def __init__(self, classifier: Classifier, head: str, labels: Sequence[str] | str | None, what: str) -> None:
        self._what = what
        self._headed = classifier.heads != ("",)
        self._labels = classifier.head(head)
        self._names = _names(self._labels)
        allowed = list(self._labels) if labels is None else list(dict.fromkeys(self._label(x) for x in _read(labels, what)))
        self._columns = np.array([self._labels[label] for label in allowed])
        self._allowed = {label: column for column, label in enumerate(allowed)}
        heads = f" of head {head or classifier.heads[0]}" if self._headed else ""
        self.description = f"{len(allowed)} of {len(self._labels)} labels{heads} ({fingerprint({'labels': allowed})})"

    def of(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The columns (n, allowed) of logits (n, labels)."""
        return logits[:, self._columns]

    def place(self, name: str, row: int) -> int:
        """The column of the class of a row.

        Raises:
            MetricError: the class is no label, or not an allowed one.
        """
        label = self._label(name, f"target_classes[{row}]: ")
        if label not in self._allowed:
            raise MetricError(
                f"{self._what}: target_classes[{row}] is {name!r}, which is not among the {len(self._allowed)} labels allowed; add it"
            )
        return self._allowed[label]

    def _label(self, name: str, where: str = "") -> str:
        found = self._names.get(name)
        if found is None and self._headed:
            begins = [label for label in self._labels if name.startswith(f"{label} ")]
            found = {max(begins, key=len)} if begins else None
        if found is None or len(found) > 1:
            problem = "is no label of the network" if found is None else f"is the name of {len(found)} labels"
            raise MetricError(
                f"{self._what}: {where}{name!r} {problem}; name a label of its config.json (such as {next(iter(self._labels))!r}) or a number"
            )
        return next(iter(found))


def _names(labels: dict[str, int]) -> dict[str, set[str]]:
    """Each name of a label, and its number, to the labels it may mean; a whole label means itself alone."""
    names: dict[str, set[str]] = {}
    for number, label in enumerate(labels):
        for name in (*(part.strip() for part in label.split(",")), str(number)):
            names.setdefault(name, set()).add(label)
    return names | {label: {label} for label in labels}


def _read(labels: Sequence[str] | str, what: str) -> list[str]:
    if isinstance(labels, str):
        file: Path = require_file(labels, f"{what} labels", "name a text file with one label a line, or give a list")
        labels = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(labels) < 2:
        raise MetricError(
            f"{what} labels: expected at least two to choose between, got {list(labels)}; leave it out to allow all"
        )
    return [str(label) for label in labels]
