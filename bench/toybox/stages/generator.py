"""The generator: a latent diffusion model, saved as a diffusers ``StableDiffusionPipeline`` folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from bench.toybox.stages.data import draw, to_unit
from bench.toybox.stages.loop import Stage, read_as_float32
from bench.toybox.stages.tokens import CONTEXT, build_tokenizer
from bench.toybox.vocabulary import caption

__all__ = ["GeneratorStage", "build_scheduler", "build_text_encoder", "build_unet"]

WIDTH = 128
"""Width of the text encoder and of cross-attention."""
DROP_CAPTION, DROP_BACKGROUND = 0.10, 0.05
"""Shares of training captions replaced by the empty text and by the object's words alone."""
MIN_SNR = 5.0
"""Cap of the signal-to-noise loss weight (Hang et al., arXiv 2303.09556), in its epsilon-prediction form."""


def build_unet() -> UNet2DConditionModel:
    """An untrained U-Net of the shipped architecture."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(48, 96, 144),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def build_text_encoder(vocabulary: int, end: int) -> CLIPTextModel:
    """An untrained two-layer text encoder for ``vocabulary`` tokens of which ``end`` ends a text."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=CONTEXT,
            bos_token_id=end - 1,
            eos_token_id=end,
            pad_token_id=end,
        )
    )


def build_scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )


class GeneratorStage(Stage):
    """U-Net and text encoder trained together on the latents of a finished autoencoder."""

    name = "generator"
    learning_rate = 7e-4
    weight_decay = 0.01
    ema_decay = 0.999
    warm_up = 500

    def __init__(self, seed: int, folder: Path, pool_size: int = 16_000, batch: int = 24, device: str = "cpu") -> None:
        """``folder`` is the pipeline folder that holds the trained ``vae``; parallel processes share pool and batch out."""
        parallel = dist.is_initialized()
        world, rank = (dist.get_world_size(), dist.get_rank()) if parallel else (1, 0)
        torch.manual_seed(seed)
        self.tokenizer = build_tokenizer()
        end = int(self.tokenizer.eos_token_id)
        self.modules = nn.ModuleDict({"unet": build_unet(), "text_encoder": build_text_encoder(len(self.tokenizer), end)})
        self.vae = AutoencoderKL.from_pretrained(folder / "vae").eval().requires_grad_(False)
        self.batch = max(1, batch // world)
        self.alphas = build_scheduler().alphas_cumprod
        pool = draw(pool_size // world, seed=2_000 + 100 * rank + seed)
        self.latents = self._encode(pool.images, device)
        texts = [(s.caption, _without_background(s.object, s.accessory), "") for s in pool.scenes]
        unique = {text: i for i, text in enumerate(dict.fromkeys(t for row in texts for t in row))}
        self.text_of = torch.tensor([[unique[t] for t in row] for row in texts])
        self.tokens = self.tokenizer(
            list(unique), padding="max_length", max_length=CONTEXT, truncation=True, return_tensors="pt"
        ).input_ids

    @torch.no_grad()
    def _encode(self, images: np.ndarray, device: str) -> Tensor:
        vae = self.vae.to(device)
        parts = [
            vae.encode(to_unit(part).to(device)).latent_dist.mean.cpu()
            for part in np.array_split(images, max(1, len(images) // 64))
        ]
        return torch.cat(parts) * vae.config.scaling_factor

    def loss(self, step: int, progress: float, rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        """Epsilon prediction at uniform timesteps with min-SNR weights."""
        device = self.modules["unet"].device
        rows = torch.from_numpy(rng.integers(len(self.latents), size=self.batch))
        form = torch.from_numpy(
            rng.choice(3, p=[1 - DROP_CAPTION - DROP_BACKGROUND, DROP_BACKGROUND, DROP_CAPTION], size=self.batch)
        )
        x0 = self.latents[rows].to(device)
        eps = torch.randn(x0.shape, generator=generator).to(device)
        t = torch.randint(0, len(self.alphas), (self.batch,), generator=generator)
        alpha = self.alphas[t].to(device).view(-1, 1, 1, 1)
        xt = alpha.sqrt() * x0 + (1 - alpha).sqrt() * eps
        context = self.modules["text_encoder"](self.tokens[self.text_of[rows, form]].to(device)).last_hidden_state
        prediction = self.modules["unet"](xt, t.to(device), encoder_hidden_states=context).sample
        snr = (alpha / (1 - alpha)).flatten()
        return ((prediction - eps).square().mean((1, 2, 3)) * snr.clamp(max=MIN_SNR) / snr).mean()

    def export(self, folder: Path) -> None:
        """Save the whole pipeline, half precision on disk."""
        pipeline = StableDiffusionPipeline(
            vae=self.vae.cpu(),
            text_encoder=self.modules["text_encoder"].cpu(),
            tokenizer=self.tokenizer,
            unet=self.modules["unet"].cpu(),
            scheduler=build_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.to(torch.float16)
        pipeline.vae.register_to_config(_name_or_path="")  # where this machine had it is no part of the model
        pipeline.save_pretrained(folder, safe_serialization=True)
        read_as_float32(folder / "text_encoder")


def _without_background(object_name: str, accessory: str) -> str:
    words = caption(object_name, "grass", accessory)
    return words.removesuffix(" on the grass")
