"""Walks along the schedule: DDIM inversion, inversion into a sampler's noise space, and the staggered decode of all knob values of
several samples in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from editors.toolbox.diffusion import DiffusionModel, derive_seed
from editors.toolbox.limits import sent
from editors.toolbox.schedule import Schedule

__all__ = [
    "Sweep",
    "ddim_invert",
    "decode_sweep",
    "in_groups",
    "independent_levels",
    "invert_many",
    "predict_levels",
]

_Thing = TypeVar("_Thing")
_Result = TypeVar("_Result")
_Owner = TypeVar("_Owner")


def in_groups(
    things: Sequence[_Thing], key: Callable[[_Thing], Hashable], work: Callable[[list[_Thing]], Sequence[_Result]]
) -> list[_Result]:
    """``work`` on all things of one key together, one result each; the results in the order of the things."""
    members: dict[Hashable, list[int]] = {}
    for place, thing in enumerate(things):
        members.setdefault(key(thing), []).append(place)
    results: dict[int, _Result] = {}
    for places in members.values():
        results.update(zip(places, work([things[place] for place in places]), strict=True))
    return [results[place] for place in range(len(things))]


@torch.no_grad()
def ddim_invert(
    model: DiffusionModel,
    schedule: Schedule,
    x0: Tensor,
    context: Tensor,
    *,
    upto: int | None = None,
    guidance: float = 1.0,
    uncond: Tensor | None = None,
) -> list[Tensor]:
    """The trajectory of ``x0`` (m, c, h, w) under inverse DDIM; element k is the latent at level k, element 0 is ``x0``.

    The usual case passes the empty text as ``context`` and no guidance. The prefix of a trajectory is the inversion to
    every smaller ratio, so one walk to ``upto`` (the whole schedule when None) serves a whole curve. The step to level k
    uses the prediction for (latent at level k - 1, t_k), which assumes that predictions change little within a step.
    """
    trajectory = [x0]
    for level in range(1, (schedule.steps if upto is None else upto) + 1):
        model.stop_if_cancelled(f"inversion to level {level}")
        output = model.predict(trajectory[-1], schedule.timestep(level), context, guidance, uncond)
        trajectory.append(schedule.ddim_inverse_step(trajectory[-1], output, level))
    model.guard(trajectory[-1], "the end of the inversion")
    return trajectory


def invert_many(model: DiffusionModel, schedule: Schedule, latents: Sequence[Tensor], context: Tensor) -> list[list[Tensor]]:
    """``ddim_invert`` of several latents, each (1, c, h, w) of any size: those of one size in one batch, a trajectory each."""

    def invert(group: list[Tensor]) -> list[list[Tensor]]:
        together = [torch.split(x, 1) for x in ddim_invert(model, schedule, torch.cat(group), context)]
        return [list(trajectory) for trajectory in zip(*together, strict=True)]

    return in_groups(latents, lambda x: x.shape, invert)


class Sweep(Generic[_Owner]):
    """Edits in the making: latents that are denoised to level 0 in one loop, each from a level of its own. The loop is the method's::

        sweep = Sweep(model, [(owner, level, latent), ...])
        for t, x, owners in sweep:
            eps = model.predict(x, schedule.timestep(t), ...)
            sweep.x = schedule.ddim_step(x, eps, t)
        pictures = model.decode(sweep.latents)

    It runs from the noisiest start down. An item joins the batch when the loop reaches its level, and one that starts at 0 stays as it
    is. ``t`` is the level that the latents ``x`` (m, c, h, w) are at, ``owners`` says whose they are, one each: whatever the caller
    named an item by, a state, a knob value, an index. The body assigns to ``sweep.x`` the latents at level t - 1, in the same order;
    it must treat each item by itself. Every round asks ``cancelled`` first.
    """

    def __init__(self, model: DiffusionModel, items: Sequence[tuple[_Owner, int, Tensor]]) -> None:
        """Items are (owner, start level, latent (1, c, h, w) at that level), of one size."""
        self._model = model
        self._owners = [owner for owner, _, _ in items]
        self._starts = [level for _, level, _ in items]
        self._latents = [latent for _, _, latent in items]
        self.x: Tensor
        """The latents in the batch; those at the next level once the body has assigned them."""

    def __iter__(self) -> Iterator[tuple[int, Tensor, list[_Owner]]]:
        for level in range(max(self._starts, default=0), 0, -1):
            self._model.stop_if_cancelled(f"decoding from level {level}")
            present = [i for i, start in enumerate(self._starts) if start >= level]
            self.x = torch.cat([self._latents[i] for i in present])
            yield level, self.x, [self._owners[i] for i in present]
            for i, latent in zip(present, torch.split(self.x, 1), strict=True):
                self._latents[i] = latent

    @property
    def latents(self) -> Tensor:
        """All items, (n, c, h, w), in the order they were given in: at level 0 once the loop is through. Raises ``NotFinite``."""
        return self._model.guard(torch.cat(self._latents), "the end of the decode")


@torch.no_grad()
def decode_sweep(
    model: DiffusionModel,
    schedule: Schedule,
    starts: Sequence[tuple[int, Tensor]],
    context: Tensor,
    *,
    guidance: float,
    uncond: Tensor,
) -> Tensor:
    """Plain guided DDIM from every (start level, latent (1, c, h, w)) to level 0; returns (n, c, h, w) in the order of ``starts``.

    ``context`` is (1, l, d), shared, or (n, l, d), one per item; ``uncond`` is (1, l, d).
    """
    sweep = Sweep(model, [(i, level, x) for i, (level, x) in enumerate(starts)])
    for t, x, items in sweep:
        own = context if len(context) == 1 else context[items]
        output = model.predict(x, schedule.timestep(t), own, guidance, uncond)
        sweep.x = schedule.ddim_step(x, output, t)
    return sweep.latents


def independent_levels(model: DiffusionModel, schedule: Schedule, x0: Tensor, seed: int) -> list[Tensor]:
    """``x0`` (1, c, h, w) noised to every level 0..n with a noise of its own for each; element 0 is ``x0``.

    Each level has its own generator, so that a level's noise does not depend on how many there are. Source: Huberman-Spiegelglas et al.,
    edit-friendly DDPM inversion (arXiv 2304.06140), Eq. 6.
    """
    return [x0] + [
        schedule.q_sample(x0, model.noise(derive_seed(seed, f"level {level}"), x0.shape), level)
        for level in range(1, schedule.steps + 1)
    ]


def predict_levels(
    model: DiffusionModel,
    schedule: Schedule,
    latents: list[Tensor],
    context: Tensor,
    *,
    guidance: float = 1.0,
    uncond: Tensor | None = None,
) -> list[Tensor]:
    """The U-Net's outputs for the latents at levels 1..n, each (1, c, h, w); that of level k is element k - 1.

    They take as few calls as ``max_batch`` allows: no level waits for another, because none is computed from another.
    """
    times = sent(torch.tensor([schedule.timestep(level) for level in range(1, schedule.steps + 1)]), model.device)
    return list(torch.split(model.predict(torch.cat(latents[1:]), times, context, guidance, uncond), 1))
