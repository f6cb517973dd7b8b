"""The tool box that editors share: a latent diffusion model as plain operations on latents, texts and noise.

Built from diffusers components, not from pipelines. Latents and embeddings are float32 whatever the dtype of the
weights; the networks see their own dtype. Weights are frozen and in evaluation mode, no operation writes to them, and
no operation touches a global random generator. Per-item results do not depend on the rest of a batch beyond rounding.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from editors.task import EditorError, Image, MissingInput
from editors.toolbox.checkpoint import CheckpointError, digest, load_components, locate
from editors.toolbox.guarded import Guarded, Shared
from editors.toolbox.limits import DECODED_PIXELS, sent
from editors.toolbox.schedule import Schedule, noise_scheduler

__all__ = ["DiffusionModel", "derive_seed", "seeded", "to_pictures", "to_tensor"]


def derive_seed(seed: int, purpose: str) -> int:
    """A 64-bit seed for one purpose within a unit, so that its draws are independent of those for another."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "big")


def seeded(seed: int) -> torch.Generator:
    """A CPU generator that every bit of a 64-bit seed has a part in.

    torch's own seeding looks at the low 32 bits only; the high ones are folded into them, so that a seed below 2**32
    means what it means everywhere else.
    """
    return torch.Generator("cpu").manual_seed((seed ^ (seed >> 32)) & 0xFFFFFFFF)


class DiffusionModel(Guarded):
    """A text-to-image latent diffusion model of the Stable Diffusion family."""

    def __init__(
        self,
        *,
        vae: Any,
        unet: Any,
        text_encoder: Any,
        tokenizer: Any,
        scheduler_config: dict[str, Any],
        digest: str = "",
        device: str | torch.device = "cpu",
        max_batch: int = 64,
    ) -> None:
        """Take ready components; ``load`` makes them from a checkpoint. ``max_batch`` bounds one call of a network, before ``limits`` do."""
        self.vae, self.unet, self.text_encoder, self.tokenizer = vae, unet, text_encoder, tokenizer
        self.scheduler = noise_scheduler(scheduler_config)
        self.digest = digest
        self.max_batch = max_batch
        self._shared = Shared()
        self._check()
        for network in (vae, unet, text_encoder):
            network.eval().requires_grad_(False)
        self.to(device)

    @classmethod
    def load(
        cls,
        folder_or_hub_id: str | Path,
        *,
        revision: str | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        allow_pickle: bool = False,
        max_batch: int = 64,
    ) -> DiffusionModel:
        """Load a diffusers pipeline folder or hub id; only safetensors unless ``allow_pickle``.

        Raises ``CheckpointError`` with what to do.
        """
        folder = locate(folder_or_hub_id, revision, allow_pickle)
        parts = load_components(folder, dtype, allow_pickle)
        return cls(**vars(parts), digest=digest(folder, allow_pickle), device=device, max_batch=max_batch)

    def _check(self) -> None:
        if self.extra_channels < 0:
            channels, latent = self.unet.config.in_channels, self.vae.config.latent_channels
            raise CheckpointError(f"unet takes {channels} channels, the latent alone has {latent}: they do not belong together")
        if self.unet.config.addition_embed_type or self.unet.config.class_embed_type:
            raise CheckpointError("unet wants conditions beside the text (as Stable Diffusion XL does), which is not supported")

    def to(self, device: str | torch.device) -> DiffusionModel:
        """Move the networks; returns the model itself."""
        self.device = torch.device(device)
        for network in (self.vae, self.unet, self.text_encoder):
            network.to(self.device)
        return self

    def variant(self, *, unet: Any = None, vae: Any = None) -> DiffusionModel:
        """The same model with another U-Net or autoencoder, sharing the rest, the counter and the cancel hook."""
        other = copy.copy(self)
        other.unet, other.vae = unet or self.unet, vae or self.vae
        return other

    # what it is

    @property
    def unet_evaluations(self) -> int:
        """Samples sent through the U-Net since the model was made; with guidance a step counts two per item."""
        return self._shared.unet_evaluations

    @property
    def extra_channels(self) -> int:
        """Input channels of the U-Net beside the latent: 0, 5 of an inpainting model (mask and masked latent), 4 of
        InstructPix2Pix (source latent).
        """
        return int(self.unet.config.in_channels - self.vae.config.latent_channels)

    @property
    def factor(self) -> int:
        """Pixels per latent cell along a side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def resolution(self) -> int:
        """Side in pixels of the pictures the model was trained on."""
        size = self.unet.config.sample_size
        return int(size if isinstance(size, int) else size[0]) * self.factor

    def schedule(self, steps: int) -> Schedule:
        """The noise levels of ``steps`` DDIM steps. Raises ``EditorError`` on more steps than the model has timesteps."""
        return Schedule.of(self.scheduler, steps)

    # pictures, texts, noise

    @torch.no_grad()
    def encode(self, image: Image) -> Tensor:
        """The scaled mean of the VAE posterior, (1, c, h, w). Raises ``MissingInput`` where the sides do not divide."""
        height, width = image.shape[:2]
        if height % self.factor or width % self.factor:
            raise MissingInput(f"image: {width}x{height} pixels, expected multiples of {self.factor}; resize it")
        x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].to(self.device, torch.float32) / 127.5 - 1
        mean = self.vae.encode(x.to(self.vae.dtype)).latent_dist.mean.float()
        return self.guard((mean - self._shift) * self.vae.config.scaling_factor, "VAE encoding")

    def decode_tensor(self, latents: Tensor) -> Tensor:
        """Decode to float32 (m, 3, H, W) around -1..1, not clipped; keeps the gradient where one is asked for."""
        latents = (latents / self.vae.config.scaling_factor + self._shift).to(self.vae.dtype)
        room = min(self.max_batch, DECODED_PIXELS // (latents[0, 0].numel() * self.factor**2))
        return self.limits.rows("VAE decoding", room, lambda part: self.vae.decode(part).sample.float(), latents)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> list[Image]:
        """Decode (m, c, h, w) to m pictures (H, W, 3) uint8."""
        return to_pictures(self.guard(self.decode_tensor(latents), "VAE decoding"))

    @property
    def _shift(self) -> float:
        return float(self.vae.config.get("shift_factor") or 0.0)

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """Last hidden states of the text encoder, (n, l, d); texts are padded and cut to the tokenizer's length."""
        tokens = self.tokenizer(
            list(texts),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).to(self.device)
        masked = getattr(self.text_encoder.config, "use_attention_mask", False)
        hidden = self.text_encoder(tokens.input_ids, attention_mask=tokens.attention_mask if masked else None).last_hidden_state
        return self.guard(hidden.float(), "text encoding")

    def embed_pair(self, text: str) -> tuple[Tensor, Tensor]:
        """Embeddings of a text and of the empty text, (1, l, d) each."""
        both = self.embed([text, ""])
        return both[:1], both[1:]

    def noise(self, seed: int, shape: Sequence[int]) -> Tensor:
        """Standard normal noise from a generator of its own on the CPU, so that every device gets the same numbers."""
        return sent(torch.randn(tuple(shape), generator=seeded(seed)), self.device)

    # the U-Net

    def unet_output(self, x: Tensor, timesteps: Tensor, context: Tensor, **residuals: Any) -> Tensor:
        """One counted call of the U-Net: x (m, c + extra channels, h, w), timesteps (m,), context (m, l, d). Keeps gradients.

        ``residuals`` go to the U-Net by name, as a ControlNet's do.
        """
        dtype = self.unet.dtype
        output = self.unet(x.to(dtype), timesteps, encoder_hidden_states=context.to(dtype), **residuals).sample.float()
        self._shared.unet_evaluations += len(x)
        return output

    @torch.no_grad()
    def predict(
        self,
        x: Tensor,
        timestep: int | Tensor,
        context: Tensor,
        guidance: float | Tensor = 1.0,
        uncond: Tensor | None = None,
        *,
        extra: Tensor | None = None,
    ) -> Tensor:
        """What the U-Net predicts for m latents at one timestep, (m, c, h, w), in the model's own parameterisation.

        ``timestep`` and ``guidance`` may be (m,), one per latent; the usual number is the same for all.
        ``extra`` (1 or m, extra channels, h, w) is what an inpainting or instruction model sees beside the latent.

        ``context`` is (1 or m, l, d). With guidance w other than 1 (Ho and Salimans, arXiv 2207.12598) the result is
        uncond + w (cond - uncond), both from one batch of 2m counted samples, and ``uncond`` (1 or m, l, d) is needed.
        """
        m = len(x)
        context = context.expand(m, -1, -1)
        if extra is not None:
            x = torch.cat([x, extra.expand(m, -1, -1, -1)], dim=1)
        times = timestep if isinstance(timestep, Tensor) else torch.full((m,), timestep, device=self.device)
        guided = isinstance(guidance, Tensor) or guidance != 1.0
        if guided:
            if uncond is None:
                raise EditorError("guidance other than 1 needs the embedding of the empty text")
            x, context = torch.cat([x, x]), torch.cat([uncond.expand(m, -1, -1), context])
            times = torch.cat([times, times])
        output = self.limits.rows("U-Net", self.max_batch, self.unet_output, x, times, context)
        if guided:
            unconditional, conditional = output.chunk(2)
            scale = guidance.view(-1, 1, 1, 1) if isinstance(guidance, Tensor) else guidance
            output = unconditional + scale * (conditional - unconditional)
        return self.guard(output, f"prediction at timestep {'each' if isinstance(timestep, Tensor) else timestep}")

    def denoising_loss(self, x0: Tensor, timesteps: Tensor, noise: Tensor, context: Tensor) -> Tensor:
        """The training loss, a scalar mean of squares, of m draws (timesteps (m,), noise (m, c, h, w)) for x0 (1, c, h, w).

        Keeps gradients to the U-Net and to ``context`` (1, l, d).
        """
        alpha_bar = sent(self.scheduler.alphas_cumprod, self.device)[timesteps].view(-1, 1, 1, 1)
        signal, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        target = signal * noise - sigma * x0 if self.scheduler.config.prediction_type == "v_prediction" else noise
        output = self.unet_output(signal * x0 + sigma * noise, timesteps, context.expand(len(noise), -1, -1))
        return (output - target).square().mean()


def to_tensor(picture: Image, device: torch.device) -> Tensor:
    """A picture (H, W, 3) uint8 as float32 (1, 3, H, W) in -1..1."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].to(device).float() / 127.5 - 1


def to_pictures(x: Tensor) -> list[Image]:
    """Float (m, 3, H, W) in -1..1, clipped, to m pictures (H, W, 3) uint8."""
    array = (x / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    return [np.ascontiguousarray(picture) for picture in array.permute(0, 2, 3, 1).cpu().numpy()]
