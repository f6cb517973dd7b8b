"""CLIP score of the edited region alone, cut out of the picture.

Origin: the idea is PIE-Bench's second CLIP column (Ju et al., "Direct Inversion", arXiv 2310.01506). There everything outside the mask is
blackened, which shows the network a silhouette on black; here the smallest square around the mask is cut out, so that it sees a picture.
The blackened form is `pie_bench_clip` with `region: edited`.

Definition: scale x cosine of the embedding of the crop and that of the target text. The crop is the mask's bounding box, enlarged on
each side by `margin` of its longer side, made square where the picture has room, and moved inside the picture. Margin and corners show
what the edit made of them: the question is what the place looks like now, not what was kept.

Fingerprint: that of the CLIP score, and the crop's rule.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics.base import Bounds, Card, Embedded, Image, MetricError, PairBatch, PairMetric, sight_of
from metrics.networks.clip_towers import check_text, cosines, open_towers
from metrics.networks.images import BATCH_SIZE, check_images, check_number
from metrics.toolbox.regions import NO_REGION, regions

__all__ = ["RegionCLIP", "crop_around"]


class RegionCLIP(PairMetric):
    """Scaled cosine of the edited region and the target text; higher is better.

    Args:
        model: an open_clip model name, or "local-dir:/path".
        pretrained: an open_clip tag or a weight file; "" for local-dir.
        quick_gelu: activation of the weights, where a weight file alone does not tell.
        scale: factor on the cosine, positive.
        margin: surroundings on each side, as a share of the longer side of the mask's bounding box, 0..1.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: the model cannot be had as its weights need it, or a parameter is out of bounds.
    """

    name: ClassVar[str] = "clip_region"
    reads = frozenset({"masks", "target_texts"})
    embedded: ClassVar[Embedded] = {"model": "judge"}

    def __init__(
        self,
        model: str = "ViT-B-32",
        pretrained: str | None = None,
        *,
        quick_gelu: bool | None = None,
        scale: float = 100.0,
        margin: float = 0.1,
        device: str = "cpu",
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self._scale = check_number(scale, "clip_region scale", "100 is the default")
        self._margin = _check_share(margin, "clip_region margin", "0.1 is the default")
        network, self._images, self._texts = open_towers(model, pretrained, quick_gelu, device, batch_size)
        self.bounds: Bounds = (-self._scale, self._scale)
        self.card = Card(
            name=self.name,
            version="1",
            **sight_of(network),
            scale=f"{self._scale:.17g} x cosine, not clamped",
            masking=f"square crop around the sample's mask, margin {self._margin:.17g} of its longer side",
            nan_rule=NO_REGION["edited"],
            higher_is_better=True,
            definition="Scaled cosine between the image embedding of the edited region and the text embedding of the target text.",
            source="after Ju et al. 2023, arXiv 2310.01506; open_clip",
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        edits, masks = check_images(batch.edits, "edits"), regions(batch, "edited")
        texts = [check_text(text, f"target_texts[{row}]") for row, text in enumerate(batch.target_texts)]
        crops = {row: crop_around(edits[row], mask, self._margin) for row, mask in enumerate(masks) if mask is not None}
        scores = np.full(len(edits), np.nan, dtype=np.float64)
        if crops:
            images, words = self._images(list(crops.values())), self._texts([texts[row] for row in crops])
            scores[list(crops)] = self._scale * cosines(images, words)
        return scores


def crop_around(image: Image, mask: NDArray[np.bool_], margin: float) -> Image:
    """The part of `image` (H, W, 3) around the True pixels of `mask` (H, W), at least one; see the module for its shape."""
    bounds = []
    spans = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    longest = max(int(span[-1] - span[0]) + 1 for span in spans)
    side = longest + 2 * round(margin * longest)
    for span, length in zip(spans, mask.shape, strict=True):
        extent = min(side, length)
        start = (int(span[0]) + int(span[-1]) + 1 - extent) // 2
        start = min(max(start, 0), length - extent)
        bounds.append(slice(start, start + extent))
    return np.ascontiguousarray(image[bounds[0], bounds[1]])


def _check_share(value: object, what: str, advice: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise MetricError(f"{what}: expected a share in 0..1, got {value!r}; {advice}")
    return float(value)
