"""ControlNet inpainting (Zhang et al., ICCV 2023, arXiv 2302.05543): a network beside the U-Net that sees the masked picture."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from editors.base import EditTask
from editors.base import Params as AnyParams
from editors.inpainting import Conditioned, Inpainter, InpaintParams, InpaintState
from editors.toolbox.checkpoint import CheckpointError, locate_network, network_digest, network_repository, origin
from editors.toolbox.hub import Repository
from editors.toolbox.mask import mask_of

__all__ = ["ControlNetInpaint", "ControlNetInpaintParams"]

WANTED = "a ControlNet trained to inpaint, as lllyasviel/control_v11p_sd15_inpaint: a folder or hub id"


class ControlNetInpaintParams(InpaintParams):
    """Parameters of ControlNet inpainting."""

    controlnet: str = Field("", description=f"{WANTED}; several, separated by commas, are tried in order")
    conditioning_scale: float = Field(
        0.5,
        ge=0,
        description="factor of the ControlNet's residuals; the inpainting pipeline's default, where 1 is ControlNet's own",
    )


class ControlNetInpaint(Inpainter):
    """A ControlNet tells the U-Net of a text-to-image model what surrounds the mask.

    Its control image is the picture in 0..1 with masked pixels at -1, which is what it was trained on: an edge map or a picture
    without that mark is not understood. Its residuals are added to the U-Net's skip connections and middle block, for both
    predictions of guidance. A U-Net of 4 channels also has its background blended after every step, one of 9 channels sees
    mask and masked picture, both as in ``sd_inpaint``.

    Cost: U-Net evaluations are counted; each takes one evaluation of the ControlNet, about half as dear, beside it. Departures
    from the reference pipeline: the mean of the VAE posterior, not a sample, and rounded numbers of steps.
    """

    name = "controlnet_inpaint"
    version = "1"
    channels = frozenset({0, 5})
    checkpoint = f"parameter controlnet: {WANTED} (OpenRAIL), with a Stable Diffusion 1.5 checkpoint as the model"
    tested_on = "tiny checkpoint"
    Params = ControlNetInpaintParams
    params: ControlNetInpaintParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 50, "guidance": 7.5, "conditioning_scale": 0.5, "mask_downsampling": "nearest", "paste": "none"},
        "fast": {"steps": 20},
        "toybox": {"steps": 25, "guidance": 3.0, "mask_downsampling": "any"},
    }

    @classmethod
    def assets(cls, params: AnyParams) -> Mapping[str, str]:
        assert isinstance(params, ControlNetInpaintParams)
        return {"controlnet": network_digest(locate_network(params.controlnet, "controlnet", WANTED))}

    @classmethod
    def repositories(cls, params: AnyParams) -> Mapping[str, Repository]:
        assert isinstance(params, ControlNetInpaintParams)
        return network_repository(params.controlnet, "controlnet", WANTED)

    @cached_property
    def _folder(self) -> Path:
        return locate_network(self.params.controlnet, "controlnet", WANTED)

    @cached_property
    def _controlnet(self) -> Any:
        """The network, on the device and in the dtype of the U-Net."""
        from diffusers import ControlNetModel

        folder = self._folder
        with torch.random.fork_rng(devices=[]):
            try:
                loaded, report = ControlNetModel.from_pretrained(folder, use_safetensors=True, output_loading_info=True)
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                reason = str(error).strip().splitlines()[0]
                raise CheckpointError(f"controlnet: {folder} cannot be loaded: {reason}; it takes {WANTED}") from error
        if report["missing_keys"]:
            raise CheckpointError(f"controlnet: {folder} lacks {sorted(report['missing_keys'])[0]}; it takes {WANTED}")
        _check_fit(loaded.config, self.model)
        unet = self.model.unet
        return loaded.to(self.model.device, unet.dtype).eval().requires_grad_(False)

    def surroundings(self, task: EditTask, x0: Tensor, cells: Tensor) -> Any:
        image = torch.from_numpy(np.where(mask_of(task)[..., None], np.float32(-1), task.image / np.float32(255)))
        control = image.permute(2, 0, 1)[None].to(x0.device, self.model.unet.dtype)
        seen = None if self.blends else self.nine_channels(task, cells)
        return Conditioned(self.model.unet, seen, partial(self._residuals, self._controlnet, control))

    def _residuals(self, network: Any, control: Tensor, x: Tensor, timesteps: Tensor, context: Tensor) -> Mapping[str, Any]:
        down, middle = network(
            x,
            timesteps,
            encoder_hidden_states=context,
            controlnet_cond=control.expand(len(x), -1, -1, -1),
            conditioning_scale=self.params.conditioning_scale,
            return_dict=False,
        )
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}

    def facts(self, state: InpaintState) -> dict[str, str | float | bool]:
        form = "4 channels" if self.blends else "9 channels"
        return {**super().facts(state), "form": form, "controlnet": origin(self._folder)}


def _check_fit(config: Any, model: Any) -> None:
    for field in ("cross_attention_dim", "block_out_channels"):
        theirs, ours = config[field], model.unet.config[field]
        if theirs != ours and list(np.atleast_1d(theirs)) != list(np.atleast_1d(ours)):
            raise CheckpointError(
                f"controlnet: its {field} is {theirs}, that of the model's U-Net {ours}: they do not belong together"
            )
    if config["in_channels"] != model.vae.config.latent_channels:
        raise CheckpointError(
            f"controlnet: it takes {config['in_channels']} channels, a latent has {model.vae.config.latent_channels}"
        )
