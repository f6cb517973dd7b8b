"""Directional CLIP similarity: does the picture change the way the text does?

Origin: Gal et al., "StyleGAN-NADA", arXiv 2108.00946, equation 2; used for editors by Brooks et al., "InstructPix2Pix",
arXiv 2211.09800, section 4. Reference code: open_clip, which runs here with its own preprocessing and tokenizer.

Definition: with u the embedding brought to length 1,

    cosine( u(edit) - u(source), u(target text) - u(source text) )

Undefined, and NaN, where there is no direction: the edit is its source (an editor that does nothing is not at 0, it has no value), the
two texts are equal, or the source text is unknown. The mean over what is defined is read with its coverage.

Fingerprint: that of the CLIP network, as for the CLIP score.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics.base import Card, Embedded, PairBatch, sight_of
from metrics.networks.clip_towers import ClipImages, ClipTexts, check_text, open_towers, unit
from metrics.networks.images import BATCH_SIZE
from metrics.toolbox.features import FeatureMetric, PairFeatures

__all__ = ["DirectionalCLIP"]

SHORTEST = 1e-4
"""Length under which a difference of two unit vectors is rounding and no direction; features agree to about 1e-5."""


class DirectionalCLIP(FeatureMetric):
    """Cosine of the change of the picture and the change of the text, -1..1; higher is better.

    Args:
        model: an open_clip model name, or "local-dir:/path".
        pretrained: an open_clip tag or a weight file; "" for local-dir.
        quick_gelu: activation of the weights, where a weight file alone does not tell.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: the model cannot be had, would be left without weights, or would run with the wrong activation or tokenizer.
    """

    name: ClassVar[str] = "clip_directional"
    still: ClassVar[float] = np.nan
    """What stands for a direction where nothing changes."""
    reads = frozenset({"sources", "target_texts", "source_texts"})
    bounds = (-1.0, 1.0)
    embedded: ClassVar[Embedded] = {"model": "judge"}
    image_extractor: ClipImages
    text_extractor: ClipTexts

    def __init__(
        self,
        model: str = "ViT-B-32",
        pretrained: str | None = None,
        *,
        quick_gelu: bool | None = None,
        device: str = "cpu",
        batch_size: int = BATCH_SIZE,
    ) -> None:
        network, self.image_extractor, self.text_extractor = open_towers(model, pretrained, quick_gelu, device, batch_size)
        self.card = Card(
            name=self.name,
            version="1",
            **sight_of(network),
            scale=f"cosine of differences of unit embeddings, not clamped; no direction under length {SHORTEST:g}",
            masking="whole picture",
            nan_rule="edit and source have one embedding, equal texts, or source text unknown",
            higher_is_better=True,
            definition="Cosine between the change from source to edit and the change from source text to target text.",
            source="Gal et al. 2021, arXiv 2108.00946; Brooks et al. 2022, arXiv 2211.09800; open_clip",
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        for row, (target, source) in enumerate(zip(batch.target_texts, batch.source_texts, strict=True)):
            check_text(target, f"target_texts[{row}]")
            if source is not None:
                check_text(source, f"source_texts[{row}]")
        return super().score(batch)

    def score_features(self, features: PairFeatures) -> NDArray[np.float64]:
        assert features.sources is not None
        assert features.target_texts is not None
        assert features.source_texts is not None
        seen = self._directions(features.edits, features.sources)
        said = self._directions(features.target_texts, features.source_texts)
        return np.asarray(np.sum(seen * said, axis=1), dtype=np.float64)

    def _directions(self, to: NDArray[np.floating], start: NDArray[np.floating]) -> NDArray[np.float64]:
        """Unit vectors (n, d) from `start` to `to`, rows of `still` where there is no change and of NaN where one is unknown."""
        change = unit(to) - unit(start)
        return np.where(np.linalg.norm(change, axis=1, keepdims=True) <= SHORTEST, self.still, unit(change))
