"""DDIM and DDPM written out: the noise levels of a checkpoint's schedule and the steps between them.

Levels count from 0, the clean latent, to n, the noisiest. Level k >= 1 carries the noise of timestep t_k; the schedule
of a checkpoint (``timestep_spacing``, ``steps_offset``) says which timesteps those are. Level 0 has the cumulative alpha
that the checkpoint's scheduler ends with: that of timestep 0 under Stable Diffusion's ``set_alpha_to_one=False``.

Source: Song et al., Denoising Diffusion Implicit Models (arXiv 2010.02502), Eq. 12 with sigma = 0. The ancestral (DDPM) steps, down with
fresh noise and up again: Ho et al., Denoising Diffusion Probabilistic Models (arXiv 2006.11239), Eq. 6 and 7 (the posterior), Eq. 2 (the
way up), with alpha_k = abar_k / abar_{k-1} between the levels of a respaced schedule; there the clean level 0 carries no noise at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffusers import DDIMScheduler
from torch import Tensor

from editors.task import EditorError

__all__ = ["Schedule", "diffuse", "noise_scheduler", "posterior", "share_of_steps"]


def noise_scheduler(config: Mapping[str, Any]) -> DDIMScheduler:
    """The DDIM scheduler of a checkpoint whose own scheduler may be another class (PNDM in Stable Diffusion 1).

    It is used for its tables, ``alphas_cumprod`` and timesteps, only. Options that are not tables, such as
    ``clip_sample``, have no effect here: latents have no range to be clipped to.
    Raises ``EditorError`` on a prediction type other than ``epsilon`` and ``v_prediction``, and on tables that cannot be made.
    """
    known = {key: value for key, value in config.items() if key in DDIMScheduler._get_init_keys(DDIMScheduler)}
    try:
        scheduler = DDIMScheduler.from_config(known)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise EditorError(f"scheduler_config.json makes no schedule: {str(error).splitlines()[0][:200]}") from error
    if scheduler.config.prediction_type not in ("epsilon", "v_prediction"):
        raise EditorError(f"prediction_type {scheduler.config.prediction_type!r}: expected 'epsilon' or 'v_prediction'")
    return scheduler


def share_of_steps(share: float, steps: int) -> int:
    """``share`` of ``steps`` rounded to the nearest whole number, halves up.

    Truncation, the habit of the reference pipelines, makes 28 of 50 x 0.58, whose product is 28.999...; the small
    allowance keeps such products on the side they would be on without float error.
    """
    return math.floor(share * steps + 0.5 + 1e-9)


@dataclass(frozen=True)
class Schedule:
    """n noise levels above the clean one, and what moves a latent between them. Latents are float32 (m, c, h, w)."""

    timesteps: tuple[int, ...]
    """t_1 < ... < t_n."""
    alpha_bars: tuple[float, ...]
    """Cumulative alphas of levels 0..n, falling."""
    v_prediction: bool = False
    """The U-Net predicts v (Salimans and Ho, arXiv 2202.00512) rather than epsilon."""

    @classmethod
    def of(cls, scheduler: DDIMScheduler, steps: int) -> Schedule:
        """The levels of ``steps`` DDIM steps. Raises ``EditorError`` where the checkpoint has no such schedule."""
        try:
            scheduler.set_timesteps(steps)
            times = sorted(int(t) for t in scheduler.timesteps)
            alphas = [float(scheduler.final_alpha_cumprod), *(float(scheduler.alphas_cumprod[t]) for t in times)]
        except (ValueError, IndexError) as error:
            trained = scheduler.config.num_train_timesteps
            raise EditorError(f"steps: {steps} steps do not fit a schedule of {trained} timesteps ({error})") from None
        return cls(tuple(times), tuple(alphas), scheduler.config.prediction_type == "v_prediction")

    @property
    def steps(self) -> int:
        """n, the noisiest level."""
        return len(self.timesteps)

    def level(self, share: float) -> int:
        """The level after ``share`` (0..1) of the schedule: so many steps a partial edit executes."""
        return share_of_steps(share, self.steps)

    def timestep(self, level: int) -> int:
        """t_k for level k = 1..n."""
        return self.timesteps[level - 1]

    def q_sample(self, x0: Tensor, noise: Tensor, level: int) -> Tensor:
        """Noise a clean latent to a level: sqrt(abar) x0 + sqrt(1 - abar) noise. Level 0 is the latent itself."""
        if level == 0:
            return x0
        alpha_bar = self.alpha_bars[level]
        return math.sqrt(alpha_bar) * x0 + math.sqrt(1 - alpha_bar) * noise

    def split(self, x: Tensor, output: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """The clean latent and the noise that the U-Net's output at a level k >= 1 stands for."""
        signal, sigma = math.sqrt(self.alpha_bars[level]), math.sqrt(1 - self.alpha_bars[level])
        if self.v_prediction:
            return signal * x - sigma * output, signal * output + sigma * x
        return (x - sigma * output) / signal, output

    def ddim_step(self, x: Tensor, output: Tensor, level: int) -> Tensor:
        """From level k to k - 1, given the U-Net's output for (x, t_k)."""
        x0, eps = self.split(x, output, level)
        alpha_bar = self.alpha_bars[level - 1]
        return math.sqrt(alpha_bar) * x0 + math.sqrt(1 - alpha_bar) * eps

    def ddim_inverse_step(self, x: Tensor, output: Tensor, level: int) -> Tensor:
        """From level k - 1 to k: the solution of ``ddim_step(result, output, level) = x``.

        Exact where the output is the one at level k; inversion has only x at level k - 1 to predict it from.
        """
        here, there = self.alpha_bars[level - 1], self.alpha_bars[level]
        cosine = math.sqrt(here * there) + math.sqrt((1 - here) * (1 - there))
        sine = math.sqrt((1 - here) * there) - math.sqrt(here * (1 - there))
        if self.v_prediction:
            return (x - sine * output) / cosine
        return (math.sqrt(there) * x - sine * output) / math.sqrt(here)


def _alpha_bar(schedule: Schedule, level: int) -> float:
    return schedule.alpha_bars[level] if level else 1.0


def posterior(schedule: Schedule, x: Tensor, output: Tensor, level: int) -> tuple[Tensor, float]:
    """Mean (m, c, h, w) and variance of q(x_{k-1} | x_k, x_0) at level k >= 1, given the U-Net's output for (x, t_k).

    At level 1 the mean is the predicted clean latent and the variance 0.
    """
    x0, _ = schedule.split(x, output, level)
    here, there = _alpha_bar(schedule, level), _alpha_bar(schedule, level - 1)
    alpha = here / there
    variance = (1 - alpha) * (1 - there) / (1 - here)
    mean = math.sqrt(there) * (1 - alpha) / (1 - here) * x0 + math.sqrt(alpha) * (1 - there) / (1 - here) * x
    return mean, variance


def diffuse(schedule: Schedule, x: Tensor, noise: Tensor, level: int) -> Tensor:
    """One forward step from level k to k + 1: q(x_{k+1} | x_k)."""
    alpha = _alpha_bar(schedule, level + 1) / _alpha_bar(schedule, level)
    return math.sqrt(alpha) * x + math.sqrt(1 - alpha) * noise
