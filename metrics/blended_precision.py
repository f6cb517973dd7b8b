"""Blended Latent Diffusion's own evaluation: batch precision, best-result precision and batch diversity.

Origin: Avrahami, Fried and Lischinski, "Blended Latent Diffusion", arXiv 2206.02779v2, section on quantitative comparison. There is no
metric code in the authors' repositories; what follows is written out from the paper's text, and what the text leaves open is marked.

A case is a picture, a rectangular mask and a text that names an ImageNet class; an editor makes several predictions for it.

    batch precision        share of all predictions whose masked region an ImageNet classifier puts right (target class among its five
                           likeliest)
    best-result precision  share of cases whose best prediction, as a ranker of image and text sees it, is put right
    batch diversity        mean LPIPS between the predictions of a case that are put right, in the masked region

Left open by the paper, decided here: [1] the classifier is not named: yours is, and is part of the card. [2] What is outside the mask:
the mask's bounding box is cut out, which for a rectangle is the masked region itself. [3] Averaging of the diversity: over the pairs
of a case, then over the cases that have a pair; cases without are counted. [4] The distribution of the masks: see `draw_protocol`. [5] The
list of pictures: yours; `draw_protocol` draws masks and classes from a seed of this project's own.
So the published table (28.66 %, 54 %, 0.115 for the paper's method) can be compared in kind only.

The ranker must not be what the editors were guided by, nor the judge: the paper keeps CLIP out of the judging for that reason and
ranks with it (ViT-B/16). `BatchPrecision` scores single edits for a table; `BlendedPrecision` takes whole cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics.base import Bounds, Card, Embedded, Image, MetricError, PairBatch, PairMetric, sight_of
from metrics.networks.classifier import Choice, Classifier, open_classifier
from metrics.networks.images import BATCH_SIZE, check_images, check_whole
from metrics.toolbox.regions import check_mask

__all__ = ["BatchPrecision", "BlendedPrecision", "BlendedScores", "Case", "draw_protocol"]

Mask = NDArray[np.bool_]

SEED, CASES, TOP = 2206, 50, 5
SIDES = (0.25, 0.75)
"""Sides of a drawn mask as shares of the picture's, uniform between these; the paper does not state its own."""


class BatchPrecision(PairMetric):
    """1 where the masked region of an edit is classified as its target class, else 0; the mean is batch precision. Higher is better.

    Args:
        classifier: "folder:/path" of a transformers image classifier; labels may list names that mean the same, "tabby, tabby cat".
        top: how many of the likeliest classes count as right.
        head: which of the classifier's heads, see `metrics.networks.classifier`; "" is the first.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: no such classifier, or a parameter out of bounds.
    """

    name: ClassVar[str] = "batch_precision"
    reads = frozenset({"masks", "target_classes"})
    bounds: Bounds = (0.0, 1.0)
    binary = True
    embedded: ClassVar[Embedded] = {"classifier": "features"}

    def __init__(
        self, classifier: str = "", *, top: int = TOP, head: str = "", device: str = "cpu", batch_size: int = BATCH_SIZE
    ) -> None:
        self._top = check_whole(top, f"{self.name} top", 1, f"{TOP} is the paper's")
        self._classifier: Classifier = open_classifier(classifier, f"{self.name} classifier", device, batch_size)
        self._choice = Choice(self._classifier, head, None, self.name)
        self.card = Card(
            name=self.name,
            version="1",
            **sight_of(self._classifier),
            scale=f"1 or 0, top {self._top} of {self._choice.description}",
            masking="bounding box of the sample's mask, cut out",
            nan_rule="mask unknown or empty; target class unknown or not among the classifier's labels",
            higher_is_better=True,
            definition="Whether the masked region is classified as the target class; the mean over all predictions is batch precision.",
            source="Avrahami et al. 2023, arXiv 2206.02779v2 (text only; no metric code is published)",
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        edits = check_images(batch.edits, "edits")
        crops: dict[int, Image] = {}
        wanted: dict[int, int] = {}
        for row, (edit, mask, name) in enumerate(zip(edits, batch.masks, batch.target_classes, strict=True)):
            place = None if name is None else self._choice.find(name)
            if mask is not None and place is not None and check_mask(mask, edit, row).any():
                crops[row], wanted[row] = _cut(edit, mask), place
        scores = np.full(len(edits), np.nan)
        if crops:
            logits = self._choice.of(self._classifier.logits(list(crops.values())))
            mine = logits[np.arange(len(crops)), list(wanted.values())]
            scores[list(crops)] = (logits > mine[:, None]).sum(axis=1) < self._top
        return scores


@dataclass(frozen=True, eq=False)
class Case:
    """All predictions of one editor for one case.

    Attributes:
        predictions: pictures uint8 (H, W, 3), at least one.
        mask: bool (H, W), at least one True.
        target_class: one of the classifier's labels.
        text: what the ranker compares with; "" means the class.

    Raises:
        MetricError: no prediction, or an empty mask.
    """

    predictions: list[Image]
    mask: Mask
    target_class: str
    text: str = ""

    def __post_init__(self) -> None:
        if not self.predictions or not self.mask.any():
            raise MetricError(
                f"case {self.target_class!r}: expected at least one prediction and a mask that is not empty, "
                f"got {len(self.predictions)} and {int(self.mask.sum())} pixels; leave the case out"
            )


@dataclass(frozen=True)
class BlendedScores:
    """What the paper's table holds, and the numbers behind it.

    Attributes:
        batch_precision: 0..1, higher is better.
        best_result_precision: 0..1, higher is better; NaN without a ranker.
        batch_diversity: LPIPS, higher is more diverse; NaN where no case has two predictions that are right.
        predictions: predictions in all.
        cases: cases in all.
        diverse_cases: cases with two or more that are right, which the diversity is the mean of.
    """

    batch_precision: float
    best_result_precision: float
    batch_diversity: float
    predictions: int
    cases: int
    diverse_cases: int


class BlendedPrecision:
    """Scores whole cases.

    Args:
        precision: puts predictions right or wrong.
        distance: compares two predictions in the masked region; the paper's is LPIPS.
        ranker: scores a prediction by its text, for example `metrics.clip_region.RegionCLIP`; None leaves best-result precision out.
    """

    def __init__(self, precision: BatchPrecision, distance: PairMetric, ranker: PairMetric | None = None) -> None:
        self.precision, self.distance, self.ranker = precision, distance, ranker

    def evaluate(self, cases: Sequence[Case]) -> BlendedScores:
        """The three numbers over all cases of one editor.

        Raises:
            MetricError: no case, or one whose class is not among the classifier's labels.
        """
        if not cases:
            raise MetricError("blended precision: expected at least one case, got none; give the editor's predictions")
        right = [self._right(case) for case in cases]
        best = [bool(marks[self._best(case)]) for case, marks in zip(cases, right, strict=True)] if self.ranker else []
        spreads = [spread for case, marks in zip(cases, right, strict=True) if (spread := self._spread(case, marks)) is not None]
        return BlendedScores(
            batch_precision=float(np.concatenate(right).mean()),
            best_result_precision=float(np.mean(best)) if best else float("nan"),
            batch_diversity=float(np.mean(spreads)) if spreads else float("nan"),
            predictions=sum(len(case.predictions) for case in cases),
            cases=len(cases),
            diverse_cases=len(spreads),
        )

    def _right(self, case: Case) -> NDArray[np.bool_]:
        scores = self.precision.score(_batch(case))
        if np.isnan(scores).any():
            raise MetricError(f"case {case.target_class!r}: the classifier has no such label; use one of its own names")
        return scores.astype(np.bool_)

    def _best(self, case: Case) -> int:
        assert self.ranker is not None
        sign = 1 if self.ranker.card.higher_is_better else -1
        return int(np.argmax(sign * self.ranker.score(_batch(case))))

    def _spread(self, case: Case, right: NDArray[np.bool_]) -> float | None:
        crops = [_cut(picture, case.mask) for picture, good in zip(case.predictions, right, strict=True) if good]
        if len(crops) < 2:
            return None
        pairs = list(combinations(crops, 2))
        unknown: list[None] = [None] * len(pairs)
        first, second = [one for one, _ in pairs], [two for _, two in pairs]
        batch = PairBatch(first, second, [case.target_class] * len(pairs), [*unknown], [*unknown], [*unknown])
        return float(self.distance.score(batch).mean())


def draw_protocol(labels: Sequence[str], sizes: Sequence[tuple[int, int]], *, seed: int = SEED) -> list[tuple[Mask, str]]:
    """A rectangular mask bool (H, W) and a class for each of the pictures with the given (height, width).

    Sides are uniform in `SIDES` of the picture's, places uniform, classes uniform over `labels`; the paper uses `CASES` pictures.
    """
    random = np.random.default_rng(seed)
    drawn = []
    for height, width in sizes:
        mask = np.zeros((height, width), dtype=np.bool_)
        spans = []
        for side in (height, width):
            extent = max(1, round(float(random.uniform(*SIDES)) * side))
            start = int(random.integers(0, side - extent + 1))
            spans.append(slice(start, start + extent))
        mask[spans[0], spans[1]] = True
        drawn.append((mask, labels[int(random.integers(len(labels)))]))
    return drawn


def _cut(image: Image, mask: Mask) -> Image:
    """The mask's bounding box."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return np.ascontiguousarray(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _batch(case: Case) -> PairBatch:
    """The predictions as rows; sources are unknown, so the predictions themselves stand there."""
    n = len(case.predictions)
    return PairBatch(
        edits=case.predictions,
        sources=case.predictions,
        target_texts=[case.text or case.target_class] * n,
        source_texts=[None] * n,
        masks=[case.mask] * n,
        truths=[None] * n,
        target_classes=[case.target_class] * n,
    )
