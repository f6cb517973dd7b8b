"""BrushNet (Ju et al., ECCV 2024, arXiv 2403.06976): a second network that gives the picture around the mask to every layer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from editors.base import EditTask
from editors.base import Params as AnyParams
from editors.inpainting import Inpainter, InpaintParams, InpaintState, masked_latent
from editors.toolbox.brushnet_model import BrushNetModel, BrushNetUNet
from editors.toolbox.checkpoint import locate_network, network_digest, network_repository, origin
from editors.toolbox.hub import Repository

__all__ = ["BrushNet", "BrushNetParams"]

WANTED = (
    "a BrushNet checkpoint for Stable Diffusion 1 (random_mask_brushnet_ckpt or segmentation_mask_brushnet_ckpt, linked from "
    "github.com/TencentARC/BrushNet): the folder with config.json and diffusion_pytorch_model.safetensors, or a hub id of a copy"
)


class BrushNetParams(InpaintParams):
    """Parameters of BrushNet."""

    brushnet: str = Field("", description=f"{WANTED}; several, separated by commas, are tried in order")
    conditioning_scale: float = Field(1.0, ge=0, description="factor of what BrushNet adds to the U-Net's layers")


class BrushNet(Inpainter):
    """BrushNet beside a plain text-to-image model.

    BrushNet sees the noisy latent, the latent of the picture with black masked pixels, and the mask as the released weights were
    trained on it: 1 where the picture is known. What it gives is added to every layer of the U-Net, conditional and unconditional
    (``editors.toolbox.brushnet_model``). Nothing is blended on the way, so the background goes through the VAE; ``paste="feathered"`` is
    the authors' optional blended paste (a Gaussian of 21 x 21 pixels).

    Departures from the authors' pipeline: DDIM instead of UniPC, the mean of the VAE posterior instead of a sample, and a strength
    below 1, which they do not have. There are several checkpoints, the released one trained longer than the paper's; the digest in
    a unit's identity says which was used. Cost: U-Net evaluations are counted; each takes one of BrushNet beside it.
    """

    name = "brushnet"
    version = "1"
    checkpoint = f"parameter brushnet: {WANTED} (Apache-2.0 with notices); with a Stable Diffusion 1.5 checkpoint as the model"
    tested_on = "tiny checkpoint"
    Params = BrushNetParams
    params: BrushNetParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 50, "guidance": 7.5, "conditioning_scale": 1.0, "mask_downsampling": "nearest"},
        "fast": {"steps": 20},
        "toybox": {"steps": 25, "guidance": 3.0, "mask_downsampling": "any"},
    }
    blends = False

    @classmethod
    def assets(cls, params: AnyParams) -> Mapping[str, str]:
        assert isinstance(params, BrushNetParams)
        return {"brushnet": network_digest(locate_network(params.brushnet, "brushnet", WANTED))}

    @classmethod
    def repositories(cls, params: AnyParams) -> Mapping[str, Repository]:
        assert isinstance(params, BrushNetParams)
        return network_repository(params.brushnet, "brushnet", WANTED)

    @cached_property
    def _folder(self) -> Path:
        return locate_network(self.params.brushnet, "brushnet", WANTED)

    @cached_property
    def _brushnet(self) -> BrushNetModel:
        loaded = BrushNetModel.load(self._folder)
        return loaded.to(self.model.device, self.model.unet.dtype)

    def surroundings(self, task: EditTask, x0: Tensor, cells: Tensor) -> Any:
        condition = torch.cat([masked_latent(self.model, task, hole=0), 1 - cells.float()], dim=1)
        return BrushNetUNet(self.model.unet, self._brushnet, condition, self.params.conditioning_scale)

    def facts(self, state: InpaintState) -> dict[str, str | float | bool]:
        return {**super().facts(state), "brushnet": origin(self._folder)}
