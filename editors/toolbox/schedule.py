"""DDIM, DDPM and rectified flows written out: the noise levels of a checkpoint's schedule and the steps between them.

Levels count from 0, the clean latent, to n, the noisiest. Level k >= 1 carries the noise of timestep t_k; the schedule
of a checkpoint (``timestep_spacing``, ``steps_offset``) says which timesteps those are. Level 0 has the cumulative alpha
that the checkpoint's scheduler ends with: that of timestep 0 under Stable Diffusion's ``set_alpha_to_one=False``. Of a flow,
level 0 is free of noise, and level k has a share sigma_k of it.

Source: Song et al., Denoising Diffusion Implicit Models (arXiv 2010.02502), Eq. 12 with sigma = 0. The ancestral (DDPM) steps, down with
fresh noise and up again: Ho et al., Denoising Diffusion Probabilistic Models (arXiv 2006.11239), Eq. 6 and 7 (the posterior), Eq. 2 (the
way up), with alpha_k = abar_k / abar_{k-1} between the levels of a respaced schedule; there the clean level 0 carries no noise at all.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from editors.task import EditorError

__all__ = [
    "DiffusionSchedule",
    "FlowSchedule",
    "Schedule",
    "diffuse",
    "flow_scheduler",
    "noise_scheduler",
    "posterior",
    "posterior_inverse",
    "share_of_steps",
]


def noise_scheduler(config: Mapping[str, Any]) -> DDIMScheduler:
    """The DDIM scheduler of a checkpoint whose own scheduler may be another class (PNDM in Stable Diffusion 1).

    It is used for its tables, ``alphas_cumprod`` and timesteps, only. Options that are not tables, such as
    ``clip_sample``, have no effect here: latents have no range to be clipped to.
    Raises ``EditorError`` on a prediction type other than ``epsilon`` and ``v_prediction``, and on tables that cannot be made.
    """
    scheduler: DDIMScheduler = _scheduler(DDIMScheduler, config)
    if scheduler.config.prediction_type not in ("epsilon", "v_prediction"):
        raise EditorError(f"prediction_type {scheduler.config.prediction_type!r}: expected 'epsilon' or 'v_prediction'")
    return scheduler


def flow_scheduler(config: Mapping[str, Any]) -> FlowMatchEulerDiscreteScheduler:
    """The scheduler of a rectified flow, used for its levels only. Raises ``EditorError`` on levels that cannot be made, or run upwards."""
    scheduler: FlowMatchEulerDiscreteScheduler = _scheduler(FlowMatchEulerDiscreteScheduler, config)
    if scheduler.config.invert_sigmas or scheduler.config.stochastic_sampling:
        raise EditorError("scheduler_config.json has inverted or stochastic levels, expected those of an ordinary flow")
    return scheduler


def _scheduler(kind: Any, config: Mapping[str, Any]) -> Any:
    """A scheduler of diffusers made of those entries that it knows. Raises ``EditorError``."""
    known = {key: value for key, value in config.items() if key in kind._get_init_keys(kind)}
    try:
        return kind.from_config(known)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise EditorError(f"scheduler_config.json makes no schedule: {str(error).splitlines()[0][:200]}") from error


def share_of_steps(share: float, steps: int) -> int:
    """``share`` of ``steps`` rounded to the nearest whole number, halves up.

    Truncation, the habit of the reference pipelines, makes 28 of 50 x 0.58, whose product is 28.999...; the small
    allowance keeps such products on the side they would be on without float error.
    """
    return math.floor(share * steps + 0.5 + 1e-9)


class Schedule(ABC):
    """n noise levels above the clean one, and what moves a latent between them. Latents are float32 (m, c, h, w)."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """n, the noisiest level."""

    def level(self, share: float) -> int:
        """The level after ``share`` (0..1) of the schedule: so many steps a partial edit executes."""
        return share_of_steps(share, self.steps)

    @abstractmethod
    def timestep(self, level: int) -> float:
        """t_k for level k = 1..n, which the network is given."""

    @abstractmethod
    def q_sample(self, x0: Tensor, noise: Tensor, level: int) -> Tensor:
        """Noise a clean latent to a level. Level 0 is the latent itself."""

    @abstractmethod
    def split(self, x: Tensor, output: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """The clean latent and the noise that the network's output at a level k >= 1 stands for."""

    @abstractmethod
    def ddim_step(self, x: Tensor, output: Tensor, level: int) -> Tensor:
        """From level k to k - 1, given the network's output for (x, t_k), without fresh noise: DDIM's step, Euler's of a flow."""

    @abstractmethod
    def ddim_inverse_step(self, x: Tensor, output: Tensor, level: int) -> Tensor:
        """From level k - 1 to k: the solution of ``ddim_step(result, output, level) = x``.

        Exact where the output is the one at level k; inversion has only x at level k - 1 to predict it from.
        """


@dataclass(frozen=True)
class DiffusionSchedule(Schedule):
    """The levels of a diffusion model: sqrt(abar_k) of the picture and sqrt(1 - abar_k) of noise."""

    timesteps: tuple[int, ...]
    """t_1 < ... < t_n."""
    alpha_bars: tuple[float, ...]
    """Cumulative alphas of levels 0..n, falling."""
    v_prediction: bool = False
    """The U-Net predicts v (Salimans and Ho, arXiv 2202.00512) rather than epsilon."""

    @classmethod
    def of(cls, scheduler: DDIMScheduler, steps: int) -> DiffusionSchedule:
        """The levels of ``steps`` DDIM steps. Raises ``EditorError`` where the checkpoint has no such schedule."""
        try:
            scheduler.set_timesteps(steps)
            return cls.at(scheduler, sorted(int(t) for t in scheduler.timesteps))
        except (ValueError, IndexError) as error:
            trained = scheduler.config.num_train_timesteps
            raise EditorError(f"steps: {steps} steps do not fit a schedule of {trained} timesteps ({error})") from None

    @classmethod
    def at(cls, scheduler: DDIMScheduler, times: Sequence[int]) -> DiffusionSchedule:
        """The levels at given timesteps, ascending, each below the number that the model was trained on."""
        alphas = [float(scheduler.final_alpha_cumprod), *(float(scheduler.alphas_cumprod[t]) for t in times)]
        return cls(tuple(times), tuple(alphas), scheduler.config.prediction_type == "v_prediction")

    @property
    def steps(self) -> int:
        return len(self.timesteps)

    def timestep(self, level: int) -> int:
        return self.timesteps[level - 1]

    def q_sample(self, x0: Tensor, noise: Tensor, level: int) -> Tensor:
        """sqrt(abar) x0 + sqrt(1 - abar) noise; level 0 is the latent itself."""
        if level == 0:
            return x0
        alpha_bar = self.alpha_bars[level]
        return math.sqrt(alpha_bar) * x0 + math.sqrt(1 - alpha_bar) * noise

    def split(self, x: Tensor, output: Tensor, level: int) -> tuple[Tensor, Tensor]:
        signal, sigma = math.sqrt(self.alpha_bars[level]), math.sqrt(1 - self.alpha_bars[level])
        if self.v_prediction:
            return signal * x - sigma * output, signal * output + sigma * x
        return (x - sigma * output) / signal, output

    def ddim_step(self, x: Tensor, output: Tensor, level: int) -> Tensor:
        x0, eps = self.split(x, output, level)
        alpha_bar = self.alpha_bars[level - 1]
        return math.sqrt(alpha_bar) * x0 + math.sqrt(1 - alpha_bar) * eps

    def ddim_inverse_step(self, x: Tensor, output: Tensor, level: int) -> Tensor:
        here, there = self.alpha_bars[level - 1], self.alpha_bars[level]
        cosine = math.sqrt(here * there) + math.sqrt((1 - here) * (1 - there))
        sine = math.sqrt((1 - here) * there) - math.sqrt(here * (1 - there))
        if self.v_prediction:
            return (x - sine * output) / cosine
        return (math.sqrt(there) * x - sine * output) / math.sqrt(here)


@dataclass(frozen=True)
class FlowSchedule(Schedule):
    """The levels of a rectified flow (arXiv 2209.03003): 1 - sigma_k of the picture and sigma_k of noise, whose network predicts the
    velocity, noise less picture.
    """

    sigmas: tuple[float, ...]
    """Of levels 0..n, rising from 0."""
    trained: int = 1000
    """Timesteps are sigmas times this."""

    @classmethod
    def of(cls, scheduler: FlowMatchEulerDiscreteScheduler, steps: int, *, tokens: int, evenly: bool) -> FlowSchedule:
        """The levels of ``steps`` Euler steps. Where the scheduler shifts them by the number of ``tokens`` that a picture has, it is on
        a line between two numbers and their shifts (arXiv 2403.03206, section 5.3.2, as FLUX.1 has it). ``evenly`` begins with
        1, 1 - 1/n, ..., 1/n. Raises ``EditorError`` where there are no such levels.
        """
        config = scheduler.config
        slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
        shift = config.base_shift + slope * (tokens - config.base_image_seq_len)
        try:
            scheduler.set_timesteps(
                None if evenly else steps,
                sigmas=[1 - i / steps for i in range(steps)] if evenly else None,
                mu=shift if config.use_dynamic_shifting else None,
            )
        except (ValueError, ZeroDivisionError) as error:
            raise EditorError(f"steps: {steps} steps do not make a schedule ({error})") from None
        return cls(tuple(reversed([float(sigma) for sigma in scheduler.sigmas])), int(config.num_train_timesteps))

    @property
    def steps(self) -> int:
        return len(self.sigmas) - 1

    def timestep(self, level: int) -> float:
        return self.sigmas[level] * self.trained

    def q_sample(self, x0: Tensor, noise: Tensor, level: int) -> Tensor:
        """(1 - sigma) x0 + sigma noise."""
        return (1 - self.sigmas[level]) * x0 + self.sigmas[level] * noise

    def split(self, x: Tensor, output: Tensor, level: int) -> tuple[Tensor, Tensor]:
        return x - self.sigmas[level] * output, x + (1 - self.sigmas[level]) * output

    def ddim_step(self, x: Tensor, output: Tensor, level: int) -> Tensor:
        return x - (self.sigmas[level] - self.sigmas[level - 1]) * output

    def ddim_inverse_step(self, x: Tensor, output: Tensor, level: int) -> Tensor:
        return x + (self.sigmas[level] - self.sigmas[level - 1]) * output


def _alpha_bar(schedule: DiffusionSchedule, level: int) -> float:
    return schedule.alpha_bars[level] if level else 1.0


def posterior(schedule: DiffusionSchedule, x: Tensor, output: Tensor, level: int) -> tuple[Tensor, float]:
    """Mean (m, c, h, w) and variance of q(x_{k-1} | x_k, x_0) at level k >= 1, given the U-Net's output for (x, t_k).

    At level 1 the mean is the predicted clean latent and the variance 0.
    """
    x0, _ = schedule.split(x, output, level)
    here, there = _alpha_bar(schedule, level), _alpha_bar(schedule, level - 1)
    alpha = here / there
    variance = (1 - alpha) * (1 - there) / (1 - here)
    mean = math.sqrt(there) * (1 - alpha) / (1 - here) * x0 + math.sqrt(alpha) * (1 - there) / (1 - here) * x
    return mean, variance


def posterior_inverse(schedule: DiffusionSchedule, mean: Tensor, output: Tensor, level: int) -> Tensor:
    """From level k - 1 to k: the x whose ``posterior`` has that mean, given the U-Net's output at level k, in which it is linear."""
    offset, _ = posterior(schedule, torch.zeros_like(mean), output, level)
    slope, _ = posterior(schedule, torch.ones_like(mean), torch.zeros_like(mean), level)
    return (mean - offset) / slope


def diffuse(schedule: DiffusionSchedule, x: Tensor, noise: Tensor, level: int) -> Tensor:
    """One forward step from level k to k + 1: q(x_{k+1} | x_k)."""
    alpha = _alpha_bar(schedule, level + 1) / _alpha_bar(schedule, level)
    return math.sqrt(alpha) * x + math.sqrt(1 - alpha) * noise
