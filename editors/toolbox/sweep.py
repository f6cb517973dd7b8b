"""Walks along the schedule: DDIM inversion, inversion into a sampler's noise space, and the staggered decode of all knob values of
several samples in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor

from editors.task import Image
from editors.toolbox.diffusion import DiffusionModel, derive_seed
from editors.toolbox.schedule import Schedule

__all__ = [
    "Hook",
    "Step",
    "Texts",
    "ddim_invert",
    "decode_many",
    "decode_sweep",
    "in_groups",
    "independent_levels",
    "invert_many",
    "predict_levels",
]

_Thing = TypeVar("_Thing")
_Result = TypeVar("_Result")

Hook: TypeAlias = Callable[[Tensor, int, list[int]], Tensor]
"""(x, level, items) -> x: ``x`` (m, c, h, w) are the latents in the batch, all at ``level``; ``items`` says which they are."""

Step: TypeAlias = Callable[[Tensor, Tensor, int, list[int]], Tensor]
"""(x, output, level, items) -> the latents at ``level`` - 1, given the U-Net's output for ``x`` at ``level``."""


class Texts(Protocol):
    """A state with the embeddings of a target text and of the empty text, (1, l, d) each."""

    @property
    def target(self) -> Tensor: ...

    @property
    def empty(self) -> Tensor: ...


_State = TypeVar("_State", bound=Texts)


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


@torch.no_grad()
def decode_sweep(
    model: DiffusionModel,
    schedule: Schedule,
    starts: Sequence[tuple[int, Tensor]],
    context: Tensor,
    *,
    guidance: float | Tensor,
    uncond: Tensor,
    step: Step | None = None,
    before_step: Hook | None = None,
    after_step: Hook | None = None,
) -> Tensor:
    """Denoise every item from its own start level to level 0 in one loop; returns (n, c, h, w) in the order of ``starts``.

    ``starts`` holds a (start level, latent (1, c, h, w)) per item: an item joins the batch when the loop reaches its
    level, and an item that starts at 0 is returned as it is. ``context`` and ``uncond`` are (1, l, d), shared, or (n, l, d),
    one per item; so is ``guidance``, a number or (n,). ``step`` takes the place of the DDIM step. ``before_step`` gets the latents
    at level k before they are denoised, ``after_step`` those at the level k - 1 just reached; both return the latents to
    go on with. All three must treat each item by itself.
    """
    latents = [latent for _, latent in starts]
    for level in range(max((start for start, _ in starts), default=0), 0, -1):
        model.stop_if_cancelled(f"decoding from level {level}")
        items = [i for i, (start, _) in enumerate(starts) if start >= level]
        x = torch.cat([latents[i] for i in items])
        if before_step:
            x = before_step(x, level, items)
        own = context if len(context) == 1 else context[items]
        none = uncond if len(uncond) == 1 else uncond[items]
        scale = guidance[items] if isinstance(guidance, Tensor) else guidance
        output = model.predict(x, schedule.timestep(level), own, scale, none)
        x = step(x, output, level, items) if step else schedule.ddim_step(x, output, level)
        if after_step:
            x = after_step(x, level - 1, items)
        for i, latent in zip(items, torch.split(x, 1), strict=True):
            latents[i] = latent
    return model.guard(torch.cat(latents), "the end of the decode")


def decode_many(
    model: DiffusionModel,
    schedule: Schedule,
    states: Sequence[_State],
    values: Sequence[float],
    at: Callable[[_State, int], Tensor],
    *,
    guidance: float,
    cells: Callable[[_State], Tensor] | None = None,
) -> list[Sequence[Image | None]]:
    """The pictures of several samples at several knob values from one staggered decode; one list per state, in order.

    ``at(state, level)`` is the source's latent (1, c, h, w) at a level, inverted or noised: an item of value v starts from the
    one at round(v n). Where ``cells(state)`` (1, 1, h, w) bool is given, all outside it is replaced after each step by the
    source's latent at the level just reached. States whose latents differ in size are decoded one size after another.
    """
    levels = [schedule.level(value) for value in values]

    def decode(group: list[_State]) -> list[Sequence[Image | None]]:
        owners = [state for state in group for _ in levels]

        def keep_background(x: Tensor, level: int, items: list[int]) -> Tensor:
            assert cells is not None
            mask = torch.cat([cells(owners[i]) for i in items])
            return torch.where(mask, x, torch.cat([at(owners[i], level) for i in items]))

        latents = decode_sweep(
            model,
            schedule,
            [(level, at(state, level)) for state in group for level in levels],
            torch.cat([state.target for state in owners]),
            guidance=guidance,
            uncond=group[0].empty,
            after_step=keep_background if cells else None,
        )
        pictures = model.decode(latents)
        return [pictures[i * len(values) : (i + 1) * len(values)] for i in range(len(group))]

    return in_groups(states, lambda state: at(state, 0).shape, decode)


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
    times = torch.tensor(schedule.timesteps, device=model.device)
    return list(torch.split(model.predict(torch.cat(latents[1:]), times, context, guidance, uncond), 1))
