"""A model of Stable Diffusion 1's sizes, without weights: for an emulated card that runs dry."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from embedded_model import tasks, toybox
from transformers import CLIPTextConfig, CLIPTextModel

from editors import DiffusionModel, EditTask


def stable_diffusion(dtype: torch.dtype) -> DiffusionModel:
    """U-Net of 860 M weights, VAE of 84 M, text encoder of 123 M, on the card."""
    small = toybox()
    with torch.device("meta"):
        networks: dict[str, Any] = {
            "vae": AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                block_out_channels=(128, 256, 512, 512),
                layers_per_block=2,
                latent_channels=4,
            ),
            "unet": UNet2DConditionModel(sample_size=64, cross_attention_dim=768),
            "text_encoder": CLIPTextModel(
                CLIPTextConfig(
                    hidden_size=768,
                    intermediate_size=3072,
                    num_hidden_layers=12,
                    num_attention_heads=12,
                    max_position_embeddings=77,
                )
            ),
        }
    return DiffusionModel(
        **{name: network.to(dtype).to_empty(device="cuda") for name, network in networks.items()},
        tokenizer=small.tokenizer,
        scheduler_config=dict(small.scheduler.config),
        device="cuda",
    )


def task_of(side: int) -> EditTask:
    """A task on a picture of ``side`` x ``side`` pixels, its mask the middle."""
    mask = np.zeros((side, side), dtype=np.bool_)
    mask[side // 4 : side // 2, side // 4 : side // 2] = True
    return dataclasses.replace(tasks(1)[0], image=np.zeros((side, side, 3), np.uint8), mask=mask)
