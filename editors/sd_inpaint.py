"""Stable Diffusion inpainting (Rombach et al., CVPR 2022, arXiv 2112.10752): generation under a mask, in two forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from editors.base import DIFFUSION, EditTask
from editors.inpainting import Conditioned, Inpainter, InpaintParams, InpaintState

__all__ = ["SDInpaint"]


class SDInpaint(Inpainter):
    """Stable Diffusion inpainting; the checkpoint decides on the form, and ``facts`` says which one it was.

    - A U-Net of 9 input channels was trained to inpaint: it sees the latent, the mask (1 = to be filled) and the latent of the
      picture whose masked pixels are grey. Nothing is blended, so the background goes through the VAE.
    - A plain U-Net of 4 channels does not see the picture: after every step the background is replaced by the source latent at
      the noise level just reached, with one noise for all levels, and ends as the clean source latent.

    Both forms run on Stable Diffusion 1 and 2 and on XL, whose networks differ in text and size conditions and in nothing of the above.
    Kolors, which puts a language model (ChatGLM) in the place of XL's text encoders, is of no family here and is refused.

    The mask is the manifest's. Preset ``paper`` holds the published settings, whose strength is 1. The reference pipeline
    chooses between the forms without a word, samples the VAE posterior where this takes its mean, and cuts the number of steps
    off where this rounds it; its crop around the mask is not offered.
    """

    name = "sd_inpaint"
    version = "1"
    families = DIFFUSION
    channels = frozenset({0, 5})
    batches = True
    checkpoint = (
        "an inpainting checkpoint of 9 input channels (stable-diffusion-v1-5/stable-diffusion-inpainting, "
        "diffusers/stable-diffusion-xl-1.0-inpainting-0.1) for the trained form; "
        "any text-to-image checkpoint for the blending form"
    )
    Params = InpaintParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 50, "guidance": 7.5, "mask_downsampling": "nearest", "paste": "none"},
        "fast": {"steps": 20},
        "toybox": {"steps": 25, "guidance": 3.0, "mask_downsampling": "any"},
    }

    def surroundings(self, task: EditTask, x0: Tensor, cells: Tensor) -> Any:
        if self.blends:
            return self.model.unet
        return Conditioned(self.model.unet, self.nine_channels(task, cells))

    def facts(self, state: InpaintState) -> dict[str, str | float | bool]:
        return {**super().facts(state), "form": "4 channels" if self.blends else "9 channels"}
