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
from editors.toolbox.backbones import Backbone
from editors.toolbox.checkpoint import digest, load_backbone, locate
from editors.toolbox.guarded import Guarded, Shared
from editors.toolbox.limits import DECODED_PIXELS, TILE, sent
from editors.toolbox.schedule import DiffusionSchedule, FlowSchedule, Schedule

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
    """A text-to-image latent model of one of the families in ``backbones``."""

    def __init__(
        self,
        backbone: Backbone,
        *,
        digest: str = "",
        device: str | torch.device = "cpu",
        max_batch: int = 64,
        side: int | None = None,
    ) -> None:
        """Take ready networks; ``load`` makes them from a checkpoint. ``max_batch`` bounds one call of a network, before ``limits`` do.

        ``side`` is that of the pictures to be edited, in pixels, by which some schedules shift; the model's own ``resolution`` if None.
        """
        self.backbone = backbone
        self.digest = digest
        self.max_batch = max_batch
        self.side = side or self.resolution
        self._shared = Shared()
        for network in backbone.networks:
            network.eval().requires_grad_(False)
        self.vae.enable_tiling()
        self.vae.tile_sample_min_size, self.vae.tile_latent_min_size = TILE, TILE // self.factor
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
        side: int | None = None,
    ) -> DiffusionModel:
        """Load a diffusers pipeline folder or hub id; only safetensors unless ``allow_pickle``.

        Raises ``CheckpointError`` with what to do.
        """
        folder = locate(folder_or_hub_id, revision, allow_pickle)
        backbone = load_backbone(folder, dtype, allow_pickle)
        return cls(backbone, digest=digest(folder, allow_pickle), device=device, max_batch=max_batch, side=side)

    def to(self, device: str | torch.device) -> DiffusionModel:
        """Move the networks; returns the model itself."""
        self.device = torch.device(device)
        for network in self.backbone.networks:
            network.to(self.device)
        return self

    def variant(self, *, unet: Any = None, vae: Any = None) -> DiffusionModel:
        """The same model with another denoising network or autoencoder, sharing the rest, the counter and the cancel hook."""
        other = copy.copy(self)
        other.backbone = self.backbone.replaced(network=unet, vae=vae)
        return other

    # what it is

    @property
    def family(self) -> str:
        """The family's name, one of ``editors.task.FAMILIES``."""
        return self.backbone.family

    @property
    def vae(self) -> Any:
        """The autoencoder."""
        return self.backbone.vae

    @property
    def unet(self) -> Any:
        """The denoising network: a U-Net, or the transformer in its place."""
        return self.backbone.network

    @property
    def text_encoder(self) -> Any:
        """The text encoder, the first where there are several."""
        return self.backbone.loaded["text_encoder"]

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        return self.backbone.loaded["tokenizer"]

    @property
    def scheduler(self) -> Any:
        """The scheduler of diffusers whose tables are used."""
        return self.backbone.scheduler

    @property
    def unet_evaluations(self) -> int:
        """Samples sent through the denoising network since the model was made; with guidance a step counts two per item, but one where
        guidance is an input of the network.
        """
        return self._shared.unet_evaluations

    @property
    def extra_channels(self) -> int:
        """Input channels of the network beside the latent: 0, 5 of an inpainting model (mask and masked latent), 4 of
        InstructPix2Pix (source latent).
        """
        return self.backbone.extra_channels

    @property
    def factor(self) -> int:
        """Pixels per latent cell along a side."""
        return self.backbone.factor

    @property
    def resolution(self) -> int:
        """Side in pixels of the pictures the model was trained on."""
        return self.backbone.side_of(self.unet.config, self.vae.config)

    def schedule(self, steps: int) -> Schedule:
        """The noise levels of ``steps`` steps of DDIM, of Euler for a flow. Raises ``EditorError`` on more than the model has timesteps."""
        return self.backbone.schedule(steps, self.side)

    def diffusion_schedule(self, steps: int) -> DiffusionSchedule:
        """The same for methods that are made for diffusion's noise. Raises ``EditorError`` where the model is a flow."""
        schedule = self.schedule(steps)
        if not isinstance(schedule, DiffusionSchedule):
            raise EditorError(f"the model is of {self.backbone.title()}, a rectified flow; this needs a diffusion model")
        return schedule

    def flow_schedule(self, steps: int) -> FlowSchedule:
        """The same for methods that are made for rectified flows. Raises ``EditorError`` where the model is none."""
        schedule = self.schedule(steps)
        if not isinstance(schedule, FlowSchedule):
            raise EditorError(f"the model is of {self.backbone.title()}, a diffusion model; this needs a rectified flow")
        return schedule

    # pictures, texts, noise

    @torch.no_grad()
    def encode(self, image: Image) -> Tensor:
        """The scaled mean of the VAE posterior, (1, c, h, w). Raises ``MissingInput`` where the sides do not divide."""
        height, width = image.shape[:2]
        multiple = self.backbone.multiple
        if height % multiple or width % multiple:
            raise MissingInput(f"image: {width}x{height} pixels, expected multiples of {multiple}; resize it")
        x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].to(self.device, torch.float32) / 127.5 - 1
        mean = self.vae.encode(x.to(self.vae.dtype)).latent_dist.mean.float()
        return self.guard((mean - self._shift) * self.vae.config.scaling_factor, "VAE encoding")

    def decode_tensor(self, latents: Tensor) -> Tensor:
        """Decode to float32 (m, 3, H, W) around -1..1, not clipped; keeps the gradient where one is asked for."""
        latents = (latents / self.vae.config.scaling_factor + self._shift).to(self.vae.dtype)
        room = min(self.max_batch, DECODED_PIXELS // min(latents[0, 0].numel() * self.factor**2, TILE**2))
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
        """The contexts of texts, (n, l, d): for Stable Diffusion 1 and 2 the last hidden states of the text encoder, for others what
        their ``Backbone`` says. Texts are padded, and cut to what the tokenizers take.
        """
        return self.guard(self.backbone.embed(texts), "text encoding")

    def embed_pair(self, text: str) -> tuple[Tensor, Tensor]:
        """Embeddings of a text and of the empty text, (1, l, d) each."""
        both = self.embed([text, ""])
        return both[:1], both[1:]

    def noise(self, seed: int, shape: Sequence[int]) -> Tensor:
        """Standard normal noise from a generator of its own on the CPU, so that every device gets the same numbers."""
        return sent(torch.randn(tuple(shape), generator=seeded(seed)), self.device)

    # the denoising network

    def unet_output(
        self, x: Tensor, timesteps: Tensor, context: Tensor, guidance: Tensor | None = None, **residuals: Any
    ) -> Tensor:
        """One counted call of the network: x (m, c + extra channels, h, w), timesteps (m,), context (m, l, d). Keeps gradients.

        ``guidance`` (m,) is for networks that have it as an input (1 where it is None). ``residuals`` go to the network by name, as a
        ControlNet's do.
        """
        if guidance is None and self.backbone.embeds_guidance:
            guidance = torch.ones(len(x), device=self.device)
        output = self.backbone.evaluate(x, timesteps, context, guidance, **residuals)
        self._shared.unet_evaluations += len(x)
        return output

    @torch.no_grad()
    def predict(
        self,
        x: Tensor,
        timestep: float | Tensor,
        context: Tensor,
        guidance: float | Tensor = 1.0,
        uncond: Tensor | None = None,
        *,
        extra: Tensor | None = None,
    ) -> Tensor:
        """What the network predicts for m latents at one timestep, (m, c, h, w), in the model's own parameterisation.

        ``timestep`` and ``guidance`` may be (m,), one per latent; the usual number is the same for all.
        ``extra`` (1 or m, extra channels, h, w) is what an inpainting or instruction model sees beside the latent.

        ``context`` is (1 or m, l, d). With guidance w other than 1 (Ho and Salimans, arXiv 2207.12598) the result is
        uncond + w (cond - uncond), both from one batch of 2m counted samples, and ``uncond`` (1 or m, l, d) is needed. Where guidance
        is an input of the network (FLUX.1 dev), w is that input: m counted samples, and ``uncond`` has no part in them.
        """
        m = len(x)
        context = context.expand(m, -1, -1)
        if extra is not None:
            x = torch.cat([x, extra.expand(m, -1, -1, -1)], dim=1)
        times = timestep if isinstance(timestep, Tensor) else torch.full((m,), timestep, device=self.device)
        told: tuple[Tensor, ...] = ()
        if self.backbone.embeds_guidance:
            told = (guidance if isinstance(guidance, Tensor) else torch.full((m,), float(guidance), device=self.device),)
        guided = not told and (isinstance(guidance, Tensor) or guidance != 1.0)
        if guided:
            if uncond is None:
                raise EditorError("guidance other than 1 needs the embedding of the empty text")
            x, context = torch.cat([x, x]), torch.cat([uncond.expand(m, -1, -1), context])
            times = torch.cat([times, times])
        output = self.limits.rows("U-Net", self.max_batch, self.unet_output, x, times, context, *told)
        if guided:
            unconditional, conditional = output.chunk(2)
            scale = guidance.view(-1, 1, 1, 1) if isinstance(guidance, Tensor) else guidance
            output = unconditional + scale * (conditional - unconditional)
        return self.guard(output, f"prediction at timestep {'each' if isinstance(timestep, Tensor) else timestep}")

    def denoising_loss(self, x0: Tensor, levels: Tensor, noise: Tensor, context: Tensor) -> Tensor:
        """The training loss, a scalar mean of squares, of m draws (levels (m,), integers below ``train_levels``, noise (m, c, h, w)) for
        x0 (1, c, h, w).

        Keeps gradients to the network and to ``context`` (1, l, d).
        """
        x, timesteps, target = self.backbone.noised(x0, levels, noise)
        output = self.unet_output(x, timesteps, context.expand(len(noise), -1, -1))
        return (output - target).square().mean()

    @property
    def train_levels(self) -> int:
        """Number of noise levels that the network was trained on."""
        return self.backbone.train_levels


def to_tensor(picture: Image, device: torch.device) -> Tensor:
    """A picture (H, W, 3) uint8 as float32 (1, 3, H, W) in -1..1."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].to(device).float() / 127.5 - 1


def to_pictures(x: Tensor) -> list[Image]:
    """Float (m, 3, H, W) in -1..1, clipped, to m pictures (H, W, 3) uint8."""
    array = (x / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    return [np.ascontiguousarray(picture) for picture in array.permute(0, 2, 3, 1).cpu().numpy()]
