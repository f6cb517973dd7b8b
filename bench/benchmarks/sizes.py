"""Models of the published Stable Diffusion sizes, without weights: for an emulated card that runs dry."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["SIZES", "Size", "stable_diffusion", "task_of"]


@dataclass(frozen=True)
class Size:
    """What distinguishes the family's members, as their configurations on the hub have it; the VAE is the same in all."""

    side: int
    """Pixels of a side."""
    text: Mapping[str, Any]
    """The text encoder."""
    unet: Mapping[str, Any] = field(default_factory=dict)
    """What of the U-Net is not diffusers' default, which is version 1's."""


SIZES: Mapping[str, Size] = {
    "SD 1.5": Size(512, {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}),
    "SD 2.1": Size(
        768,
        {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 23,
            "num_attention_heads": 16,
            "hidden_act": "gelu",
        },
        {"attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True},
    ),
}
"""Version 1: a U-Net of 860 M weights, VAE of 84 M, text encoder of 123 M; version 2: 866 M, 84 M and 340 M."""


def stable_diffusion(size: Size, dtype: str) -> Any:
    """A ``DiffusionModel`` of that size on the card, in ``dtype`` (a torch dtype's name)."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from bench.toybox import embedded
    from editors import DiffusionModel
    from editors.toolbox.backbones import StableDiffusion

    small = DiffusionModel.load(embedded.generator())
    tokenizer = copy.deepcopy(small.tokenizer)
    tokenizer.model_max_length = 77
    with torch.device("meta"):
        networks: dict[str, Any] = {
            "vae": AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                block_out_channels=(128, 256, 512, 512),
                layers_per_block=2,
                latent_channels=4,
            ),
            "unet": UNet2DConditionModel(sample_size=size.side // 8, cross_attention_dim=size.text["hidden_size"], **size.unet),
            "text_encoder": CLIPTextModel(CLIPTextConfig(max_position_embeddings=77, **size.text)),
        }
    on_card = {name: network.to(getattr(torch, dtype)).to_empty(device="cuda") for name, network in networks.items()}
    return DiffusionModel(StableDiffusion(on_card | {"tokenizer": tokenizer}, small.scheduler.config), device="cuda")


def task_of(side: int) -> Any:
    """An ``EditTask`` on a black picture of ``side`` x ``side`` pixels, its mask in the middle."""
    import numpy as np

    from editors import EditTask

    mask = np.zeros((side, side), dtype=np.bool_)
    mask[side // 4 : side // 2, side // 4 : side // 2] = True
    return EditTask(np.zeros((side, side, 3), np.uint8), "a red cat", "a blue cat", mask, 0)
