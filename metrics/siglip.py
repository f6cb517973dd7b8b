"""SigLIP score: how sure a network with a sigmoid loss is that edit and text belong together.

Origin: Zhai et al., "Sigmoid Loss for Language Image Pre-Training", arXiv 2303.15343, equation 1; Tschannen et al., "SigLIP 2", arXiv
2502.14786, whose weights open_clip has (`ViT-B-16-SigLIP2` and others, tag webli; Apache-2.0). Reference code: open_clip, which runs
here with its own preprocessing and tokenizer.

    sigmoid( exp(t) x cosine( image, text ) + b )

with t and b of the weights. Unlike a CLIP score it is the same scale for every network of the family, and one text alone has a value; most
pairs are near 0 or near 1. It is trained on other data and by another loss than OpenAI's CLIP, and so is a second opinion on editors that
have a CLIP in their loop. `scale: cosine` gives the plain cosine.

Fingerprint: that of the network, and the scale.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from metrics.base import Bounds, Card, MetricError, PairBatch, sight_of
from metrics.networks.clip_towers import check_text, cosines, open_towers
from metrics.networks.images import BATCH_SIZE
from metrics.toolbox.features import FeatureMetric, PairFeatures

__all__ = ["SigLIPScore"]

BOUNDS: dict[str, Bounds] = {"probability": (0.0, 1.0), "cosine": (-1.0, 1.0)}


class SigLIPScore(FeatureMetric):
    """Probability that edit and target text belong together, 0..1; higher is better.

    Args:
        model: an open_clip model name of the SigLIP family, or "local-dir:/path".
        pretrained: an open_clip tag (webli) or a weight file; "" for local-dir.
        scale: "probability" or "cosine".
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: the model cannot be had, would be left without weights, has no bias, or another `scale`.
    """

    name: ClassVar[str] = "siglip"
    reads = frozenset({"target_texts"})

    def __init__(
        self,
        model: str = "ViT-B-16-SigLIP2",
        pretrained: str | None = "webli",
        *,
        scale: str = "probability",
        device: str = "cpu",
        batch_size: int = BATCH_SIZE,
    ) -> None:
        if scale not in BOUNDS:
            raise MetricError(f"siglip scale: expected probability or cosine, got {scale!r}; 'probability' is the default")
        pretrained = None if model.startswith("local-dir:") else pretrained
        network, self.image_extractor, self.text_extractor = open_towers(model, pretrained, None, device, batch_size)
        bias = getattr(network.model, "logit_bias", None)
        if bias is None:
            raise MetricError(
                f"siglip model: {model} was not trained with a sigmoid loss, it has no bias; take one of SigLIP's, or clip"
            )
        self._cosine, self._factor, self._bias = scale == "cosine", float(network.model.logit_scale.exp()), float(bias)
        self.bounds = BOUNDS[scale]
        logit = f"sigmoid({self._factor:.9g} x cosine + {self._bias:.9g})"
        self.card = Card(
            name=self.name,
            version="1",
            **sight_of(network),
            scale="cosine, not clamped" if self._cosine else logit,
            masking="whole picture",
            nan_rule="never",
            higher_is_better=True,
            definition="How sure a network with a sigmoid loss is that the edit and the target text belong together.",
            source="Zhai et al. 2023, arXiv 2303.15343; Tschannen et al. 2025, arXiv 2502.14786; open_clip",
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        for row, text in enumerate(batch.target_texts):
            check_text(text, f"target_texts[{row}]")
        return super().score(batch)

    def score_features(self, features: PairFeatures) -> NDArray[np.float64]:
        assert features.target_texts is not None
        cosine = cosines(features.edits, features.target_texts)
        return np.asarray(cosine if self._cosine else expit(self._factor * cosine + self._bias), dtype=np.float64)
