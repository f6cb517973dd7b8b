"""FlexIT's evaluator (Couairon et al., arXiv 2203.04705; `eval.py` of facebookresearch/SemanticImageTranslation), per edit.

What it does and the metrics beside these do not: pictures are brought to the network by resizing the short side (Pillow bilinear) and
cutting the centre, so the ends of long pictures are not seen; LPIPS is AlexNet's at 256 times 100; the classifier sees a 384 cut with
ImageNet's normalisation and chooses among the target classes in use. Its CSFID and SFID are `csfid` and `sfid`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics.accuracy import Accuracy
from metrics.base import Bounds, Card, Embedded, Image, PairBatch, PairMetric
from metrics.lpips import LPIPS
from metrics.networks.images import BATCH_SIZE, check_images, open_device, resize_and_crop

__all__ = ["FlexitAccuracy", "FlexitL1", "FlexitLPIPS"]

SIDE, CLASSIFIER_SIDE = 256, 384
CROP = "short side by Pillow bilinear (antialiased), rounded to uint8, then centre crop"
SOURCE = "Couairon et al. 2022, arXiv 2203.04705; eval.py of facebookresearch/SemanticImageTranslation"


def _cropped(batch: PairBatch, side: int) -> PairBatch:
    """The batch with edits and sources cut, each distinct picture once."""
    edits, sources = check_images(batch.edits, "edits"), check_images(batch.sources, "sources")
    cut = {id(image): resize_and_crop(image, side) for image in (*edits, *sources)}
    columns = vars(batch) | {"edits": [cut[id(x)] for x in edits], "sources": [cut[id(x)] for x in sources]}
    return PairBatch(**columns)


class FlexitLPIPS(PairMetric):
    """100 x AlexNet LPIPS of the 256 cuts; lower is better.

    Args:
        net: "alex" is the published one; otherwise as `lpips`.
        weights: file with torchvision's weights of the trunk; "" looks in torch's hub cache.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: unknown network, or weights missing.
    """

    name: ClassVar[str] = "flexit_lpips"
    reads = frozenset({"sources"})
    bounds: Bounds = (0.0, None)
    embedded: ClassVar[Embedded] = {"net": "features"}

    def __init__(self, net: str = "alex", *, weights: str = "", device: str = "cpu", batch_size: int = BATCH_SIZE) -> None:
        self._lpips = LPIPS(net, weights=weights, resolution="native", device=device, batch_size=batch_size)
        like = self._lpips.card
        self.card = Card(
            name=self.name,
            version="1",
            network=like.network,
            weights=like.weights,
            resolution=f"{SIDE}x{SIDE}",
            resize=CROP,
            value_range=like.value_range,
            scale="100 x distance",
            masking="centre crop",
            nan_rule="never",
            higher_is_better=False,
            definition="FlexIT's LPIPS of an edit and its source (parity mode).",
            source=SOURCE,
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        return 100 * self._lpips.score(_cropped(batch, SIDE))


class FlexitL1(PairMetric):
    """Mean absolute difference of the 256 cuts in 0..1; lower is better.

    Args:
        device: torch device, unused.
    """

    name: ClassVar[str] = "flexit_l1"
    reads = frozenset({"sources"})
    bounds: Bounds = (0.0, 1.0)

    def __init__(self, *, device: str = "cpu") -> None:
        open_device(device)
        self.card = Card(
            name=self.name,
            version="1",
            network="none",
            weights="",
            resolution=f"{SIDE}x{SIDE}",
            resize=CROP,
            value_range="uint8 0..255 -> x/255",
            scale="mean absolute difference",
            masking="centre crop",
            nan_rule="never",
            higher_is_better=False,
            definition="FlexIT's L1 distance of an edit and its source (parity mode).",
            source=SOURCE,
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        cut = _cropped(batch, SIDE)
        rows = zip(cut.edits, cut.sources, strict=True)
        return np.array([np.abs(edit.astype(np.float64) - source).mean() / 255 for edit, source in rows], dtype=np.float64)


class FlexitAccuracy(Accuracy):
    """1 where the classifier reads the target class from the 384 cut, among the classes in use; higher is better.

    Args:
        net: "folder:/path" of facebook/deit-base-distilled-patch16-384 for the published number.
        labels: the classes in use, 273 in the paper: a list, or a file with one a line; None allows all.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: the folder cannot be read, or a label is none of the network's.
    """

    name: ClassVar[str] = "flexit_accuracy"
    embedded: ClassVar[Embedded] = {}

    def __init__(
        self, net: str, *, labels: Sequence[str] | str | None = None, device: str = "cpu", batch_size: int = BATCH_SIZE
    ) -> None:
        super().__init__(net, labels=labels, device=device, batch_size=batch_size)
        self._mean, self._std = (
            np.array(x, dtype=np.float32)[:, None, None] for x in (self._classifier.mean, self._classifier.std)
        )
        fields = vars(self.card) | {
            "resolution": f"{CLASSIFIER_SIDE}x{CLASSIFIER_SIDE}",
            "resize": CROP,
            "value_range": f"uint8 0..255 -> (x/255 - {list(self._classifier.mean)}) / {list(self._classifier.std)}",
            "masking": "centre crop",
            "definition": "FlexIT's verdict on an edit (parity mode).",
            "source": SOURCE,
        }
        self.card = Card(**fields)

    def _logits(self, images: list[Image]) -> NDArray[np.float32]:
        return self._classifier.run([self._normalise(resize_and_crop(image, CLASSIFIER_SIDE)) for image in images])

    def _normalise(self, image: Image) -> NDArray[np.float32]:
        pixels = image.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        return np.asarray((pixels - self._mean) / self._std, dtype=np.float32)
