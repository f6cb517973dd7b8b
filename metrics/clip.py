"""CLIP score: cosine between an edit and the text it should show.

Origin: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", arXiv 2103.00020, and Hessel et
al., "CLIPScore", arXiv 2104.08718; reference code: open_clip, which runs here with its own preprocessing and tokenizer.

Definition: scale x cosine of image embedding and target-text embedding; no prompt prefix, one value per edit. Three scales are in
use and all are called CLIP score: the cosine (`scale=1`), 100 x cosine (the default), and CLIPScore's 2.5 x max(cosine, 0)
(`scale=2.5, clamp=true`). The card states which; numbers of different scales never meet in one table.

Texts beyond the context length lose their end, as in open_clip, and keep their end mark; `over_context` names them.

Fingerprint: architecture with activation, tokenizer and context length, weights, resolution, resize and crop, input
normalisation, scale and clamping.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics.base import Bounds, Card, Embedded, PairBatch, sight_of
from metrics.networks.clip_towers import ClipTexts, check_text, cosines, open_towers
from metrics.networks.images import BATCH_SIZE, check_number
from metrics.toolbox.features import FeatureMetric, PairFeatures

__all__ = ["CLIPScore"]


class CLIPScore(FeatureMetric):
    """Scaled cosine of edit and target text; higher is better.

    Args:
        model: an open_clip model name, or "local-dir:/path" (open_clip_config.json, weights, tokenizer files).
        pretrained: an open_clip tag (open_clip fetches it from its hub if it is not cached) or a weight file; "" for local-dir,
            which holds its own weights.
        quick_gelu: activation the weights were trained with; needed only for a weight file of an architecture that exists with
            both.
        scale: factor on the cosine, positive.
        clamp: negative cosines become 0.
        device: torch device.
        batch_size: rows per forward pass.

    Attributes:
        context_length: tokens the text tower reads, start and end marks included.

    Raises:
        MetricError: the model cannot be had, would be left without weights, or would run with the wrong activation or tokenizer.
    """

    name: ClassVar[str] = "clip"
    reads = frozenset({"target_texts"})
    embedded: ClassVar[Embedded] = {"model": "judge"}
    text_extractor: ClipTexts

    def __init__(
        self,
        model: str = "ViT-B-32",
        pretrained: str | None = None,
        *,
        quick_gelu: bool | None = None,
        scale: float = 100.0,
        clamp: bool = False,
        device: str = "cpu",
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self._scale = check_number(scale, "clip scale", "100 is the default")
        self._clamp = clamp
        network, self.image_extractor, self.text_extractor = open_towers(model, pretrained, quick_gelu, device, batch_size)
        self.context_length = network.context_length
        self.bounds: Bounds = (0.0 if clamp else -self._scale, self._scale)
        self.card = Card(
            name=self.name,
            version="1",
            **sight_of(network),
            scale=f"{self._scale:.17g} x {'max(cosine, 0)' if clamp else 'cosine, not clamped'}",
            masking="whole picture",
            nan_rule="never",
            higher_is_better=True,
            definition="Scaled cosine between the image embedding of the edit and the text embedding of the target text.",
            source="Radford et al. 2021, arXiv 2103.00020; Hessel et al. 2021, arXiv 2104.08718; open_clip",
        )

    @property
    def texts_over_context(self) -> int:
        """How many different texts so far were longer than the context and scored without their end."""
        return len(self.over_context)

    @property
    def over_context(self) -> tuple[str, ...]:
        """Those texts, sorted. `text_extractor.over_context` says the same of any texts, embedded or not."""
        return self.text_extractor.cut

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        for row, text in enumerate(batch.target_texts):
            check_text(text, f"target_texts[{row}]")
        return super().score(batch)

    def score_features(self, features: PairFeatures) -> NDArray[np.float64]:
        assert features.target_texts is not None
        cosine = cosines(features.edits, features.target_texts)
        return np.asarray(self._scale * (np.maximum(cosine, 0.0) if self._clamp else cosine))
