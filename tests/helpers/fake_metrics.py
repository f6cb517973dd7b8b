"""Metrics without a network, under the names that tables know."""

from __future__ import annotations

import zlib
from collections.abc import Hashable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics.base import Card, Embedded, FeatureSet, Image, MetricError, PairBatch, PairMetric, ScoreMap, SetMetric, SpatialMetric
from metrics.networks.base import Extractor, Identity, TextExtractor
from metrics.toolbox.features import FeatureMetric, PairFeatures


def card(name: str, version: str, higher: bool) -> Card:
    prose = {"definition": "for tests", "source": "none"}
    fields = ("network", "weights", "resolution", "resize", "value_range", "scale", "masking", "nan_rule")
    return Card(name=name, version=version, higher_is_better=higher, **dict.fromkeys(fields, "none"), **prose)


class Distance(PairMetric):
    """Mean absolute difference to the source, 0..1, lower is better; NaN on samples whose text holds `undefined_on`."""

    name: ClassVar[str] = "lpips"
    bounds = (0.0, None)
    scored: ClassVar[int] = 0

    def __init__(self, undefined_on: str = "", version: str = "1", device: str = "cpu") -> None:
        told = card(self.name, version + undefined_on, False)
        self.card, self._undefined = replace(told, scale="mean absolute difference"), undefined_on

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        Distance.scored += len(batch)
        gaps = [np.abs(edit.astype(float) - source).mean() / 255 for edit, source in zip(batch.edits, batch.sources, strict=True)]
        undefined = [bool(self._undefined) and self._undefined in text for text in batch.target_texts]
        return np.where(undefined, np.nan, gaps)


class Placed(Distance, SpatialMetric):
    """The same, and where in the picture it is."""

    placed: ClassVar[int] = 0

    def score_maps(self, batch: PairBatch) -> tuple[NDArray[np.float64], list[ScoreMap]]:
        Placed.placed += len(batch)
        pairs = zip(batch.edits, batch.sources, strict=True)
        return self.score(batch), [np.abs(e.astype(np.float32) - s).mean(axis=2) / 255 for e, s in pairs]


class Alignment(PairMetric):
    """Likeness to the truth, 0..100, higher is better."""

    name: ClassVar[str] = "clip"

    def __init__(self, device: str = "cpu") -> None:
        self.card = card(self.name, "1", True)

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        gaps = [np.abs(e.astype(float) - t).mean() for e, t in zip(batch.edits, batch.truths, strict=True) if t is not None]
        return 100 - np.array(gaps) / 2.55


class Deviceless(PairMetric):
    """One for every edit, on no device."""

    name: ClassVar[str] = "deviceless"

    def __init__(self) -> None:
        self.card = card(self.name, "1", True)

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        return np.ones(len(batch))


class Succeeds(PairMetric):
    """1 for every edit but those of samples whose text holds `fails_on`."""

    name: ClassVar[str] = "success"
    reads = frozenset({"target_texts"})
    bounds = (0.0, 1.0)
    binary = True

    def __init__(self, fails_on: str = "", device: str = "cpu") -> None:
        self.card, self._fails = card(self.name, "1" + fails_on, True), fails_on

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        return np.array([0.0 if self._fails and self._fails in text else 1.0 for text in batch.target_texts])


class ColourGap(SetMetric):
    """Squared distance of mean colours, lower is better; `extracted` counts the pictures seen, by subclasses too."""

    name: ClassVar[str] = "fid"
    bounds = (0.0, None)
    extracted: ClassVar[int] = 0

    def __init__(self, min_samples: int = 2, device: str = "cpu") -> None:
        self.card, self.min_samples = card(self.name, "1", False), min_samples

    @property
    def extractor(self) -> Hashable:
        return ("mean colour", 1)

    def features(self, images: list[Image]) -> NDArray[np.floating[Any]]:
        ColourGap.extracted += len(images)
        return np.stack([image.mean(axis=(0, 1)) / 255 for image in images])

    def value(self, edits: FeatureSet, reference: FeatureSet) -> float:
        return float(((edits.features.mean(axis=0) - reference.features.mean(axis=0)) ** 2).sum())


class ClassGap(ColourGap):
    name: ClassVar[str] = "csfid"
    uses_classes: ClassVar[bool] = True


class MeanColour(Extractor):
    """Mean colour of a picture in 0..1; `seen` counts the pictures."""

    seen: ClassVar[int] = 0
    dies_after: ClassVar[int | None] = None
    identity = Identity("mean colour", "", "native", "none", "x / 255")

    def __init__(self) -> None:
        super().__init__("cpu", 8)

    def __call__(self, images: list[Image]) -> NDArray[np.float32]:
        if MeanColour.dies_after is not None and MeanColour.seen >= MeanColour.dies_after:
            raise KeyboardInterrupt
        MeanColour.seen += len(images)
        return self._features(images)

    def _features(self, images: list[Image]) -> NDArray[np.float32]:
        return np.stack([image.mean(axis=(0, 1)) / 255 for image in images]).astype(np.float32)


class Letters(TextExtractor):
    """Shares of three letters in a text; `seen` counts the texts."""

    seen: ClassVar[int] = 0
    identity = Identity("letters", "", "native", "none", "text")

    def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        Letters.seen += len(texts)
        return np.array([[text.count(letter) / len(text) for letter in "aeo"] for text in texts], dtype=np.float32)


class ColourShift(FeatureMetric):
    """Distance of mean colours of edit and source."""

    name: ClassVar[str] = "colour_shift"
    reads = frozenset({"sources"})
    bounds = (0.0, 2.0)

    def __init__(self, device: str = "cpu") -> None:
        self.card, self.image_extractor = card(self.name, "1", False), MeanColour()

    def score_features(self, features: PairFeatures) -> NDArray[np.float64]:
        assert features.sources is not None
        return np.asarray(np.linalg.norm(features.edits.astype(np.float64) - features.sources, axis=1))


class ColourWord(ColourShift):
    """How mean colour goes with the letters of the texts; NaN where the source has no caption."""

    name: ClassVar[str] = "colour_word"
    reads = frozenset({"target_texts", "source_texts"})
    text_extractor = Letters()

    def score_features(self, features: PairFeatures) -> NDArray[np.float64]:
        assert features.target_texts is not None
        assert features.source_texts is not None
        return np.asarray((features.edits * (features.target_texts - features.source_texts)).sum(axis=1), dtype=np.float64)


class ColourSpread(ColourGap):
    """A set metric through the eyes of `MeanColour`."""

    name: ClassVar[str] = "colour_gap"

    @property
    def extractor(self) -> Hashable:
        return MeanColour.identity.key

    def features(self, images: list[Image]) -> NDArray[np.floating[Any]]:
        return MeanColour()(images)


class Looks(Distance):
    """Names a network."""

    embedded: ClassVar[Embedded] = {"eye": "features"}

    def __init__(self, eye: str, device: str = "cpu") -> None:
        super().__init__(device=device)
        self.eye = eye


class Brightness(PairMetric):
    """Mean brightness of the edit, 0..1."""

    name: ClassVar[str] = "brightness"

    def __init__(self) -> None:
        self.card = card(self.name, "1", True)

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        return np.array([edit.mean() / 255 for edit in batch.edits])


class SetBrightness(ColourGap):
    """The same of a set."""

    name: ClassVar[str] = "set_brightness"

    def value(self, edits: FeatureSet, reference: FeatureSet) -> float:
        return float(edits.features.mean())


class Undirected(Brightness):
    """A number of which neither more nor less is better."""

    name: ClassVar[str] = "undirected"

    def __init__(self) -> None:
        super().__init__()
        self.card = replace(card(self.name, "1", True), higher_is_better=None)


class Chance(Brightness):
    """Any number in 0..1, the same for the same edit."""

    name: ClassVar[str] = "chance"

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        return np.array([np.random.default_rng(zlib.crc32(edit.tobytes())).random() for edit in batch.edits])


class Failing(Distance):
    """Refuses where it is told to: when it is opened ("open"), at the texts that hold `on` ("score"), or as a program fails ("bug")."""

    name: ClassVar[str] = "failing"

    def __init__(self, at: str = "score", on: str = "number 1", device: str = "cpu") -> None:
        super().__init__(device=device)
        self.card, self._at, self._on = card(self.name, "1", False), at, on
        if at == "open":
            raise MetricError("no weights at /nowhere; download them")

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        if any(self._on in text for text in batch.target_texts):
            if self._at == "score":
                raise MetricError("edits[1] is too small; leave it out")
            if self._at == "bug":
                raise ZeroDivisionError("by nought")
            if self._at == "exit":
                raise SystemExit(3)
        return np.ones(len(batch) + (self._at == "shape"))


class FailingShift(ColourShift):
    """Has its features and cannot finish."""

    name: ClassVar[str] = "failing_shift"

    def score_features(self, features: PairFeatures) -> NDArray[np.float64]:
        raise MetricError("features of another width")


class FailingGap(ColourGap):
    """Fails where features are made or where they are compared."""

    name: ClassVar[str] = "failing_gap"

    def __init__(self, at: str = "value", device: str = "cpu") -> None:
        super().__init__(device=device)
        self.card, self._at = card(self.name, "1", False), at

    @property
    def extractor(self) -> Hashable:
        return ("failing", self._at)

    def features(self, images: list[Image]) -> NDArray[np.floating[Any]]:
        if self._at == "features":
            raise MetricError("images[0] has no colours")
        return super().features(images)

    def value(self, edits: FeatureSet, reference: FeatureSet) -> float:
        raise MetricError("the covariance is singular")
