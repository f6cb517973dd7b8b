"""Models of published sizes, without weights: for an emulated card that runs dry."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["SIZES", "Size", "model_of", "task_of"]


@dataclass(frozen=True)
class Size:
    """One published model, as its configurations on the hub have it."""

    side: int
    """Pixels of a side."""
    family: str
    """One of ``editors.task.FAMILIES``."""
    parts: Callable[[Any], Mapping[str, Any]]
    """The networks and tokenizers, given a CLIP tokenizer; called where tensors are made without memory."""
    scheduler: Mapping[str, Any] | None = None
    """The scheduler's configuration; None is that of Stable Diffusion 1."""


def _vae(channels: int) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=channels,
    )


def _clip(width: int, layers: int, heads: int, projects: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        max_position_embeddings=77,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        projection_dim=width,
    )
    return (CLIPTextModelWithProjection if projects else CLIPTextModel)(config)


def _t5_xxl() -> dict[str, Any]:
    """The encoder of 4.7 billion weights, and a tokenizer in its place that knows no word."""
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    config = T5Config(
        vocab_size=32_128, d_model=4096, d_kv=64, d_ff=10_240, num_layers=24, num_heads=64, feed_forward_proj="gated-gelu"
    )
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return {"text_encoder_2": T5EncoderModel(config), "tokenizer_2": T5Tokenizer(vocab=vocabulary, extra_ids=0)}


def _version_1(tokenizer: Any) -> dict[str, Any]:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
    return {"vae": _vae(4), "unet": unet, "text_encoder": _clip(768, 12, 12), "tokenizer": tokenizer}


def _version_2(tokenizer: Any) -> dict[str, Any]:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=96, cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True
    )
    return {"vae": _vae(4), "unet": unet, "text_encoder": _clip(1024, 23, 16), "tokenizer": tokenizer}


def _xl(tokenizer: Any) -> dict[str, Any]:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )
    encoders = {"text_encoder": _clip(768, 12, 12), "text_encoder_2": _clip(1280, 32, 20, projects=True)}
    return {"vae": _vae(4), "unet": unet, **encoders, "tokenizer": tokenizer, "tokenizer_2": tokenizer}


def _flux(tokenizer: Any) -> dict[str, Any]:
    from diffusers import FluxTransformer2DModel

    transformer = FluxTransformer2DModel(guidance_embeds=True)
    return {"vae": _vae(16), "transformer": transformer, "text_encoder": _clip(768, 12, 12), "tokenizer": tokenizer, **_t5_xxl()}


SIZES: Mapping[str, Size] = {
    "SD 1.5": Size(512, "sd", _version_1),
    "SD 2.1": Size(768, "sd", _version_2),
    "SD XL": Size(1024, "sdxl", _xl),
    "FLUX.1 dev": Size(1024, "flux", _flux, {"shift": 3.0, "use_dynamic_shifting": True}),
}
"""Billions of weights, without text encoders: 0.9, 0.9, 2.6 and 11.9."""


def model_of(size: Size, dtype: str, *, drawn: bool = False) -> Any:
    """A ``DiffusionModel`` of that size on the card, in ``dtype`` (a torch dtype's name): its weights are whatever is in memory, or
    ``drawn`` as networks draw them before they are trained, from the global generator.
    """
    import torch

    from bench.toybox import embedded
    from editors import DiffusionModel
    from editors.toolbox.backbones import BACKBONES

    small = DiffusionModel.load(embedded.generator())
    tokenizer = copy.deepcopy(small.tokenizer)
    tokenizer.model_max_length = 77
    with torch.device("cuda" if drawn else "meta"):
        parts = size.parts(tokenizer)

    def placed(part: Any) -> Any:
        if not isinstance(part, torch.nn.Module):
            return part
        part = part.to(getattr(torch, dtype))
        return part if drawn else part.to_empty(device="cuda")

    on_card = {name: placed(part) for name, part in parts.items()}
    return DiffusionModel(BACKBONES[size.family](on_card, size.scheduler or small.scheduler.config), device="cuda")


def task_of(side: int) -> Any:
    """An ``EditTask`` on a black picture of ``side`` x ``side`` pixels, its mask in the middle."""
    import numpy as np

    from editors import EditTask

    mask = np.zeros((side, side), dtype=np.bool_)
    mask[side // 4 : side // 2, side // 4 : side // 2] = True
    return EditTask(np.zeros((side, side, 3), np.uint8), "a red cat", "a blue cat", mask, 0)
