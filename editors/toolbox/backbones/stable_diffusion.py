"""Stable Diffusion 1 and 2 (Rombach et al., Latent Diffusion, arXiv 2112.10752), and what U-Nets trained on DDPM's noise share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from editors.toolbox.backbones.base import Backbone, Part, encoder, network, tokenizer
from editors.toolbox.limits import sent
from editors.toolbox.schedule import DiffusionSchedule, noise_scheduler
from editors.toolbox.untrusted import CheckpointError

__all__ = ["DiffusionBackbone", "StableDiffusion"]


class DiffusionBackbone(Backbone):
    """A U-Net that predicts epsilon or v at the timesteps of DDPM."""

    scheduler: DDIMScheduler

    def check(self) -> None:
        if self.extra_channels < 0:
            channels = self.network.config.in_channels
            raise CheckpointError(
                f"unet takes {channels} channels, the latent alone has {self.latent_channels}: they do not belong together"
            )

    def noise_levels(self, config: Mapping[str, Any]) -> DDIMScheduler:
        return noise_scheduler(config)

    def schedule(self, steps: int, side: int) -> DiffusionSchedule:
        return DiffusionSchedule.of(self.scheduler, steps)

    @property
    def train_levels(self) -> int:
        return len(self.scheduler.alphas_cumprod)

    def noised(self, x0: Tensor, levels: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        alpha_bar = sent(self.scheduler.alphas_cumprod, x0.device)[levels].view(-1, 1, 1, 1)
        signal, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        target = signal * noise - sigma * x0 if self.scheduler.config.prediction_type == "v_prediction" else noise
        return signal * x0 + sigma * noise, levels, target


class StableDiffusion(DiffusionBackbone):
    """One text encoder, whose last hidden states are the context."""

    family = "sd"
    parts: ClassVar[Mapping[str, Part]] = {
        "unet": network("UNet2DConditionModel"),
        "vae": network("AutoencoderKL"),
        "text_encoder": encoder("CLIPTextModel"),
        "tokenizer": tokenizer("CLIPTokenizer", "CLIPTokenizerFast"),
    }

    def check(self) -> None:
        super().check()
        if self.network.config.addition_embed_type or self.network.config.class_embed_type:
            raise CheckpointError("unet wants conditions beside the text, which Stable Diffusion 1 and 2 do not have")

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Tensor:
        text_encoder, tokenizer = self.loaded["text_encoder"], self.loaded["tokenizer"]
        tokens = tokenizer(
            list(texts), padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
        ).to(text_encoder.device)
        masked = getattr(text_encoder.config, "use_attention_mask", False)
        hidden: Tensor = text_encoder(
            tokens.input_ids, attention_mask=tokens.attention_mask if masked else None
        ).last_hidden_state
        return hidden.float()

    def evaluate(self, x: Tensor, timesteps: Tensor, context: Tensor, guidance: Tensor | None, **others: Any) -> Tensor:
        dtype = self.network.dtype
        output: Tensor = self.called(x.to(dtype), timesteps, encoder_hidden_states=context.to(dtype), **others).sample
        return output.float()
