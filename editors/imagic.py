"""Imagic (Kawar et al., CVPR 2023, arXiv 2210.09276): embedding optimisation, fine-tuning, interpolation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from editors.base import ANY_FAMILY, Editor, EditTask, FairPlay, Image, Knob, MissingInput, NotFinite, SamplingParams
from editors.toolbox.diffusion import DiffusionModel, derive_seed, seeded
from editors.toolbox.limits import fixed_order, sent
from editors.toolbox.sweep import decode_sweep

__all__ = ["Imagic", "ImagicParams", "ImagicState", "interpolate"]

_PAPER_SD: Mapping[str, Any] = {
    "embedding_steps": 1000,
    "embedding_lr": 2e-3,
    "unet_steps": 1500,
    "unet_lr": 5e-7,
    "draws": 1,
    "tune": "full",
    "steps": 50,
    "guidance": 7.5,
}

_NEEDS: Mapping[str, tuple[str, str]] = {"lora": ("peft", "lora"), "full_8bit": ("bitsandbytes", "adam8bit")}
"""Values of ``tune`` that need a package, and the extra that brings it."""

_LOOK_EVERY = 16
"""Optimisation steps between two looks at the losses, each of which waits for the device."""


class ImagicParams(SamplingParams):
    """Parameters of Imagic; the defaults are the paper's with Stable Diffusion."""

    embedding_steps: int = Field(1000, ge=0, description="stage 1: Adam steps on the text embedding")
    embedding_lr: float = Field(2e-3, gt=0, description="stage 1: learning rate")
    unet_steps: int = Field(1500, ge=0, description="stage 2: Adam steps on the U-Net; 0 = the ablation without fine-tuning")
    unet_lr: float = Field(5e-7, gt=0, description="stage 2: learning rate")
    draws: int = Field(1, ge=1, description="(timestep, noise) draws averaged in each step of both stages; the paper has 1")
    tune: Literal["full", "full_8bit", "lora"] = Field(
        "full",
        description="stage 2: full = all weights, the paper's; full_8bit = the same with Adam's moments in 8 bits (needs bitsandbytes); "
        "lora = low-rank updates of the attention projections (needs peft)",
    )
    lora_rank: int = Field(16, ge=1, description="stage 2: rank of the updates; only with tune lora")
    sampling_seed: int = Field(0, ge=0, description="stage 3: which initial noise; the fit is the same for all")


@dataclass(frozen=True, eq=False)
class ImagicState:
    """One picture's fit; it serves every eta, and owns the tuned U-Net, which is gone with it."""

    tuned: DiffusionModel
    """The model with the fine-tuned copy of the U-Net."""
    e_tgt: Tensor
    """Embedding of the target text, (1, l, d)."""
    e_opt: Tensor
    """The optimised embedding, (1, l, d)."""
    empty: Tensor
    """Embedding of the empty text, (1, l, d)."""
    seed: int
    """Seed of the task."""
    shape: torch.Size
    """Of a latent, (1, c, h, w)."""
    losses: Mapping[str, float]
    """Mean denoising loss over the last tenth of each stage."""
    trained_weights: int
    """Numbers that stage 2 trained."""
    recomputed: bool = False
    """Whether activations were computed twice in training, for lack of memory; the fit is the same."""


class Imagic(Editor[ImagicState]):
    """Imagic in its three stages.

    1. e_opt: starting from the target text's embedding e_tgt, minimise the denoising loss on the source latent over the
       embedding, with the U-Net frozen.
    2. Freeze e_opt and minimise the same loss over the U-Net.
    3. Sample from noise with e(eta) = eta e_tgt + (1 - eta) e_opt (Eq. 3) and guidance against the empty text. eta = 0
       reconstructs the source; 0.6 to 0.8 is the useful range for most pictures. The paper ends at 1, the target text itself; up
       to 2 the embedding goes on along the same line, away from the source.

    The U-Net is tuned on a copy that the state owns: the shared model is never written to, whatever happens on the way.
    Timesteps and noise come from generators of the unit. Training is in float32 whatever the dtype of the weights; the tuned copy
    is then brought to that dtype, in which all else is computed. At its peak a full fit holds the model and four U-Nets in float32:
    the copy, its gradient and Adam's two moments. Where activations find no room beside them, the rest of the fit computes them twice
    (gradient checkpointing, Chen et al., arXiv 1604.06174), which gives the same gradients.

    The fit depends on the picture, the target text and the seed, on neither eta nor ``sampling_seed``: ``render_seeds`` samples
    any number of both from one state in one batch. The noise of a sampling seed is shared by all eta.

    ``tune="lora"`` is an option beside the paper's method (Hu et al., LoRA, arXiv 2106.09685): stage 2 trains low-rank updates
    of the attention projections only, which takes a fraction of the optimiser's memory and a far larger learning rate. They are
    folded into the copy's weights before sampling. ``facts`` says which was used and how many numbers were trained.
    ``tune="full_8bit"`` is the paper's stage 2 with Adam's moments kept in 8 bits by block (Dettmers et al., arXiv 2110.02861): a full
    fit then holds the copy, its gradient and half a U-Net.

    Presets: ``paper_sd`` (and ``paper``) has the values for Stable Diffusion, ``paper_imagen`` those for Imagen's base
    model, whose fine-tuning rate is not published: that of Stable Diffusion stands in. DDIM is the paper's sampler; its
    number of steps and the guidance scale are not given there, and are the usual 50 and 7.5. Stages for super-resolution
    models do not apply to a latent model. ``toybox`` was chosen on scenes of its own, and its grid goes on to eta 2,
    where a text follows more closely than at 1. ``lora`` has rank and rate of common LoRA training, published for no Imagic.

    The common pipeline implementation has other step counts and rates, extrapolates by default (eta 1.2), draws from
    the global generator, and keeps the tuned weights for the next picture. Nothing of that is repeated, but an eta beyond 1 may be asked for.
    """

    name = "imagic"
    version = "1"
    families = ANY_FAMILY
    knob = Knob(
        "eta",
        0.0,
        2.0,
        (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        "weight of the target text's embedding against the optimised one",
    )
    paced_by = ("embedding_steps", "unet_steps", "steps")
    Params = ImagicParams
    params: ImagicParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": _PAPER_SD,
        "paper_sd": _PAPER_SD,
        "paper_imagen": {**_PAPER_SD, "embedding_steps": 100, "embedding_lr": 1e-3},
        "lora": {**_PAPER_SD, "tune": "lora", "lora_rank": 16, "unet_lr": 1e-4},
        "fast": {"embedding_steps": 250, "embedding_lr": 4e-3, "unet_steps": 400, "unet_lr": 2e-6, "draws": 4, "steps": 25},
        "toybox": {
            "embedding_steps": 80,
            "embedding_lr": 1e-2,
            "unet_steps": 150,
            "unet_lr": 1e-4,
            "draws": 1,
            "steps": 25,
            "guidance": 3.0,
        },
    }
    grids: ClassVar[Mapping[str, tuple[float, ...]]] = {"toybox": (0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)}

    def __init__(self, model: DiffusionModel | None, params: ImagicParams) -> None:
        super().__init__(model, params)
        tune = self.params.tune
        package, extra = _NEEDS.get(tune, ("", ""))
        if package and find_spec(package) is None:
            raise MissingInput(
                f"imagic: tune '{tune}' needs the package {package}, which is not installed: pip install 'etabench[{extra}]'"
            )

    def fair_play(self) -> FairPlay:
        return FairPlay(fine_tunes=True)

    def prepare(self, task: EditTask) -> ImagicState:
        self.check(task)
        p = self.params
        x0 = self.model.encode(task.image)
        e_tgt, empty = self.model.embed_pair(task.target_text)
        dtype = self.model.unet.dtype
        tuned = self.model.variant(unet=copy.deepcopy(self.model.unet).float())

        e = e_tgt.clone().requires_grad_(True)
        first = derive_seed(task.seed, "embedding")
        embedding_loss = self._fit(tuned, x0, e, [e], steps=p.embedding_steps, lr=p.embedding_lr, seed=first, stage="embedding")
        e_opt = e.detach()

        weights = self._weights(tuned.unet, task.seed) if p.unet_steps else []
        second = derive_seed(task.seed, "unet")
        bits = 8 if p.tune == "full_8bit" else 32
        unet_loss = self._fit(tuned, x0, e_opt, weights, steps=p.unet_steps, lr=p.unet_lr, seed=second, stage="U-Net", bits=bits)
        if weights and p.tune == "lora":
            tuned.unet.fuse_lora()
            tuned.unet.unload_lora()
        tuned.unet.requires_grad_(False)
        tuned.unet.zero_grad(set_to_none=True)
        torch.nn.Module.to(tuned.unet, dtype)  # diffusers' own warns of layers to be kept in float32, and names none

        losses = {"embedding_loss": embedding_loss, "unet_loss": unet_loss}
        trained = sum(weight.numel() for weight in weights)
        return ImagicState(tuned, e_tgt, e_opt, empty, task.seed, x0.shape, losses, trained, tuned.unet.is_gradient_checkpointing)

    def _weights(self, unet: Any, seed: int) -> list[Tensor]:
        """What stage 2 trains: all of the U-Net, or low-rank updates put into its attention, which begin as no change."""
        if self.params.tune != "lora":
            return list(unet.requires_grad_(True).parameters())
        from peft import LoraConfig

        rank = self.params.lora_rank
        with torch.random.fork_rng(devices=[]):
            unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
        generator = seeded(derive_seed(seed, "lora"))
        for name, weight in unet.named_parameters():
            if "lora_A" in name:
                weight.data.copy_(torch.randn(weight.shape, generator=generator) / rank)
        return [weight for weight in unet.parameters() if weight.requires_grad]

    def _fit(
        self,
        model: DiffusionModel,
        x0: Tensor,
        e: Tensor,
        over: list[Tensor],
        *,
        steps: int,
        lr: float,
        seed: int,
        stage: str,
        bits: int = 32,
    ) -> float:
        """Minimise the denoising loss for (x0, e) over the tensors ``over``; returns the mean loss of the last tenth. ``bits`` are those
        of Adam's moments.
        """
        if not steps:
            return 0.0
        generator = seeded(seed)
        shape = (self.params.draws, *x0.shape[1:])
        times = model.train_levels
        optimiser = _adam(over, lr, bits)
        losses: list[Tensor] = []
        with torch.enable_grad(), fixed_order(x0.device):
            for step in range(steps):
                model.stop_if_cancelled(f"{stage} optimisation, step {step}")
                t = sent(torch.randint(times, shape[:1], generator=generator), model.device)
                eps = sent(torch.randn(shape, generator=generator), model.device)
                losses.append(_step(model.unet, optimiser, partial(model.denoising_loss, x0, t, eps, e)))
                if (step + 1) % _LOOK_EVERY == 0 or step + 1 == steps:
                    _check_losses(losses, stage)
        return float(torch.stack(losses[-max(1, steps // 10) :]).mean())

    def render(self, state: ImagicState, values: Sequence[float]) -> list[Image]:
        return self.render_seeds(state, values, [self.params.sampling_seed])[0]

    def render_seeds(self, state: ImagicState, values: Sequence[float], sampling_seeds: Sequence[int]) -> list[list[Image]]:
        """One list of pictures per sampling seed, one picture per eta, all from one fit and one staggered decode."""
        schedule = state.tuned.schedule(self.params.steps)
        noises = [self._x_T(state, sampling_seed) for sampling_seed in sampling_seeds]
        latents = decode_sweep(
            state.tuned,
            schedule,
            [(schedule.steps, x_T) for x_T in noises for _ in values],
            torch.cat([interpolate(state.e_tgt, state.e_opt, eta) for _ in noises for eta in values]),
            guidance=self.params.guidance,
            uncond=state.empty,
        )
        pictures = self.model.decode(latents)
        return [pictures[i * len(values) : (i + 1) * len(values)] for i in range(len(noises))]

    def _x_T(self, state: ImagicState, sampling_seed: int) -> Tensor:  # noqa: N802 (the paper's symbol)
        """The initial noise that all eta share, (1, c, h, w)."""
        seed = derive_seed(state.seed, f"sampling {sampling_seed}") if sampling_seed else state.seed
        return self.model.noise(seed, state.shape)

    def facts(self, state: ImagicState) -> dict[str, str | float | bool]:
        moved = float((state.e_opt - state.e_tgt).norm() / state.e_tgt.norm())
        tune = self.params.tune if state.trained_weights else "none"
        rank = {"lora_rank": self.params.lora_rank} if tune == "lora" else {}
        again = {"activations_recomputed": True} if state.recomputed else {}
        return {
            **state.losses,
            "embedding_distance": moved,
            "tune": tune,
            **rank,
            "trained_weights": state.trained_weights,
            **again,
        }


def _adam(over: list[Tensor], lr: float, bits: int) -> torch.optim.Optimizer:
    if bits == 8:
        from bitsandbytes.optim import Adam8bit

        optimiser: torch.optim.Optimizer = Adam8bit(over, lr=lr)
        return optimiser
    # fused where there is a kernel: the usual form on CUDA holds another copy of all weights while it steps
    return torch.optim.Adam(over, lr=lr, fused=True if over[0].is_cuda else None)


def _step(unet: Any, optimiser: torch.optim.Optimizer, loss_of_draws: Callable[[], Tensor]) -> Tensor:
    """One step down a loss, which it returns; taken once more with activations recomputed where they found no room."""
    try:
        loss = loss_of_draws()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        return loss.detach()
    except torch.OutOfMemoryError:
        if unet.is_gradient_checkpointing:
            raise
    # not before the error is gone, whose traceback holds the activations
    unet.enable_gradient_checkpointing()
    optimiser.zero_grad()
    torch.cuda.empty_cache()
    return _step(unet, optimiser, loss_of_draws)


def _check_losses(losses: Sequence[Tensor], stage: str) -> None:
    """Raise ``NotFinite`` naming the first step whose loss was none; one that is older than ``_LOOK_EVERY`` steps was seen."""
    recent = torch.stack(list(losses[-_LOOK_EVERY:]))
    bad = (~torch.isfinite(recent)).nonzero()
    if len(bad):
        raise NotFinite(f"NaN or infinity at {stage} optimisation, step {len(losses) - len(recent) + int(bad[0])}")


def interpolate(e_tgt: Tensor, e_opt: Tensor, eta: float) -> Tensor:
    """Eq. 3: e(eta) = eta e_tgt + (1 - eta) e_opt."""
    return eta * e_tgt + (1 - eta) * e_opt
