"""What users of diffusers run today: its pipelines as documented, and a stand-in for its community pipeline of Imagic."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch.nn.functional import mse_loss

from bench.toybox.embedded import TOYBOX

__all__ = ["PEERS", "Peer", "Sweep"]


@dataclass(frozen=True)
class Sweep:
    """What both sides do: the pictures and texts, the knob values, and the budget."""

    pictures: tuple[Image.Image, ...]
    source_texts: tuple[str, ...]
    target_texts: tuple[str, ...]
    values: tuple[float, ...]
    steps: int
    guidance: float
    fit_steps: tuple[int, int]
    """Imagic: steps on the embedding and on the U-Net."""


@dataclass(frozen=True)
class Peer:
    """A sweep done the diffusers way; ``run(pipeline, sweep)`` with the pipeline loaded."""

    pipeline: str
    """Class name in diffusers."""
    run: Callable[[Any, Sweep], None]

    def load(self, device: str) -> Any:
        """The pipeline on ToyBox, quiet, with DDIM."""
        import diffusers

        pipeline = getattr(diffusers, self.pipeline).from_pretrained(
            TOYBOX / "generator", safety_checker=None, requires_safety_checker=False, torch_dtype=torch.float32
        )
        return self._ready(pipeline).to(device)

    def over(self, model: Any) -> Any:
        """The pipeline on the networks of a ``DiffusionModel``, the VAE in the dtype of the others, as ``torch_dtype`` has it."""
        import diffusers

        cls, shared = getattr(diffusers, self.pipeline), dict(model.backbone.loaded)
        if model.vae.dtype != model.unet.dtype:
            shared["vae"] = copy.deepcopy(model.vae).to(model.unet.dtype)
        others = dict.fromkeys(inspect.signature(cls).parameters.keys() & {"inverse_scheduler"})
        pipeline = cls(
            **shared,
            scheduler=model.scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
            **others,
        )
        return self._ready(pipeline)

    @staticmethod
    def _ready(pipeline: Any) -> Any:
        import diffusers

        pipeline.scheduler = diffusers.DDIMScheduler.from_config(pipeline.scheduler.config)
        if hasattr(pipeline, "inverse_scheduler"):
            pipeline.inverse_scheduler = diffusers.DDIMInverseScheduler.from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def _sdedit(pipeline: Any, sweep: Sweep) -> None:
    for picture, text in zip(sweep.pictures, sweep.target_texts, strict=True):
        for strength in sweep.values:
            pipeline(
                text,
                image=picture,
                strength=strength,
                num_inference_steps=sweep.steps,
                guidance_scale=sweep.guidance,
                generator=torch.Generator().manual_seed(0),
            )


def _diffedit(pipeline: Any, sweep: Sweep, *, described: bool) -> None:
    """One mask a picture, one inversion and one decode a ratio; ``described``: guided inversion under the source text."""
    for picture, source, text in zip(sweep.pictures, sweep.source_texts, sweep.target_texts, strict=True):
        generator = torch.Generator().manual_seed(0)
        mask = pipeline.generate_mask(
            picture, source_prompt="", target_prompt=text, num_inference_steps=sweep.steps, generator=generator
        )
        for ratio in sweep.values:
            shared = {"inpaint_strength": ratio, "num_inference_steps": sweep.steps, "generator": generator}
            inversion = {} if described else {"guidance_scale": 1.0}
            latents = pipeline.invert(source if described else "", image=picture, **inversion, **shared).latents
            pipeline(text, mask_image=mask, image_latents=latents, guidance_scale=sweep.guidance, **shared)


def _imagic(pipeline: Any, sweep: Sweep, *, fit_once: bool) -> None:
    """The community pipeline's work: full fine-tuning of the pipeline itself, one draw a step, one sampling an eta.

    It leaves the tuned weights in the pipeline; a runner that fits again therefore puts the old ones back, as done here.
    """
    untuned = copy.deepcopy(pipeline.unet.state_dict())
    for picture, text in zip(sweep.pictures, sweep.target_texts, strict=True):
        fitted = None
        for eta in sweep.values:
            if fitted is None or not fit_once:
                pipeline.unet.load_state_dict(untuned)
                fitted = _fit(pipeline, picture, text, sweep.fit_steps)
            e_tgt, e_opt = fitted
            pipeline(
                prompt_embeds=eta * e_tgt + (1 - eta) * e_opt,
                negative_prompt="",
                height=picture.height,
                width=picture.width,
                num_inference_steps=sweep.steps,
                guidance_scale=sweep.guidance,
                generator=torch.Generator().manual_seed(0),
            )


def _fit(pipeline: Any, picture: Image.Image, text: str, steps: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    vae, unet, scheduler, device = pipeline.vae, pipeline.unet, pipeline.scheduler, pipeline.device
    for network in (vae, unet, pipeline.text_encoder):
        network.requires_grad_(False)
    with torch.no_grad():
        x = pipeline.image_processor.preprocess(picture).to(device)
        x0 = vae.encode(x).latent_dist.sample() * vae.config.scaling_factor
        e_tgt, _ = pipeline.encode_prompt(text, device, 1, False)

    def stage(e: torch.Tensor, over: Sequence[torch.Tensor], lr: float, steps: int) -> None:
        optimiser = torch.optim.Adam(over, lr=lr)
        for _ in range(steps):
            noise = torch.randn(x0.shape).to(device)
            t = torch.randint(1000, (1,), device=device)
            loss = mse_loss(unet(scheduler.add_noise(x0, noise, t), t, e).sample, noise)
            torch.autograd.backward(loss)
            optimiser.step()
            optimiser.zero_grad()
            loss.detach().item()

    e = e_tgt.clone().requires_grad_(True)
    stage(e, [e], 1e-3, steps[0])
    e = e.detach()
    unet.requires_grad_(True)
    unet.train()
    stage(e, list(unet.parameters()), 2e-6, steps[1])
    return e_tgt, e


PEERS: dict[str, dict[str, Peer]] = {
    "sdedit": {"img2img pipeline": Peer("StableDiffusionImg2ImgPipeline", _sdedit)},
    "diffedit": {
        "pipeline, unguided inversion": Peer(
            "StableDiffusionDiffEditPipeline", lambda pipeline, sweep: _diffedit(pipeline, sweep, described=False)
        ),
        "pipeline, its defaults": Peer(
            "StableDiffusionDiffEditPipeline", lambda pipeline, sweep: _diffedit(pipeline, sweep, described=True)
        ),
    },
    "imagic": {
        "community way, a fit per eta": Peer(
            "StableDiffusionPipeline", lambda pipeline, sweep: _imagic(pipeline, sweep, fit_once=False)
        ),
        "community way, one fit": Peer(
            "StableDiffusionPipeline", lambda pipeline, sweep: _imagic(pipeline, sweep, fit_once=True)
        ),
    },
}
"""Sweep -> name of the peer -> the peer."""
