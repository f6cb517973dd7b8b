"""RF-Solver and RF-Edit (Wang et al., ICML 2025, arXiv 2411.04746): a second-order solver of a rectified flow, and values of the source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import torch
from pydantic import Field
from torch import Tensor

from editors.base import FLOW, Editor, EditTask, FairPlay, Image, Knob, SamplingParams
from editors.toolbox.diffusion import DiffusionModel
from editors.toolbox.injection import Injection, inject, twin
from editors.toolbox.limits import sent
from editors.toolbox.schedule import FlowSchedule
from editors.toolbox.source import Texts
from editors.toolbox.sweep import Sweep

__all__ = ["RFSolver", "RFSolverParams", "RFSolverState"]

Point: TypeAlias = tuple[Tensor, float]
"""A latent and the timestep that its velocity is asked at."""


class RFSolverParams(SamplingParams):
    """Parameters of RF-Edit; the defaults are those of the authors' script with FLUX.1 dev."""

    steps: int = Field(25, ge=1, le=1000, description="steps of the whole schedule, both ways, of two predictions each")
    guidance: float = Field(5.0, ge=0, description="guidance scale of the target text")
    source_guidance: float = Field(1.0, ge=0, description="guidance scale of the source text in the inversion")


@dataclass(frozen=True, eq=False)
class RFSolverState(Texts):
    """A source, inverted, and the texts."""

    source: Tensor
    """Embedding of the source text, (1, l, d)."""
    noise: Tensor
    """Where the inversion ends, (1, c, h, w)."""
    points: list[tuple[Point, Point]]
    """Where the inversion asked for velocities on its way to level k, at index k - 1: at the beginning of the step and at its middle."""


class RFSolver(Editor[RFSolverState]):
    """RF-Edit on RF-Solver: inversion and edit by a solver of second order, the edit with values of the source's self-attention.

    1. *RF-Solver*: Z' = Z + d v + d^2 / 2 v', d the change of sigma, v the velocity at Z and v' its derivative in time, from
       the velocity v_m half a step further: v' = (v_m - v) / (d / 2). That is Z + d v_m, the midpoint method.
    2. *RF-Edit*: in the first steps of the edit, from the noise, the values V of self-attention are those of the inversion's step
       over the same two levels, at its beginning and at its middle: layout from the edit's queries and keys, content from the source.

    Values are shared in the latter part of the network: of FLUX.1 dev in single blocks 20 to 37 of 38, texts' values too, which are one
    with the picture's there. Stable Diffusion 3, which the authors did not run, has no single blocks: there the picture's own values are
    shared in the latter half of its blocks.

    The knob is the share of the steps, at the clean end, whose values are the edit's own. The authors' script shares 20 of 25, 0.2, unless
    asked, and their examples 2 to 8 of 30, 0.73 to 0.93. At 1 nothing is shared. Nothing is random, so the seed has no effect.

    The authors keep all values of the inversion, gigabytes at 1,024 px; here the source goes through the network beside the edits, at the
    latents and timesteps where the inversion was.
    """

    name = "rf_solver"
    version = "1"
    families = FLOW
    knob = Knob(
        "free_share",
        0.0,
        1.0,
        (0.0, 0.2, 0.4, 0.6, 0.73, 0.83, 0.93, 1.0),
        "share of the steps, at the clean end, whose values are not the source's",
    )
    needs = frozenset({"source_text"})
    deterministic = True
    tested_on = "tiny checkpoint"
    Params = RFSolverParams
    params: RFSolverParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 25, "guidance": 5.0, "source_guidance": 1.0},
        "paper_examples": {"steps": 30, "guidance": 2.0, "source_guidance": 1.0},
        "fast": {"steps": 10},
    }

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_source_text=True)

    @property
    def schedule(self) -> FlowSchedule:
        """Levels 0..n of the flow."""
        return self.model.flow_schedule(self.params.steps)

    @torch.no_grad()
    def prepare(self, task: EditTask) -> RFSolverState:
        self.check(task)
        model, scale = self.model, self.params.source_guidance
        source, target, empty = torch.split(model.embed([task.source_text or "", task.target_text, ""]), 1)
        z, points = model.encode(task.image), []
        for k in range(1, self.schedule.steps + 1):
            asked: list[Point] = []

            def velocity(z: Tensor, timestep: float, asked: list[Point] = asked) -> Tensor:
                asked.append((z, timestep))
                return model.predict(z, timestep, source, scale, empty)

            z = self._step(z, k - 1, k, velocity)
            points.append((asked[0], asked[1]))
        return RFSolverState(target, empty, source, model.guard(z, "the end of the inversion"), points)

    @torch.no_grad()
    def render(self, state: RFSolverState, values: Sequence[float]) -> list[Image]:
        model, n = self.model, self.schedule.steps
        shared, injection = with_shared_values(model)
        edits = Sweep(model, [(self.schedule.level(value), n, state.noise) for value in values])
        for t, z, free in edits:
            sources = iter(state.points[t - 1])

            def velocity(z: Tensor, timestep: float, t: int = t, free: list[int] = free, sources: Any = sources) -> Tensor:
                source = next(sources)

                def some(rows: Sequence[int]) -> Tensor:
                    injection.active = torch.tensor([t > free[i] for i in rows])
                    return self._beside(shared, state, source, z[rows[0] : rows[-1] + 1], timestep)

                return torch.cat(model.limits.each("edits beside the source", (model.max_batch - 1) // 2, range(len(z)), some))

            edits.x = model.guard(self._step(z, t, t - 1, velocity), f"decoding to level {t - 1}")
        return model.decode(edits.latents)

    def _step(self, z: Tensor, here: int, there: int, velocity: Callable[[Tensor, float], Tensor]) -> Tensor:
        """Z at level ``there`` from Z at ``here``, by the velocities at its beginning and its middle."""
        start, end = self.schedule.sigmas[here], self.schedule.sigmas[there]
        d, trained = end - start, self.schedule.trained
        v = velocity(z, start * trained)
        v_m = velocity(z + d / 2 * v, (start + end) / 2 * trained)
        return z + d * v + d**2 / 2 * ((v_m - v) / (d / 2))

    def _beside(self, shared: DiffusionModel, state: RFSolverState, source: Point, z: Tensor, timestep: float) -> Tensor:
        """Guided velocities (m, c, h, w) of edits z, whose values are the source's where they are to be."""
        m, embeds = len(z), shared.backbone.embeds_guidance
        groups = 1 if embeds else 2
        texts = [state.source, *([] if embeds else [state.empty.expand(m, -1, -1)]), state.target.expand(m, -1, -1)]
        scales = torch.tensor([self.params.source_guidance] + [self.params.guidance] * m) if embeds else None
        output = shared.unet_output(
            torch.cat([source[0], *[z] * groups]),
            sent(torch.tensor([source[1]] + [timestep] * groups * m), shared.device),
            torch.cat(texts),
            None if scales is None else sent(scales, shared.device),
        )[1:]
        if embeds:
            return output
        empty, conditional = output.chunk(2)
        return empty + self.params.guidance * (conditional - empty)


def with_shared_values(model: DiffusionModel) -> tuple[DiffusionModel, Injection]:
    """The model with a transformer, the values of whose self-attention are governed by the second result in its latter part."""
    single = len(getattr(model.unet, "single_transformer_blocks", ()))
    double = len(model.unet.transformer_blocks)
    blocks = (
        [f"single_transformer_blocks.{i}" for i in range(20 * single // 38, single)]
        if single
        else [f"transformer_blocks.{i}" for i in range(double // 2, double)]
    )
    network = twin(model)
    return model.variant(unet=network), inject(network, [f"{block}.attn.to_v" for block in blocks])
