"""Checkpoints with random weights of the families beside Stable Diffusion 1, each a folder that diffusers' own pipeline wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

__all__ = ["TINY", "tiny"]


def _vae(channels: int, **others: Any) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 16),
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=64,
        mid_block_add_attention=False,
        **others,
    )


def _clip(tokenizer: CLIPTokenizer, width: int, kind: Any = CLIPTextModel, **others: Any) -> Any:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=len(tokenizer) - 2,
        eos_token_id=len(tokenizer) - 1,
        pad_token_id=len(tokenizer) - 1,
        **others,
    )
    return kind(config)


def _t5(width: int) -> tuple[T5Tokenizer, T5EncoderModel]:
    letters = [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    tokenizer = T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -2.0), *letters], extra_ids=0)
    config = T5Config(vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    return tokenizer, T5EncoderModel(config)


def _sdxl(tokenizer: CLIPTokenizer) -> Any:
    return StableDiffusionXLPipeline(
        vae=_vae(4, scaling_factor=0.13),
        text_encoder=_clip(tokenizer, 12),
        text_encoder_2=_clip(tokenizer, 20, CLIPTextModelWithProjection, projection_dim=24),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=(1, 2),
            norm_num_groups=4,
            use_linear_projection=True,
            transformer_layers_per_block=(1, 2),
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=24 + 6 * 8,
        ),
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
    )


def _sd3(tokenizer: CLIPTokenizer) -> Any:
    tokenizer_3, text_encoder_3 = _t5(40)
    return StableDiffusion3Pipeline(
        vae=_vae(4, scaling_factor=1.5, shift_factor=0.06),
        text_encoder=_clip(tokenizer, 12, CLIPTextModelWithProjection, projection_dim=12),
        text_encoder_2=_clip(tokenizer, 20, CLIPTextModelWithProjection, projection_dim=20),
        text_encoder_3=text_encoder_3,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        tokenizer_3=tokenizer_3,
        transformer=SD3Transformer2DModel(
            sample_size=16,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=40,
            caption_projection_dim=16,
            pooled_projection_dim=32,
            pos_embed_max_size=16,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def _flux(tokenizer: CLIPTokenizer) -> Any:
    tokenizer_2, text_encoder_2 = _t5(24)
    return FluxPipeline(
        vae=_vae(4, scaling_factor=0.36, shift_factor=0.12, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=_clip(tokenizer, 16),
        text_encoder_2=text_encoder_2,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        transformer=FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=24,
            pooled_projection_dim=16,
            guidance_embeds=True,
            axes_dims_rope=(2, 2, 4),
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    )


TINY: Mapping[str, Callable[[CLIPTokenizer], Any]] = {"sdxl": _sdxl, "sd3": _sd3, "flux": _flux}
"""Family to a pipeline of it: 64 px pictures, 16 x 16 x 4 latents."""


def tiny(family: str, tokenizer: CLIPTokenizer, folder: Path) -> Path:
    """The folder of a family's tiny pipeline; the global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        TINY[family](tokenizer).save_pretrained(folder)
    return folder
