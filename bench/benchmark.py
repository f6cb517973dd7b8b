"""``make bench``: our sweeps against diffusers' own pipelines on the ToyBox folder, same grid, same steps, in one run.

    python -m bench.benchmark [--samples N] [--repeats N]

Prints, for each sweep, wall seconds, CPU seconds and samples through the U-Net on both sides, and their ratios; times are medians of
the repeats, which alternate so that a noisy machine is noisy for both. The pipelines are called as their users call them, once a
knob value; what can be shared between values is therefore shared on our side only, and that is what is measured.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from bench.manifest import Sample, open_manifest
from bench.models import TOYBOX
from bench.spec import load_spec
from editors.base import EditTask
from editors.diffedit import DiffEdit
from editors.diffusion import DiffusionModel
from editors.sdedit import SDEdit

__all__ = ["Cost", "main"]

STEPS, GUIDANCE = 50, 7.5
GRID = tuple(round(0.1 * k, 1) for k in range(1, 11))


@dataclass(frozen=True)
class Cost:
    """What one sweep took."""

    wall: float
    cpu: float
    unet_samples: int


def _measure(sweep: Callable[[], None], counter: Callable[[], int]) -> Cost:
    before, wall, cpu = counter(), time.perf_counter(), time.process_time()
    sweep()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu, counter() - before)


def _count_calls(unet: Any) -> Callable[[], int]:
    total = 0

    def hook(_module: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        nonlocal total
        total += len(given[0] if given else named["sample"])

    unet.register_forward_pre_hook(hook, with_kwargs=True)
    return lambda: total


def _pipelines() -> dict[str, Any]:
    from diffusers import (
        DDIMInverseScheduler,
        DDIMScheduler,
        StableDiffusionDiffEditPipeline,
        StableDiffusionImg2ImgPipeline,
    )

    options: dict[str, Any] = {"safety_checker": None, "requires_safety_checker": False, "torch_dtype": torch.float32}
    made = {
        "diffedit": StableDiffusionDiffEditPipeline.from_pretrained(TOYBOX / "generator", **options),
        "sdedit": StableDiffusionImg2ImgPipeline.from_pretrained(TOYBOX / "generator", **options),
    }
    for pipeline in made.values():
        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
    made["diffedit"].inverse_scheduler = DDIMInverseScheduler.from_config(made["diffedit"].scheduler.config)
    return made


def _theirs(name: str, pipeline: Any, sample: Sample) -> Callable[[], None]:
    picture = Image.fromarray(sample.image)

    def sdedit() -> None:
        for strength in GRID:
            generator = torch.Generator().manual_seed(0)
            pipeline(
                sample.target_text,
                image=picture,
                strength=strength,
                num_inference_steps=STEPS,
                guidance_scale=GUIDANCE,
                generator=generator,
            )

    def diffedit() -> None:
        generator = torch.Generator().manual_seed(0)
        mask = pipeline.generate_mask(
            picture, source_prompt="", target_prompt=sample.target_text, num_inference_steps=STEPS, generator=generator
        )
        for ratio in GRID:
            latents = pipeline.invert(
                "", image=picture, inpaint_strength=ratio, guidance_scale=1.0, num_inference_steps=STEPS, generator=generator
            ).latents
            pipeline(
                sample.target_text,
                mask_image=mask,
                image_latents=latents,
                inpaint_strength=ratio,
                num_inference_steps=STEPS,
                guidance_scale=GUIDANCE,
                generator=generator,
            )

    return {"sdedit": sdedit, "diffedit": diffedit}[name]


def _ours(name: str, model: DiffusionModel, sample: Sample) -> Callable[[], None]:
    editor_class: Any = {"sdedit": SDEdit, "diffedit": DiffEdit}[name]
    editor = editor_class(model, editor_class.resolve("paper", {"steps": STEPS, "guidance": GUIDANCE}))
    task = EditTask(np.asarray(sample.image), sample.target_text, sample.source_text, sample.mask, seed=0)

    def sweep() -> None:
        editor.render(editor.prepare(task), GRID)

    return sweep


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.benchmark", description="Time our sweeps against diffusers' pipelines."
    )
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    manifest = open_manifest(load_spec("ci").manifest, 64)
    samples = [manifest.load(i) for i in range(given.samples)]
    model = DiffusionModel.load(TOYBOX / "generator")
    pipelines = _pipelines()
    print(
        f"{len(GRID)} knob values, {STEPS} steps, {len(samples)} samples, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print(f"{'sweep':<10}{'':<10}{'wall s':>9}{'CPU s':>9}{'U-Net samples':>15}")
    for name, pipeline in pipelines.items():
        counter = _count_calls(pipeline.unet)
        costs: dict[str, list[Cost]] = {"diffusers": [], "etabench": []}
        for sample in samples * given.repeats:
            costs["diffusers"].append(_measure(_theirs(name, pipeline, sample), counter))
            costs["etabench"].append(_measure(_ours(name, model, sample), lambda: model.unet_evaluations))
        middle = {
            who: Cost(statistics.median(c.wall for c in cost), statistics.median(c.cpu for c in cost), cost[0].unet_samples)
            for who, cost in costs.items()
        }
        for who, c in middle.items():
            print(f"{name:<10}{who:<10}{c.wall:>9.2f}{c.cpu:>9.2f}{c.unet_samples:>15}")
        a, b = middle["diffusers"], middle["etabench"]
        print(f"{name:<10}{'ratio':<10}{a.wall / b.wall:>9.2f}{a.cpu / b.cpu:>9.2f}{a.unet_samples / b.unet_samples:>15.2f}")


if __name__ == "__main__":
    main()
