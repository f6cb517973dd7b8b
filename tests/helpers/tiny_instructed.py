"""Checkpoints with random weights of editors that are told what to do, each a folder that diffusers' own pipeline wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    FluxKontextPipeline,
    QwenImageEditPipeline,
    QwenImageEditPlusPipeline,
    QwenImageTransformer2DModel,
)
from tiny_families import tiny
from tiny_vlm import save_tiny_vlm
from transformers import AutoProcessor, CLIPTokenizer, Qwen2_5_VLForConditionalGeneration

__all__ = ["kontext", "qwen_edit"]


def kontext(tokenizer: CLIPTokenizer, folder: Path) -> Path:
    """FLUX Kontext: the parts of FLUX under another pipeline."""
    parts = DiffusionPipeline.from_pretrained(tiny("flux", tokenizer, folder / "flux")).components
    FluxKontextPipeline(**parts).save_pretrained(folder / "kontext")
    return folder / "kontext"


def qwen_edit(folder: Path, plus: bool) -> Path:
    """Qwen-Image-Edit, or its form that takes a list of pictures: a VAE of video, a language model of 32 features."""
    vlm = save_tiny_vlm(folder / "vlm")
    processor = AutoProcessor.from_pretrained(vlm)
    cls: Any = QwenImageEditPlusPipeline if plus else QwenImageEditPipeline
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        pipeline = cls(
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
            vae=AutoencoderKLQwenImage(
                base_dim=8,
                z_dim=4,
                dim_mult=[1, 1, 1, 1],
                num_res_blocks=1,
                temperal_downsample=[False, True, True],
                latents_mean=[0.0] * 4,
                latents_std=[1.0] * 4,
            ),
            text_encoder=Qwen2_5_VLForConditionalGeneration.from_pretrained(vlm),
            tokenizer=processor.tokenizer,
            processor=processor,
            transformer=QwenImageTransformer2DModel(
                in_channels=16,
                out_channels=4,
                num_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=32,
                axes_dims_rope=(4, 6, 6),
            ),
        )
    pipeline.save_pretrained(folder / "pipeline")
    return folder / "pipeline"
