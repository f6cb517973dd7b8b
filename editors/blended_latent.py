"""Blended Latent Diffusion (Avrahami et al., SIGGRAPH 2023, arXiv 2206.02779): masked generation over the noised source."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn.functional import max_pool2d, mse_loss

from editors.base import ANY_FAMILY, Editor, EditorError, EditTask, FairPlay, Image, Knob, SamplingParams
from editors.base import Params as AnyParams
from editors.toolbox.clip import SELECTOR, ClipParams, RankingCLIP, clip_assets, cut_out
from editors.toolbox.diffusion import DiffusionModel, derive_seed, to_pictures, to_tensor
from editors.toolbox.limits import fixed_order
from editors.toolbox.mask import AutoMask, DownsamplingParams, MaskParams, auto_mask, to_cells, to_pixels
from editors.toolbox.source import Source
from editors.toolbox.sweep import Sweep

__all__ = ["BlendedLatent", "BlendedLatentParams", "BlendedLatentState", "reconstruct_background", "shrinking_masks"]

_PAPER: Mapping[str, Any] = {
    "steps": 50,
    "guidance": 5.0,
    "dilations": (7, 5, 3, 1),
    "mask_downsampling": "nearest",
    "final_blend": False,
    "background_reconstruction_steps": 75,
    "background_reconstruction_lr": 1e-4,
    "background_reconstruction_weight": 100.0,
}


class BlendedLatentParams(SamplingParams, MaskParams, DownsamplingParams, ClipParams):
    """Parameters of Blended Latent Diffusion; those of the automatic mask matter only where it is used."""

    guidance: float = Field(5.0, ge=0, description="classifier-free guidance scale; 1 = none")
    use_manifest_mask: bool = Field(True, description="use the task's mask where it has one; else DiffEdit's automatic mask")
    dilations: tuple[int, ...] = Field(
        (7, 5, 3, 1),
        min_length=1,
        description="odd kernel sides in cells, falling: the mask's dilation over equal parts of the schedule",
    )
    final_blend: bool = Field(
        False, description="replace the background of the last latent by the clean source latent; the authors' loop does not"
    )
    candidates: int = Field(1, ge=1, description="edits made for each one returned, picked by the network `clip`; 1 needs none")
    background_reconstruction_steps: int = Field(
        75, ge=0, description="decoder fine-tuning steps for each edit; 0 = plain decode"
    )
    background_reconstruction_lr: float = Field(1e-4, gt=0, description="learning rate (Adam) of the decoder fine-tuning")
    background_reconstruction_weight: float = Field(100.0, ge=0, description="weight of the background in its loss")

    @field_validator("dilations")
    @classmethod
    def _odd_and_falling(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(side < 1 or side % 2 == 0 for side in value) or any(a < b for a, b in pairwise(value)):
            raise ValueError("expected odd kernel sides that do not rise, such as (7, 5, 3, 1)")
        return value


@dataclass(frozen=True, eq=False)
class BlendedLatentState(Source):
    """All that no knob value changes; ``x0`` is the paper's z_init."""

    picture: Tensor
    """Source picture, (1, 3, H, W) float32 in -1..1."""
    seed: int
    wanted: Tensor | None
    """The ranking network's embedding of the target text, (1, d); None with one candidate."""
    pixels: Tensor
    """Mask m, (1, 1, H, W) bool."""
    masks: tuple[Tensor, ...]
    """Latent masks for the equal parts of the schedule, most dilated first, each (1, 1, h, w) bool."""
    auto: AutoMask | None
    """The automatic mask where it was used."""


class BlendedLatent(Editor[BlendedLatentState]):
    """Blended Latent Diffusion as published, with its latent diffusion (LDM) loop.

    The source latent z_init is noised to the start of the schedule. Before each denoising step at timestep t, everything
    outside the mask is replaced by q_sample(z_init, t) with fresh noise; then the whole is denoised with the text. The mask
    starts dilated and shrinks over equal parts of the steps that are executed (progressive mask shrinking, which saves
    thin masks from drowning in noise). At last the decoder is fine-tuned on a copy, for each edit, so that it shows the
    edit inside the mask and the source outside: MSE(inside, plain decode) + 100 MSE(outside, source).

    Knob: strength s executes round(s n) steps; 1 is the paper's setting, and 0 is the VAE round trip unless the
    decoder is fine-tuned. The noise of start and levels is shared by all knob values. The mask is the manifest's, or
    DiffEdit's automatic mask where there is none; ``facts`` says which. It is brought to latent resolution by nearest
    sampling, as published, which can lose a mask thinner than a cell altogether: ``mask_downsampling="any"`` keeps
    it.

    Candidates differ in all their noise and share the mask alone. Each is decoded and cut out by the mask, everything else
    black, as the authors do; the one whose embedding lies closest to that of the text, under a CLIP that is not the judge
    (ViT-B/16 in the paper), is returned, and only it is reconstructed. All candidates of all knob values are one batch. The
    count is a parameter and 1 by default, which ranks nothing: the authors' command makes 4 (preset ``paper_ranked``).

    Departures: the authors' code has mask shrinking off by default and rounds the parts up; here it is on and the parts are
    equal. Their loop does not blend after its last step, which leaves the background to the reconstruction; ``final_blend``
    adds that blend. They reconstruct in a second command, from files: the finished picture, rounded to 8 bits, is encoded again, by a
    sample of the posterior, and the decoder is tuned on that latent towards that picture. Here it is tuned on the sampled latent
    itself, towards its plain decode, so that nothing is lost in a second encoding. Tuning and the decode after it are in float32
    whatever the dtype of the weights. Their later script for Stable Diffusion 2 is another algorithm: ``editors.blended_latent_sd2``.
    """

    name = "blended_latent"
    version = "1"
    families = ANY_FAMILY
    knob = Knob.share("strength", "share of the schedule that is noised and denoised")
    paced_by = ("steps", "background_reconstruction_steps")
    Params = BlendedLatentParams
    params: BlendedLatentParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": _PAPER,
        "paper_ranked": {**_PAPER, "candidates": 4},
        "fast": {"steps": 20, "final_blend": True, "background_reconstruction_steps": 0},
        "toybox": {"steps": 25, "guidance": 3.0, "final_blend": True, "background_reconstruction_steps": 0},
    }

    @classmethod
    def knob_of(cls, params: AnyParams) -> Knob | None:
        """The knob; it promises the VAE round trip only where the decoder is not fine-tuned to the source."""
        assert isinstance(params, BlendedLatentParams)
        return replace(cls.knob, zero="") if params.background_reconstruction_steps else cls.knob

    @classmethod
    def assets(cls, params: AnyParams) -> Mapping[str, str]:
        assert isinstance(params, BlendedLatentParams)
        return clip_assets(params, used=params.candidates > 1)

    @cached_property
    def ranker(self) -> RankingCLIP:
        """The network that picks a candidate."""
        return RankingCLIP.load(self.params.clip, self.model.device)

    def fair_play(self) -> FairPlay:
        ranked = self.params.candidates > 1
        return FairPlay(
            candidates=self.params.candidates,
            selector=SELECTOR if ranked else "",
            clip_in_loop=ranked,
            uses_mask=self.params.use_manifest_mask,
            uses_source_text=self.params.use_source_text,
            fine_tunes=self.params.background_reconstruction_steps > 0,
        )

    def prepare(self, task: EditTask) -> BlendedLatentState:
        self.check(task)
        model = self.model
        source = Source.of(model, task)
        auto = None
        if task.mask is not None and self.params.use_manifest_mask:
            pixels = torch.from_numpy(task.mask.copy()).to(model.device)[None, None]
            cells = to_cells(task.mask, source.x0, self.params.mask_downsampling)
        else:
            auto = auto_mask(model, model.schedule(self.params.steps), self.params, task, **vars(source))
            cells = auto.cells
            pixels = torch.from_numpy(to_pixels(cells, model.factor)).to(model.device)[None, None]
        return BlendedLatentState(
            **vars(source),
            picture=to_tensor(task.image, model.device),
            seed=task.seed,
            wanted=self.ranker.embed_texts([task.target_text]) if self.params.candidates > 1 else None,
            pixels=pixels,
            masks=shrinking_masks(cells, self.params.dilations),
            auto=auto,
        )

    def render(self, state: BlendedLatentState, values: Sequence[float]) -> list[Image]:
        latents = self._denoise(state, values)
        if self.params.final_blend:
            latents = torch.where(state.masks[-1], latents, state.x0)
        if state.wanted is not None:
            latents = latents[self._pick(latents, state.wanted, state.pixels)]
        if self.params.background_reconstruction_steps == 0:
            return self.model.decode(latents)
        return [self._reconstruct(state, latent) for latent in torch.split(latents, 1)]

    def _denoise(self, state: BlendedLatentState, values: Sequence[float]) -> Tensor:
        """z_0 of all candidates of all values, (values x candidates, c, h, w). Each starts from z_init noised to level k = round(s n),
        and from t = k down to 1: z_t = m z_fg + (1 - m) z_bg with z_bg = q_sample(z_init, t), then z_{t-1} = DDIM(z_t, eps(z_t, t)).
        """
        model, schedule, z_init = self.model, self.model.schedule(self.params.steps), state.x0
        others = [derive_seed(state.seed, f"candidate {j}") for j in range(1, self.params.candidates)]
        noises = {seed: model.noise(seed, z_init.shape) for seed in (state.seed, *others)}
        levels = [schedule.level(value) for value in values]
        edits = Sweep(
            model, [((k, seed), k, schedule.q_sample(z_init, noise, k)) for k in levels for seed, noise in noises.items()]
        )
        for t, z_fg, candidates in edits:
            fresh = {seed: model.noise(derive_seed(seed, f"background {t}"), z_init.shape) for _, seed in candidates}
            z_bg = schedule.q_sample(z_init, torch.cat([fresh[seed] for _, seed in candidates]), t)
            m = torch.cat([shrunk(state.masks, k, t) for k, _ in candidates])
            z = torch.where(m, z_fg, z_bg)
            eps = model.predict(z, schedule.timestep(t), state.target, self.params.guidance, state.empty)
            edits.x = schedule.ddim_step(z, eps, t)
        return edits.latents

    @torch.no_grad()
    def _pick(self, latents: Tensor, wanted: Tensor, pixels: Tensor) -> Tensor:
        """Of the candidates of each knob value, latents (values x candidates, c, h, w), the best one's index: (values,)."""
        shown = self.model.guard(self.model.decode_tensor(latents), "VAE decoding of the candidates")
        similar = self.ranker.embed_images(cut_out(shown.clamp(-1, 1), pixels)) @ wanted[0]
        best = similar.view(-1, self.params.candidates).argmax(1)
        return best + self.params.candidates * torch.arange(len(best), device=best.device)

    def _reconstruct(self, state: BlendedLatentState, latent: Tensor) -> Image:
        return reconstruct_background(
            self.model,
            latent,
            state.picture,
            state.pixels,
            steps=self.params.background_reconstruction_steps,
            lr=self.params.background_reconstruction_lr,
            weight=self.params.background_reconstruction_weight,
        )

    def pictures(self, state: BlendedLatentState) -> dict[str, NDArray[Any]]:
        shown = {"mask": state.pixels[0, 0].cpu().numpy()}
        return {**shown, "difference": state.auto.difference.cpu().numpy()} if state.auto else shown

    def facts(self, state: BlendedLatentState) -> dict[str, str | float | bool]:
        share = float(state.masks[-1].float().mean())
        own: dict[str, str | float | bool] = {"mask_from": "diffedit" if state.auto else "manifest", "mask_share": share}
        return {**state.auto.facts(self.params), **own} if state.auto else own


def shrinking_masks(cells: Tensor, dilations: Sequence[int]) -> tuple[Tensor, ...]:
    """The mask (1, 1, h, w) bool dilated by a square of ones of each odd side in cells; 1 is the mask itself."""
    return tuple(max_pool2d(cells.float(), side, stride=1, padding=side // 2).bool() for side in dilations)


def shrunk(masks: Sequence[Tensor], start: int, level: int) -> Tensor:
    """The mask for the part of the schedule that ``level``, of the levels ``start``..1 that are executed, lies in."""
    return masks[(start - level) * len(masks) // start]


def reconstruct_background(
    model: DiffusionModel, latent: Tensor, source: Tensor, pixels: Tensor, *, steps: int, lr: float, weight: float
) -> Image:
    """Decode ``latent`` (1, c, h, w) by a copy of the decoder fine-tuned to the source outside the mask.

    ``source`` is (1, 3, H, W) in -1..1, ``pixels`` (1, 1, H, W) bool, True inside. Both errors are means over the whole
    frame with the other region zeroed. The model's own decoder is not touched.
    """
    if steps < 1:
        raise EditorError(f"background reconstruction: expected at least 1 step, got {steps}")
    inside = pixels.float()
    with torch.no_grad():
        edited = model.decode_tensor(latent)
    tuned = model.variant(vae=copy.deepcopy(model.vae).float())
    weights = list(tuned.vae.decoder.requires_grad_(True).parameters())
    optimiser = torch.optim.Adam(weights, lr=lr)
    with torch.enable_grad(), fixed_order(model.device):
        for step in range(steps):
            shown = tuned.decode_tensor(latent)
            loss = mse_loss(shown * inside, edited * inside)
            loss = loss + weight * mse_loss(shown * (1 - inside), source * (1 - inside))
            model.guard(loss, f"background reconstruction, step {step}")
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
    with torch.no_grad():
        return to_pictures(model.guard(tuned.decode_tensor(latent), "VAE decoding"))[0]
