"""What the inpainting editors share: the strength knob, the mask on the grid of the latent, networks that see more than the
latent, and the policy for the background.

They differ in what the U-Net is told about the picture around the mask, ``Inpainter.surroundings``, and in the texts.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import gaussian_filter
from torch import Tensor

from editors.base import EditTask, FairPlay, Image, Knob, SamplingParams
from editors.partial_decode import PartialDecode
from editors.toolbox.diffusion import DiffusionModel
from editors.toolbox.mask import DownsamplingParams, mask_of, to_cells, to_pixels
from editors.toolbox.source import MaskedSource
from editors.toolbox.sweep import Sweep

__all__ = ["Conditioned", "InpaintParams", "InpaintState", "Inpainter", "masked_latent", "paste_background"]

Paste: TypeAlias = Literal["none", "hard", "feathered"]
Residuals: TypeAlias = Callable[[Tensor, Tensor, Tensor], Mapping[str, Any]]
"""(x, timesteps, context) -> what a network beside the U-Net gives it, as keyword arguments of the U-Net."""

FEATHER = {"sigma": 3.5, "radius": 10, "mode": "mirror"}
"""The Gaussian that feathers the edge of a pasted background: 21 x 21 pixels, with the sigma that belongs to that size."""


class InpaintParams(SamplingParams, DownsamplingParams):
    """Parameters of every inpainting editor."""

    paste: Paste = Field(
        "none",
        description="background of the decoded picture: as decoded (none), the source's pixels outside the mask (hard), or "
        "those with a soft edge (feathered)",
    )


@dataclass(frozen=True, eq=False)
class InpaintState(MaskedSource):
    """All that no knob value changes; ``empty`` is what guidance leads away from."""

    image: Image
    model: DiffusionModel
    """The model with a U-Net that knows the picture around the mask."""
    noise: Tensor
    """The noise that all knob values share, (1, c, h, w)."""


class Conditioned:
    """A U-Net with conditions that stay the same through all steps, called like the U-Net itself.

    ``extra`` (1, e, h, w) goes beside the latent; ``residuals`` makes what goes in elsewhere. What a family's network takes beside the
    text is handed on. The U-Net is used, not owned.
    """

    def __init__(self, unet: Any, extra: Tensor | None = None, residuals: Residuals | None = None) -> None:
        self.unet, self.extra, self.residuals = unet, extra, residuals
        self.dtype, self.config = unet.dtype, unet.config

    def __call__(self, x: Tensor, timesteps: Tensor, encoder_hidden_states: Tensor, **others: Any) -> Any:
        added = self.residuals(x, timesteps, encoder_hidden_states) if self.residuals else {}
        if self.extra is not None:
            x = torch.cat([x, self.extra.to(x.dtype).expand(len(x), -1, -1, -1)], dim=1)
        return self.unet(x, timesteps, encoder_hidden_states=encoder_hidden_states, **others, **added)


class Inpainter(PartialDecode[InpaintState]):
    """The loop that inpainting editors have in common.

    Strength s executes the last round(s n) steps of the schedule, as in image-to-image: the start is the source latent noised
    to that level, but plain noise where it is the whole schedule (s = 1, the published setting), so that nothing of the source
    under the mask is left. At 0 the result is the VAE round trip, up to the paste policy. All values share their noise.
    """

    knob = Knob.share("strength", "share of the schedule that is noised and denoised; 1 keeps nothing under the mask")
    needs = frozenset({"mask"})
    batches = False  # a U-Net that is told of one picture serves no other
    params: InpaintParams

    @abstractmethod
    def surroundings(self, task: EditTask, x0: Tensor, cells: Tensor) -> Any:
        """The U-Net, told what surrounds the mask of the task."""

    def texts(self, task: EditTask) -> tuple[Tensor, Tensor]:
        """Embeddings of what is wanted and of what guidance leads away from, (1, l, d) each."""
        return self.model.embed_pair(task.target_text)

    def nine_channels(self, task: EditTask, cells: Tensor) -> Tensor:
        """What an inpainting U-Net sees beside the latent: mask and latent of the picture with grey under it, (1, 5, h, w)."""
        return torch.cat([cells.float(), masked_latent(self.model, task, hole=127.5)], dim=1)

    @property
    def blends(self) -> bool:
        """Whether the background is put back after every step, which a U-Net that does not see the picture needs."""
        return self.model.extra_channels == 0

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_mask=True)

    def prepare_many(self, tasks: Sequence[EditTask]) -> list[InpaintState]:
        return [self._state(task) for task in tasks]

    def _state(self, task: EditTask) -> InpaintState:
        self.check(task)
        model, pixels = self.model, mask_of(task)
        x0 = model.encode(task.image)
        cells = to_cells(pixels, x0, self.params.mask_downsampling)
        target, empty = self.texts(task)
        unet = self.surroundings(task, x0, cells)
        told = model if unet is model.unet else model.variant(unet=unet)
        return InpaintState(target, empty, x0, pixels, cells, task.image, told, model.noise(task.seed, x0.shape))

    def network(self, state: InpaintState) -> DiffusionModel:
        return state.model

    def start(self, state: InpaintState, t: int) -> Tensor:
        """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise, but plain noise at t = n."""
        return state.noise if t == self.schedule.steps else self.schedule.q_sample(state.x0, state.noise, t)

    def denoise(self, edits: Sweep[InpaintState]) -> None:
        """y_{t-1} = DDIM(y_t, eps(y_t, t, target)); with a blended background m y_{t-1} + (1 - m) x_{t-1}."""
        for t, y, states in edits:
            eps = self.predict(y, t, states)
            edits.x = self.schedule.ddim_step(y, eps, t)
            if self.blends:
                background = torch.cat([self.start(state, t - 1) for state in states])
                m = torch.cat([state.cells for state in states])
                edits.x = torch.where(m, edits.x, background)

    def render_many(self, states: Sequence[InpaintState], values: Sequence[float]) -> list[Sequence[Image | None]]:
        return [
            [paste_background(edit, state.image, state.pixels, self.params.paste) for edit in edits if edit is not None]
            for state, edits in zip(states, super().render_many(states, values), strict=True)
        ]

    def pictures(self, state: InpaintState) -> dict[str, NDArray[Any]]:
        return {"mask": to_pixels(state.cells, self.model.factor)}

    def facts(self, state: InpaintState) -> dict[str, str | float | bool]:
        return {
            "background": "blended after every step" if self.blends else "seen by the network",
            "paste": self.params.paste,
            **state.facts(),
        }


def masked_latent(model: DiffusionModel, task: EditTask, hole: float) -> Tensor:
    """Latent of the picture with its masked pixels at grey level ``hole`` (0..255; 127.5 is 0 to the network), (1, c, h, w)."""
    holed = np.where(mask_of(task)[..., None], np.float32(hole), task.image.astype(np.float32))
    return model.encode(cast(Image, holed))


def paste_background(edit: Image, image: Image, mask: NDArray[np.bool_], policy: Paste) -> Image:
    """The edit (H, W, 3) with the source's background outside ``mask`` (H, W) bool, by ``policy``.

    ``feathered`` mixes by the mask under a Gaussian of 21 x 21 pixels (sigma 3.5), so that a rim inside the mask is pasted too and
    one outside it is edited.
    """
    if policy == "none":
        return edit
    if policy == "hard":
        return np.where(mask[..., None], edit, image)
    soft = gaussian_filter(mask.astype(np.float32), **FEATHER)[..., None]
    return np.rint(edit * soft + image * (1 - soft)).astype(np.uint8)
