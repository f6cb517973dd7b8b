"""DiffEdit's automatic mask, and masks between pixels and latent cells.

Source: Couairon et al., DiffEdit (arXiv 2210.11427), step 1: where the noise predicted under the target text differs from
the noise predicted under a reference text, the picture has to change.

What the common pipeline implementation does otherwise, and this one does not:

- It asks for four predictions per noise, two of which cancel; the conditional two are enough and give the same map.
- It takes the mean over the whole batch, so that a picture's mask depends on its neighbours; here a map has its own.
- It samples the VAE posterior once per noise; here one mean latent serves all noises.
- Its two texts are unpacked in the wrong order, which shows as soon as their negative texts differ; here there are none.
- It runs all predictions in one call, whatever the memory; here ``DiffusionModel.max_batch`` bounds a call.
- Its threshold (clamp at 3 x mean, then 0.5) is offered as ``mask_rule="diffusers"``; the paper's rescaling is the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d, interpolate

from editors.task import EditTask, MissingInput, Params
from editors.toolbox.diffusion import DiffusionModel, derive_seed
from editors.toolbox.schedule import Schedule

__all__ = ["AutoMask", "DownsamplingParams", "MaskParams", "auto_mask", "binarise", "mask_of", "to_cells", "to_pixels"]


class MaskParams(Params):
    """Parameters of the automatic mask."""

    mask_maps: int = Field(10, ge=1, description="noises n whose difference maps are averaged")
    mask_strength: float = Field(0.5, gt=0, le=1, description="share of the schedule the latent is noised to for the mask")
    mask_threshold: float = Field(0.5, ge=0, le=1, description="cells of the rescaled map above it belong to the mask")
    mask_rule: Literal["paper", "diffusers"] = Field(
        "paper", description="paper: clip at mask_quantile, rescale min..max; diffusers: clamp at 3 x mean, rescale by that"
    )
    mask_quantile: float = Field(
        0.99, gt=0, le=1, description="rule paper: quantile at which extreme values are clipped (the paper gives no number)"
    )
    use_source_text: bool = Field(
        False, description="reference text is the source text, where there is one, rather than the empty text"
    )


class DownsamplingParams(Params):
    """How a mask of pixels becomes one of latent cells, as in ``to_cells``."""

    mask_downsampling: Literal["nearest", "any"] = Field(
        "nearest", description="a latent cell is masked where its first pixel is (nearest, as published) or where any pixel is"
    )


@dataclass(frozen=True, eq=False)
class AutoMask:
    """A mask and where it came from."""

    cells: Tensor
    """(1, 1, h, w) bool at latent resolution, True where the edit happens."""
    difference: Tensor
    """(h, w) float32 >= 0: mean absolute difference of the two predictions."""
    reference: str
    """``empty`` or ``source``: the reference text."""

    def pictures(self, factor: int) -> dict[str, NDArray[Any]]:
        """The mask at pixel resolution (bool) and the difference map at latent resolution (float32)."""
        return {"mask": to_pixels(self.cells, factor), "difference": self.difference.cpu().numpy()}

    def facts(self, params: MaskParams) -> dict[str, str | float | bool]:
        """Which rule and reference made it and how much it covers."""
        share = float(self.cells.float().mean())
        return {"mask_rule": params.mask_rule, "mask_reference": self.reference, "mask_share": share}


def auto_mask(
    model: DiffusionModel, schedule: Schedule, params: MaskParams, task: EditTask, *, x0: Tensor, target: Tensor, empty: Tensor
) -> AutoMask:
    """The mask for latent ``x0`` (1, c, h, w) and target embedding (1, l, d): 2n U-Net samples, at one noise level.

    It depends on the picture, the texts and the seed alone, so on no knob value. Equal texts give an empty mask.
    """
    described = bool(params.use_source_text and task.source_text)
    reference = model.embed([task.source_text or ""]) if described else empty
    n = params.mask_maps
    level = max(1, schedule.level(params.mask_strength))
    noises = model.noise(derive_seed(task.seed, "mask"), (n, *x0.shape[1:]))
    x = schedule.q_sample(x0, noises, level)
    texts = torch.cat([target.expand(n, -1, -1), reference.expand(n, -1, -1)])
    wanted, present = model.predict(torch.cat([x, x]), schedule.timestep(level), texts).chunk(2)
    difference = (wanted - present).abs().mean((0, 1))
    return AutoMask(binarise(difference, params)[None, None], difference, "source" if described else "empty")


def binarise(difference: Tensor, params: MaskParams) -> Tensor:
    """Threshold a difference map (h, w) by its own statistics; (h, w) bool. A flat map gives an empty mask."""
    if params.mask_rule == "paper":
        low, high = difference.min(), torch.quantile(difference.flatten(), params.mask_quantile)
    else:
        low, high = difference.new_zeros(()), 3 * difference.mean()
    if high <= low:
        return torch.zeros_like(difference, dtype=torch.bool)
    return (difference.clamp(max=high) - low) / (high - low) > params.mask_threshold


def mask_of(task: EditTask) -> NDArray[np.bool_]:
    """The task's mask, (H, W). Raises ``MissingInput`` where it has none."""
    if task.mask is None:
        raise MissingInput("the task has no mask: add it to the manifest")
    return task.mask


def to_cells(mask: NDArray[np.bool_], like: Tensor, rule: Literal["nearest", "any"] = "any") -> Tensor:
    """A pixel mask (H, W) bool on the grid and device of a latent ``like`` (1, c, h, w): (1, 1, h, w) bool.

    ``any`` sets a cell where any of its pixels is set, so that nothing gets lost; ``nearest`` where its first pixel is, the
    habit of published code, which can lose what is thinner than a cell.
    """
    pixels = torch.from_numpy(mask.copy()).to(like.device)[None, None].float()
    if rule == "any":
        return adaptive_max_pool2d(pixels, like.shape[-2:]).bool()
    return interpolate(pixels, like.shape[-2:], mode="nearest").bool()


def to_pixels(cells: Tensor, factor: int) -> NDArray[np.bool_]:
    """A latent mask (1, 1, h, w) as bool (H, W), every cell a square of ``factor`` pixels."""
    return interpolate(cells.float(), scale_factor=factor, mode="nearest")[0, 0].bool().cpu().numpy()
