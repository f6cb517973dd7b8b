"""PSNR, SSIM, MSE and L1 between an edit and its source, over the whole picture, the background or the edited region.

PSNR, MSE and L1 are torchmetrics' functional forms in float64 on the uint8 pixels themselves. A region is selected, never blackened:
zero-filling both pictures and averaging over the whole frame, as some benchmarks do, raises PSNR by 10 log10(1 / region's share).

SSIM: Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP 2004; window 11 x 11 Gaussian,
sigma 1.5, k1 = 0.01, k2 = 0.03, per channel, mean over the positions whose window lies wholly inside picture and region, so no
pixel outside the region has a part in it. Over the whole picture this is scikit-image's `structural_similarity` with Gaussian
weights and population covariance; torchmetrics' own mean counts windows that reach into a mirrored border as well. The map is
torchmetrics' map; it is computed here because the Gaussian is separable, which makes it more than ten times faster in float64, and because
in float32 a single place of the map is off by up to 1e-3.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.base import PIXELS, Bounds, Card, Image, PairBatch, PairMetric
from metrics.networks.images import check_images, open_device
from metrics.toolbox.regions import MASKING, NO_REGION, READS, check_mask, check_pairs, check_region, regions

__all__ = ["L1", "MSE", "PSNR", "SSIM", "MaskFraction", "ssim_map"]

WINDOW, SIGMA = 11, 1.5
"""SSIM's window: pixels per side, and deviation of the Gaussian in pixels."""

C1, C2 = 0.01**2, 0.03**2


class _PixelMetric(PairMetric):
    """A function of the two pictures' pixels in a region.

    Args:
        region: "whole", "background" (outside the sample's mask) or "edited" (inside it).
        device: torch device; a network-free metric of uint8 pixels is not worth the way there and runs on the CPU.

    Raises:
        MetricError: unknown region or device.
    """

    higher_is_better: ClassVar[bool]
    scale: ClassVar[str]
    undefined: ClassVar[str] = ""
    masking: ClassVar[str] = ""
    definition: ClassVar[str]
    source: ClassVar[str]

    def __init__(self, region: str = "whole", *, device: str = "cpu") -> None:
        open_device(device)
        self._region = check_region(region, self.name)
        self.reads = frozenset({"sources"}) | READS[self._region]
        self.card = Card(
            name=self.name,
            version="1",
            **PIXELS,
            scale=self.scale,
            masking=MASKING[self._region] + self.masking,
            nan_rule="; ".join(filter(None, (NO_REGION[self._region], self.undefined))) or "never",
            higher_is_better=self.higher_is_better,
            definition=self.definition,
            source=self.source,
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        edits, sources = check_pairs(batch, self.name)
        rows = zip(edits, sources, regions(batch, self._region), strict=True)
        values = [np.nan if pixels is None else self._value(edit, source, pixels) for edit, source, pixels in rows]
        return np.array(values, dtype=np.float64)

    @abstractmethod
    def _value(self, edit: Image, source: Image, pixels: NDArray[np.bool_]) -> float:
        """The metric over `pixels`, bool (H, W) with at least one True."""


def _selected(image: Image, pixels: NDArray[np.bool_]) -> torch.Tensor:
    return torch.from_numpy(image[pixels].astype(np.float64) / 255)


class MSE(_PixelMetric):
    """Mean squared difference of pixels in 0..1; 0 is identity, lower is better."""

    name = "mse"
    bounds: Bounds = (0.0, 1.0)
    higher_is_better = False
    scale = "mean square of differences of x/255"
    definition = "Mean squared difference between edit and source."
    source = "torchmetrics.functional.mean_squared_error"

    def _value(self, edit: Image, source: Image, pixels: NDArray[np.bool_]) -> float:
        from torchmetrics.functional.regression import mean_squared_error

        return float(mean_squared_error(_selected(edit, pixels), _selected(source, pixels)))


class L1(_PixelMetric):
    """Mean absolute difference of pixels in 0..1; 0 is identity, lower is better."""

    name = "l1"
    bounds: Bounds = (0.0, 1.0)
    higher_is_better = False
    scale = "mean absolute difference of x/255"
    definition = "Mean absolute difference between edit and source."
    source = "torchmetrics.functional.mean_absolute_error"

    def _value(self, edit: Image, source: Image, pixels: NDArray[np.bool_]) -> float:
        from torchmetrics.functional.regression import mean_absolute_error

        return float(mean_absolute_error(_selected(edit, pixels), _selected(source, pixels)))


class PSNR(_PixelMetric):
    """Peak signal-to-noise ratio in dB; higher is better.

    Equal pixels have no finite PSNR. Such a row is NaN: recorded, counted as missing in the coverage, never averaged and never
    replaced by a large number; `mse`, which is 0 there, has no such hole.
    """

    name = "psnr"
    bounds: Bounds = (0.0, None)
    higher_is_better = True
    scale = "10 log10(1 / mean squared difference of x/255), dB"
    undefined = "equal pixels (infinite)"
    definition = "Peak signal-to-noise ratio between edit and source."
    source = "torchmetrics.functional.image.peak_signal_noise_ratio"

    def _value(self, edit: Image, source: Image, pixels: NDArray[np.bool_]) -> float:
        from torchmetrics.functional.image import peak_signal_noise_ratio

        one, two = _selected(edit, pixels), _selected(source, pixels)
        return float("nan") if torch.equal(one, two) else float(peak_signal_noise_ratio(one, two, data_range=1.0))


class SSIM(_PixelMetric):
    """Structural similarity, -1..1; 1 is identity, higher is better."""

    name = "ssim"
    bounds: Bounds = (-1.0, 1.0)
    higher_is_better = True
    scale = "mean of the SSIM map, Gaussian window 11x11, sigma 1.5, k1 0.01, k2 0.03, per channel"
    masking = ", at positions whose window lies wholly inside"
    undefined = "no window fits"
    definition = "Structural similarity of edit and source."
    source = "Wang et al. 2004, doi 10.1109/TIP.2003.819861; scikit-image structural_similarity with Gaussian weights"

    def _value(self, edit: Image, source: Image, pixels: NDArray[np.bool_]) -> float:
        from scipy.ndimage import minimum_filter

        positions = minimum_filter(pixels, WINDOW, mode="constant", cval=False)
        return float(ssim_map(edit, source)[positions].mean()) if positions.any() else float("nan")


def ssim_map(one: Image, two: Image) -> NDArray[np.float64]:
    """SSIM of two pictures uint8 (H, W, 3) at each place and channel, float64 (H, W, 3); windows are mirrored at the border."""
    from scipy.ndimage import gaussian_filter

    def window(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(gaussian_filter(values, (SIGMA, SIGMA, 0), radius=(WINDOW // 2, WINDOW // 2, 0), mode="mirror"))

    x, y = one.astype(np.float64) / 255, two.astype(np.float64) / 255
    mean_x, mean_y = window(x), window(y)
    variance_x, variance_y = window(x * x) - mean_x**2, window(y * y) - mean_y**2
    covariance = window(x * y) - mean_x * mean_y
    similar = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
    return np.asarray(similar / ((mean_x**2 + mean_y**2 + C1) * (variance_x + variance_y + C2)))


class MaskFraction(PairMetric):
    """Share of the picture that the sample's mask marks, 0..1: what a region metric's value should be read with.

    It is the same for every edit of a sample, and neither end of it is better.

    Args:
        device: torch device, unused.
    """

    name: ClassVar[str] = "mask_fraction"
    reads = frozenset({"masks"})
    bounds = (0.0, 1.0)

    def __init__(self, *, device: str = "cpu") -> None:
        open_device(device)
        self.card = Card(
            name=self.name,
            version="1",
            **(PIXELS | {"value_range": "bool mask"}),
            scale="share, 0..1",
            masking="the mask itself",
            nan_rule="mask unknown",
            higher_is_better=None,
            definition="Share of the pixels inside the sample's mask; it describes the sample, not the edit.",
            source="this project",
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        edits = check_images(batch.edits, "edits")
        rows = enumerate(zip(edits, batch.masks, strict=True))
        return np.array([np.nan if m is None else check_mask(m, e, r).mean() for r, (e, m) in rows], dtype=np.float64)
