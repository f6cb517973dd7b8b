"""Checkpoints with random weights that stand in for those of inpainting, instruction and condition networks.

Each is made from a plain pipeline folder, whose sizes it takes; the global generator is left alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

from editors.toolbox.brushnet_model import BrushNetConfig, BrushNetModel

TASK_WORDS = ("P_obj", "P_ctxt", "P_shape")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def with_channels(base: Path, folder: Path, channels: int) -> Path:
    """``base`` with a U-Net of ``channels`` input channels: 9 for inpainting, 8 for instructions."""
    shutil.copytree(base, folder)
    config = {**UNet2DConditionModel.load_config(base / "unet"), "in_channels": channels}
    with _seeded(channels):
        UNet2DConditionModel.from_config(config).save_pretrained(folder / "unet")
    return folder


def with_task_words(base: Path, folder: Path, vectors: int = 2) -> Path:
    """An inpainting folder whose tokenizer and text encoder know PowerPaint's words, each as so many tokens."""
    with_channels(base, folder, 9)
    tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer")
    tokenizer.add_tokens([f"{word}_{i}" for word in TASK_WORDS for i in range(vectors)])
    encoder = CLIPTextModel.from_pretrained(base / "text_encoder")
    with _seeded(1):
        encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        encoder.get_input_embeddings().weight.data[-vectors * len(TASK_WORDS) :].normal_()
    tokenizer.save_pretrained(folder / "tokenizer")
    encoder.save_pretrained(folder / "text_encoder")
    return folder


def controlnet(base: Path, folder: Path) -> Path:
    """A ControlNet for the U-Net of ``base`` whose zero convolutions are not zero."""
    unet = UNet2DConditionModel.from_pretrained(base / "unet")
    shrinking = len(json.loads((base / "vae" / "config.json").read_text())["block_out_channels"])
    with _seeded(2):
        network = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8, 16)[:shrinking])
        for name, weight in network.named_parameters():
            if name.startswith(("controlnet_down_blocks", "controlnet_mid_block", "controlnet_cond_embedding.conv_out")):
                weight.data.normal_(std=0.3)
    network.save_pretrained(folder)
    return folder


def brushnet(base: Path, folder: Path, zero: bool = False) -> Path:
    """A BrushNet for the U-Net of ``base``, in the files of a released one; its last convolutions are zero, or not."""
    unet = UNet2DConditionModel.load_config(base / "unet")
    config = {
        "_class_name": "BrushNetModel",
        "cross_attention_dim": unet["cross_attention_dim"],
        "in_channels": 4,
        "conditioning_channels": 5,
        "block_out_channels": unet["block_out_channels"],
        "layers_per_block": unet["layers_per_block"],
        "norm_num_groups": unet["norm_num_groups"],
        "down_block_types": ["DownBlock2D"] * len(unet["down_block_types"]),
        "mid_block_type": "MidBlock2D",
        "up_block_types": ["UpBlock2D"] * len(unet["up_block_types"]),
    }
    with _seeded(3):
        network = BrushNetModel(BrushNetConfig.model_validate(config))
        for name, weight in network.named_parameters():
            if name.startswith("brushnet_") and not zero:
                weight.data.normal_(std=0.3)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), folder / "diffusion_pytorch_model.safetensors")
    return folder
