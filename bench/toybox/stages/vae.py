"""The autoencoder: 64x64x3 pictures to 16x16x4 latents and back, saved as a diffusers ``AutoencoderKL``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn.functional import interpolate, l1_loss, mse_loss

from bench.toybox.stages.data import Pool, draw, to_unit
from bench.toybox.stages.loop import Stage

__all__ = ["VaeStage", "build_vae"]

KL_WEIGHT = 1e-6
CROP = 48
"""Side of the training crops of the first part: the network has no attention, so crops train it and cost half."""
FULL_FROM = 0.7
"""Share of the budget after which whole pictures are used, so that the normalisation layers see final statistics."""


def build_vae() -> AutoencoderKL:
    """An untrained autoencoder of the shipped architecture."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(24, 32, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def _gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., :, 1:] - x[..., :, :-1]


class VaeStage(Stage):
    name = "vae"
    learning_rate = 2e-3
    weight_decay = 0.0
    ema_decay = 0.998

    def __init__(self, seed: int, pool_size: int = 20_000, batch: int = 8) -> None:
        torch.manual_seed(seed)
        self.modules = nn.ModuleDict({"vae": build_vae()})
        self.pool: Pool = draw(pool_size, seed=1_000 + seed)
        self.batch = batch

    def loss(self, step: int, progress: float, rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        """L1 + L2 + L1 of image gradients + a trace of KL, on crops first and whole pictures last."""
        images = self.pool.images[rng.integers(len(self.pool), size=self.batch)]
        if progress < FULL_FROM:
            top, left = (int(v) for v in rng.integers(0, (images.shape[1] - CROP) // 4 + 1, 2) * 4)
            images = images[:, top : top + CROP, left : left + CROP]
        vae = self.modules["vae"]
        x = to_unit(np.ascontiguousarray(images)).to(vae.device)
        posterior = vae.encode(x).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(x.device)
        y = vae.decode(posterior.mean + posterior.std * noise).sample
        gradient = sum(l1_loss(a, b) for a, b in zip(_gradients(y), _gradients(x), strict=True))
        coarse = l1_loss(interpolate(y, scale_factor=0.25, mode="area"), interpolate(x, scale_factor=0.25, mode="area"))
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return l1_loss(y, x) + 4 * mse_loss(y, x) + 0.5 * gradient + 0.5 * coarse + KL_WEIGHT * kl

    @torch.no_grad()
    def export(self, folder: Path) -> None:
        """Save to ``folder/vae``, with the scaling factor that gives latents of training pictures unit variance."""
        vae = self.modules["vae"]
        x = to_unit(self.pool.images[:512]).to(vae.device)
        mean = torch.cat([vae.encode(part).latent_dist.mean for part in x.split(64)])
        vae.register_to_config(scaling_factor=round(1.0 / float(mean.std()), 5))
        vae.save_pretrained(folder / "vae", safe_serialization=True)
