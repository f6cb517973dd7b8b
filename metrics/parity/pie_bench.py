"""PIE-Bench's evaluator (Ju et al., "Direct Inversion", arXiv 2310.01506; `evaluation/` of its repository), per edit.

What it does and the metrics beside these do not:

- "unedited" and "edited" parts are made by setting all other pixels of both pictures to 0, and the whole frame is scored; PSNR, MSE, SSIM
  and LPIPS thus improve as the part shrinks, PSNR by 10 log10(1 / its share);
- the outermost pixel on each side counts as edited, whatever the mask says;
- an empty part gives the text "nan", here NaN; equal pictures give an infinite PSNR, here infinity as well;
- the structure distance passes 0..255 through ImageNet's normalisation for 0..1;
- CLIP on the edited part sees the part on black;
- LPIPS is SqueezeNet's, through torchmetrics, at the picture's own size; CLIP is torchmetrics', clamped at 0 per picture.

Values are the evaluator's own; the paper's tables print structure and LPIPS x 1e3, MSE x 1e4, SSIM x 1e2. `pie_bench_ssim` is the mean that
the installed torchmetrics takes; `pie_bench_structure` resizes without antialiasing, as the torchvision 0.13.1 that its repository pins does
with tensors, and interpolates positions as DINO's hub code.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.base import PIXELS, Bounds, Card, Image, PairBatch, PairMetric
from metrics.networks.clip_towers import check_text
from metrics.networks.images import (
    BATCH_SIZE,
    IMAGENET_MEAN,
    IMAGENET_STD,
    check_batch_size,
    check_images,
    check_sides,
    exact,
    open_device,
)
from metrics.parity.torchmetrics_compat import TOO_SMALL, TorchmetricsCLIP, TorchmetricsLPIPS
from metrics.parity.zero_fill import blackened, scaled
from metrics.pixels import WINDOW
from metrics.structure import KeyNetwork
from metrics.toolbox.pairs import Maps, compare_pairs
from metrics.toolbox.regions import READS, Region, check_mask, check_pairs, check_region

__all__ = ["PieBenchCLIP", "PieBenchLPIPS", "PieBenchMSE", "PieBenchPSNR", "PieBenchSSIM", "PieBenchStructure"]

SOURCE = "Ju et al. 2023, arXiv 2310.01506; evaluation/matrics_calculator.py of cure-lab/PnPInversion"
NAN_RULE = "mask unknown, or no pixel in the part"
SIDE, LONGEST = 224, 480


def _parts(batch: PairBatch, region: Region) -> list[NDArray[np.bool_] | None]:
    """For each row the pixels that stay; None where there are none."""
    if region == "whole":
        return [np.ones(edit.shape[:2], dtype=np.bool_) for edit in batch.edits]
    parts: list[NDArray[np.bool_] | None] = []
    for row, (edit, mask) in enumerate(zip(batch.edits, batch.masks, strict=True)):
        if mask is None:
            parts.append(None)
        else:
            edited = check_mask(mask, edit, row).copy()
            edited[[0, -1], :] = edited[:, [0, -1]] = True
            part = edited if region == "edited" else ~edited
            parts.append(part if part.any() else None)
    return parts


def _masking(region: Region) -> str:
    if region == "whole":
        return "whole picture"
    return f"pixels outside the {region} part set to 0, whole frame scored, one border pixel counts as edited"


def _pairs(batch: PairBatch, region: Region, what: str) -> dict[int, tuple[Image, Image]]:
    """Rows with a part, and their blackened edit and source; equal sources under equal masks stay one object."""
    edits, sources = check_pairs(batch, what)
    kept: dict[tuple[int, int], Image] = {}
    pairs: dict[int, tuple[Image, Image]] = {}
    for row, part in enumerate(_parts(batch, region)):
        if part is not None:
            key = (id(sources[row]), 0 if region == "whole" else id(batch.masks[row]))
            kept.setdefault(key, blackened(sources[row], part))
            pairs[row] = (blackened(edits[row], part), kept[key])
    return pairs


class _PieBenchPixels(PairMetric):
    """A pixel metric of the two blackened pictures.

    Args:
        region: "background" (the published columns), "edited" or "whole".
        device: torch device; it runs on the CPU.

    Raises:
        MetricError: unknown region or device.
    """

    higher_is_better: ClassVar[bool]
    scale: ClassVar[str]

    def __init__(self, region: str = "background", *, device: str = "cpu") -> None:
        open_device(device)
        self._region = check_region(region, self.name)
        self.reads = frozenset({"sources"}) | READS[self._region]
        self.card = Card(
            name=self.name,
            version="1",
            **(PIXELS | {"value_range": "uint8 0..255 -> x/255, float32"}),
            scale=self.scale,
            masking=_masking(self._region),
            nan_rule="never" if self._region == "whole" else NAN_RULE,
            higher_is_better=self.higher_is_better,
            definition="PIE-Bench's value for an edit and its source (parity mode).",
            source=SOURCE,
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        scores = np.full(len(batch), np.nan, dtype=np.float64)
        with exact():
            for row, pair in _pairs(batch, self._region, self.name).items():
                scores[row] = self._value(*(torch.from_numpy(scaled(image)).permute(2, 0, 1)[None] for image in pair))
        return scores

    @abstractmethod
    def _value(self, edit: torch.Tensor, source: torch.Tensor) -> float:
        """The metric of two float32 (1, 3, H, W) in 0..1."""


class PieBenchPSNR(_PieBenchPixels):
    """PSNR in dB over the blackened frame; infinite for equal frames; higher is better."""

    name = "pie_bench_psnr"
    bounds: Bounds = (0.0, None)
    higher_is_better = True
    scale = "10 log10(1 / mean square over the frame), dB, infinite for equal frames"

    def _value(self, edit: torch.Tensor, source: torch.Tensor) -> float:
        from torchmetrics.functional.image import peak_signal_noise_ratio

        return float(peak_signal_noise_ratio(edit, source, data_range=1.0))


class PieBenchMSE(_PieBenchPixels):
    """Mean squared difference over the blackened frame; lower is better."""

    name = "pie_bench_mse"
    bounds: Bounds = (0.0, 1.0)
    higher_is_better = False
    scale = "mean square over the frame"

    def _value(self, edit: torch.Tensor, source: torch.Tensor) -> float:
        from torchmetrics.functional.regression import mean_squared_error

        return float(mean_squared_error(edit.contiguous(), source.contiguous()))


class PieBenchSSIM(_PieBenchPixels):
    """torchmetrics' SSIM over the blackened frame; higher is better. Pictures of at least 11 pixels a side, the window's."""

    name = "pie_bench_ssim"
    bounds: Bounds = (-1.0, 1.0)
    higher_is_better = True
    scale = "torchmetrics' mean of the SSIM map, windows in the mirrored border included"

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        check_sides(check_images(batch.edits, "edits"), WINDOW, "edits", "SSIM's window does not fit; enlarge the pictures")
        return super().score(batch)

    def _value(self, edit: torch.Tensor, source: torch.Tensor) -> float:
        from torchmetrics.functional.image import structural_similarity_index_measure

        value: torch.Tensor = structural_similarity_index_measure(edit, source, data_range=1.0)
        return float(value)


class PieBenchLPIPS(TorchmetricsLPIPS):
    """SqueezeNet LPIPS of the blackened frames; lower is better.

    Args:
        net: "squeeze" is the published one; otherwise as `lpips`.
        region: "background" (the published column), "edited" or "whole".
        weights: file with torchvision's weights of the trunk; "" looks in torch's hub cache.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: unknown network or region, or weights missing.
    """

    name: ClassVar[str] = "pie_bench_lpips"
    _source = SOURCE

    def __init__(
        self,
        net: str = "squeeze",
        region: str = "background",
        *,
        weights: str = "",
        device: str = "cpu",
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self._region = check_region(region, self.name)
        self.reads = frozenset({"sources"}) | READS[self._region]
        self._masking = _masking(self._region)
        self._nan_rule = "never" if region == "whole" else NAN_RULE
        super().__init__(net, weights=weights, device=device, batch_size=batch_size)

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        pairs = _pairs(batch, self._region, self.name)
        self._network.check_size(batch.edits, "edits", TOO_SMALL)
        scores = np.full(len(batch), np.nan, dtype=np.float64)
        scores[list(pairs)] = self._distances([edit for edit, _ in pairs.values()], [source for _, source in pairs.values()])
        return scores


class PieBenchCLIP(TorchmetricsCLIP):
    """torchmetrics' CLIP score per picture, clamped at 0, of the edit or of its edited part on black; higher is better.

    Args:
        model: "folder:/path" of transformers' openai/clip-vit-large-patch14 for the published number, see `TorchmetricsCLIP`.
        region: "whole" or "edited", the two published columns, or "background".
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: unknown region, or the folder cannot be read.
    """

    name: ClassVar[str] = "pie_bench_clip"
    bounds: Bounds = (0.0, 100.0)
    _scale = "100 x max(cosine, 0)"
    _source = SOURCE

    def __init__(self, model: str, region: str = "whole", *, device: str = "cpu", batch_size: int = BATCH_SIZE) -> None:
        self._region = check_region(region, self.name)
        self.reads = frozenset({"target_texts"}) | READS[self._region]
        self._masking = _masking(self._region)
        self._nan_rule = "never" if region == "whole" else NAN_RULE
        super().__init__(model, device=device, batch_size=batch_size)

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        edits = check_images(batch.edits, "edits")
        texts = [check_text(text, f"target_texts[{row}]") for row, text in enumerate(batch.target_texts)]
        parts = enumerate(_parts(batch, self._region))
        return np.maximum(self._scores({row: blackened(edits[row], part) for row, part in parts if part is not None}, texts), 0.0)


class PieBenchStructure(PairMetric):
    """Structure distance of the whole pictures with 0..255 put through the normalisation for 0..1; lower is better.

    Args:
        net: "folder:/path" of facebook/dino-vitb8 in transformers' format for the published number.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: the folder cannot be read.
    """

    name: ClassVar[str] = "pie_bench_structure"
    reads = frozenset({"sources"})
    bounds: Bounds = (0.0, 4.0)

    def __init__(self, net: str, *, device: str = "cpu", batch_size: int = BATCH_SIZE) -> None:
        self._device, self._batch_size = open_device(device), check_batch_size(batch_size)
        self._network = KeyNetwork(net, f"{self.name} net", self._device, hub_positions=True)
        self.card = Card(
            name=self.name,
            version="2",
            network=self._network.description,
            weights=self._network.weights,
            resolution=f"short side {SIDE}, long side at most {LONGEST}",
            resize="torch bilinear, not antialiased, in float32",
            value_range=f"uint8 0..255 -> (x - {list(IMAGENET_MEAN)}) / {list(IMAGENET_STD)}, without the division by 255",
            scale="mean squared difference of cosines",
            masking="whole picture",
            nan_rule="never",
            higher_is_better=False,
            definition="PIE-Bench's structure distance of an edit and its source (parity mode).",
            source=SOURCE,
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        edits, sources = check_pairs(batch, self.name)
        return compare_pairs(self._encode, _distance, edits, sources, self._batch_size)

    def _encode(self, images: list[Image]) -> Maps:
        from torchvision.transforms.v2.functional import normalize, resize  # type: ignore[import-untyped]

        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).to(self._device).float()
        pixels = resize(pixels, [SIDE], max_size=LONGEST, antialias=False)
        return [self._network.similarities(normalize(pixels, list(IMAGENET_MEAN), list(IMAGENET_STD)))]


def _distance(one: Maps, two: Maps, _rows: list[int]) -> torch.Tensor:
    return (one[0] - two[0]).square().mean(dim=(1, 2))
