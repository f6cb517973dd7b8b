"""The truth of ToyBox edits: three numbers that need no opinion, because the world is rendered and the right edit is known.

    toybox_success          does the feature network read from the edit what it reads from the ground truth?
    toybox_truth_distance   how far is the edit from the ground truth?
    toybox_background_kept  how much of what should stay has stayed?

Other metrics are judged by these. They take any samples with a ground-truth edit, but what they mean rests on ToyBox: the manifests are
drawn so that the feature network reads every ground truth rightly, and source and truth differ outside the mask by soft edges only.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from metrics.base import PIXELS, Bounds, Card, Embedded, Image, MetricError, PairBatch, PairMetric, sight_of
from metrics.lpips import LPIPS
from metrics.networks.classifier import open_classifier
from metrics.networks.images import BATCH_SIZE, check_images, open_device
from metrics.toolbox.regions import MASKING, NO_REGION, check_pairs, regions
from metrics.toolbox.truths import known_truths

__all__ = ["ToyBoxBackgroundKept", "ToyBoxSuccess", "ToyBoxTruthDistance"]

HEADS = ("object", "state", "background", "accessory")
"""What an edit may ask for; the network's fifth head, which way the object looks, is no part of any caption."""


class ToyBoxSuccess(PairMetric):
    """1 where the feature network reads the target from the edit, else 0; higher is better.

    The target is what the network reads from the ground truth. All four heads have to agree: object, state and background, and the
    accessory, without which doing nothing would count as a success wherever the edit adds or removes one.

    Args:
        net: "folder:/path" of a classifier with the heads object, state, background and accessory.
        part: "all", or the one head that decides.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: the folder cannot be read or lacks a head, or `part` is none.
    """

    name: ClassVar[str] = "toybox_success"
    reads = frozenset({"truths"})
    bounds: Bounds = (0.0, 1.0)
    binary = True
    embedded: ClassVar[Embedded] = {"net": "features"}

    def __init__(self, net: str, part: str = "all", *, device: str = "cpu", batch_size: int = BATCH_SIZE) -> None:
        if part not in ("all", *HEADS):
            raise MetricError(f"{self.name} part: expected all, {', '.join(HEADS)}, got {part!r}; 'all' is the default")
        self._classifier = open_classifier(net, f"{self.name} net", device, batch_size)
        chosen = HEADS if part == "all" else (part,)
        self._heads = [np.array(list(self._classifier.head(name).values())) for name in chosen]
        self.card = Card(
            name=self.name,
            version="1",
            **sight_of(self._classifier),
            scale=f"1 or 0, all of {' '.join(chosen)}",
            masking="whole picture",
            nan_rule="ground truth unknown",
            higher_is_better=True,
            definition="Whether the feature network reads the same labels from the edit as from the ground-truth edit.",
            source="this project",
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        edits, known = check_images(batch.edits, "edits"), known_truths(batch)
        scores = np.full(len(edits), np.nan, dtype=np.float64)
        if known:
            wanted = {id(truth): truth for truth in known.values()}
            target = dict(zip(wanted, self._read(list(wanted.values())), strict=True))
            seen = self._read([edits[row] for row in known])
            scores[list(known)] = [np.array_equal(a, target[id(truth)]) for a, truth in zip(seen, known.values(), strict=True)]
        return scores

    def _read(self, images: list[Image]) -> NDArray[np.int64]:
        """The label of each head, (n, heads)."""
        logits = self._classifier.logits(images)
        return np.stack([logits[:, head].argmax(axis=1) for head in self._heads], axis=1)


class ToyBoxTruthDistance(PairMetric):
    """Distance of the edit to the ground-truth edit; 0 is the truth, lower is better.

    Args:
        net: "folder:/path" of the network behind the ToyBox distance (see `metrics.lpips`); not for `measure: pixels`.
        measure: "lpips", the distance in the network's feature maps, or "pixels", the mean absolute difference of x/255.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: unknown measure, or the network is missing or cannot be read.
    """

    name: ClassVar[str] = "toybox_truth_distance"
    reads = frozenset({"truths"})
    bounds: Bounds = (0.0, None)
    embedded: ClassVar[Embedded] = {"net": "features"}

    def __init__(self, net: str = "", measure: str = "lpips", *, device: str = "cpu", batch_size: int = BATCH_SIZE) -> None:
        if measure not in ("lpips", "pixels"):
            raise MetricError(f"{self.name} measure: expected lpips or pixels, got {measure!r}; 'lpips' is the default")
        self._device = open_device(device)
        self._lpips = LPIPS(net, device=device, batch_size=batch_size) if measure == "lpips" else None
        like = self._lpips.card if self._lpips else None
        self.card = Card(
            name=self.name,
            version="1",
            network=like.network if like else "none",
            weights=like.weights if like else "",
            resolution=like.resolution if like else "native",
            resize=like.resize if like else "none",
            value_range=like.value_range if like else "uint8 0..255 -> x/255",
            scale="plain distance, unclamped" if like else "mean absolute difference of x/255",
            masking="whole picture, compared with the ground truth",
            nan_rule="ground truth unknown",
            higher_is_better=False,
            definition="Distance between the edit and the ground-truth edit.",
            source="this project",
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        known = known_truths(batch)
        scores = np.full(len(batch), np.nan, dtype=np.float64)
        if known:
            part = _pairs([batch.edits[row] for row in known], list(known.values()))
            scores[list(known)] = self._lpips.distances(part, "truths") if self._lpips else _differences(part)
        return scores


class ToyBoxBackgroundKept(PairMetric):
    """1 - mean absolute difference of edit and source (x/255) outside the true mask; 1 is untouched, higher is better.

    Args:
        device: torch device, unused.
    """

    name: ClassVar[str] = "toybox_background_kept"
    reads = frozenset({"sources", "masks"})
    bounds: Bounds = (0.0, 1.0)

    def __init__(self, *, device: str = "cpu") -> None:
        open_device(device)
        self.card = Card(
            name=self.name,
            version="1",
            **PIXELS,
            scale="1 - mean absolute difference",
            masking=MASKING["background"],
            nan_rule=NO_REGION["background"],
            higher_is_better=True,
            definition="One minus the mean absolute difference between edit and source where nothing was to change.",
            source="this project",
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        edits, sources = check_pairs(batch, self.name)
        rows = zip(edits, sources, regions(batch, "background"), strict=True)
        return np.array([np.nan if at is None else 1 - _l1(edit[at], source[at]) for edit, source, at in rows], dtype=np.float64)


def _pairs(edits: list[Image], truths: list[Image]) -> PairBatch:
    """A batch of which edits and truths are read."""
    unknown = [None] * len(edits)
    return PairBatch(edits, edits, [""] * len(edits), list(unknown), list(unknown), list(truths))


def _differences(batch: PairBatch, other: Literal["truths"] = "truths") -> NDArray[np.float64]:
    pairs = check_pairs(batch, ToyBoxTruthDistance.name, other)
    return np.array([_l1(edit, truth) for edit, truth in zip(*pairs, strict=True)], dtype=np.float64)


def _l1(one: NDArray[np.uint8], two: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(np.float64) - two).mean() / 255)
