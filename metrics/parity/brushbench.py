"""BrushBench's evaluator (Ju et al., "BrushNet", arXiv 2403.06976; `examples/brushnet/evaluate_brushnet.py`), per edit.

What it does and the metrics beside these do not:

- both pictures are brought to 512 x 512 first;
- squared errors outside the mask are summed over three channels and divided by the pixels of one, so MSE is three times the mean and PSNR
  is 10 log10(3) = 4.77 dB too low;
- a squared error under 1e-10 gives a PSNR of 1000, which then enters the mean;
- LPIPS is SqueezeNet's with everything inside the mask set to 0 in both pictures, over the whole frame;
- CLIP is torchmetrics', clamped at 0 per picture.

ImageReward, HPS v2.1 and the aesthetic score of the same evaluator are not reproduced: they do not look at the source.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from metrics.base import Bounds, Card, Image, PairBatch, PairMetric
from metrics.networks.clip_towers import check_text
from metrics.networks.images import BATCH_SIZE, check_images, open_device, resize_square
from metrics.parity.torchmetrics_compat import TorchmetricsCLIP, TorchmetricsLPIPS
from metrics.parity.zero_fill import blackened, scaled
from metrics.toolbox.regions import check_mask

__all__ = ["BrushBenchCLIP", "BrushBenchLPIPS", "BrushBenchMSE", "BrushBenchPSNR"]

SIDE = 512
SOURCE = "Ju et al. 2024, arXiv 2403.06976; examples/brushnet/evaluate_brushnet.py of TencentARC/BrushNet"
NAN_RULE = "mask unknown or full"
RESIZE = "squash, Pillow bicubic (antialiased), rounded to uint8; masks nearest"
SMALLEST, PERFECT = 1.0e-10, 1000.0

Rows = dict[int, tuple[Image, Image, NDArray[np.bool_]]]


def _rows(batch: PairBatch) -> Rows:
    """Edit, source and background at 512 x 512, for the rows that have a background."""
    edits, sources = check_images(batch.edits, "edits"), check_images(batch.sources, "sources")
    fitted = {id(image): resize_square(image, SIDE) for image in (*edits, *sources)}
    rows: Rows = {}
    for row, mask in enumerate(batch.masks):
        if mask is not None:
            picture = PIL.Image.fromarray(check_mask(mask, edits[row], row)).resize((SIDE, SIDE), PIL.Image.Resampling.NEAREST)
            background = ~np.asarray(picture, dtype=np.bool_)
            if background.any():
                rows[row] = (fitted[id(edits[row])], fitted[id(sources[row])], background)
    return rows


class BrushBenchMSE(PairMetric):
    """Squared error outside the mask, summed over channels, per pixel: three times the mean; lower is better.

    Args:
        device: torch device, unused.
    """

    name: ClassVar[str] = "brushbench_mse"
    reads = frozenset({"sources", "masks"})
    bounds: Bounds = (0.0, 3.0)
    _scale: ClassVar[str] = "sum over three channels / pixels of one channel"
    _higher: ClassVar[bool] = False

    def __init__(self, *, device: str = "cpu") -> None:
        open_device(device)
        self.card = Card(
            name=self.name,
            version="1",
            network="none",
            weights="",
            resolution=f"{SIDE}x{SIDE}",
            resize=RESIZE,
            value_range="uint8 0..255 -> x/255, float32",
            scale=self._scale,
            masking="pixels outside the sample's mask",
            nan_rule=NAN_RULE,
            higher_is_better=self._higher,
            definition="BrushBench's value for an edit and its source (parity mode).",
            source=SOURCE,
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        scores = np.full(len(batch), np.nan, dtype=np.float64)
        for row, (edit, source, background) in _rows(batch).items():
            difference = scaled(blackened(edit, background)) - scaled(blackened(source, background))
            scores[row] = self._value(float(np.square(difference).sum() / np.float32(background.sum())))
        return scores

    def _value(self, error: float) -> float:
        return error


class BrushBenchPSNR(BrushBenchMSE):
    """PSNR in dB of that error, 4.77 dB too low, 1000 for equal backgrounds; higher is better.

    Args:
        device: torch device, unused.
    """

    name: ClassVar[str] = "brushbench_psnr"
    bounds: Bounds = (-10 * math.log10(3), PERFECT)
    _scale = "20 log10(1 / root of the sum over three channels / pixels of one channel), dB; 1000 under 1e-10"
    _higher = True

    def _value(self, error: float) -> float:
        return PERFECT if error < SMALLEST else 20 * math.log10(1 / math.sqrt(error))


class BrushBenchLPIPS(TorchmetricsLPIPS):
    """SqueezeNet LPIPS at 512 with the mask's inside set to 0; lower is better.

    Args:
        net: "squeeze" is the published one; otherwise as `lpips`.
        weights: file with torchvision's weights of the trunk; "" looks in torch's hub cache.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: unknown network, or weights missing.
    """

    name: ClassVar[str] = "brushbench_lpips"
    reads = frozenset({"sources", "masks"})
    _resolution, _resize, _source = f"{SIDE}x{SIDE}", RESIZE, SOURCE
    _masking = "pixels inside the sample's mask set to 0, whole frame scored"
    _nan_rule = NAN_RULE

    def __init__(self, net: str = "squeeze", *, weights: str = "", device: str = "cpu", batch_size: int = BATCH_SIZE) -> None:
        super().__init__(net, weights=weights, device=device, batch_size=batch_size)

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        rows = _rows(batch)
        scores = np.full(len(batch), np.nan, dtype=np.float64)
        edits = [blackened(edit, background) for edit, _, background in rows.values()]
        sources = [blackened(source, background) for _, source, background in rows.values()]
        scores[list(rows)] = self._distances(edits, sources)
        return scores


class BrushBenchCLIP(TorchmetricsCLIP):
    """torchmetrics' CLIP score per picture, clamped at 0, at 512; higher is better.

    Args:
        model: "folder:/path" of transformers' openai/clip-vit-large-patch14 for the published number, see `TorchmetricsCLIP`.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: the folder cannot be read.
    """

    name: ClassVar[str] = "brushbench_clip"
    bounds: Bounds = (0.0, 100.0)
    _scale = f"100 x max(cosine, 0) of the picture at {SIDE}x{SIDE}"
    _source = SOURCE

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        edits = [resize_square(image, SIDE) for image in check_images(batch.edits, "edits")]
        texts = [check_text(text, f"target_texts[{row}]") for row, text in enumerate(batch.target_texts)]
        return np.maximum(self._scores(dict(enumerate(edits)), texts), 0.0)
