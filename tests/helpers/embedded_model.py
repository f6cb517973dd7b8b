"""The embedded ToyBox model and tasks of its small manifest, loaded once for all parity tests."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from diffusers import DDIMScheduler
from PIL import Image as Pillow

from bench.manifest import open_manifest
from bench.spec import load_spec
from bench.toybox.embedded import TOYBOX
from editors import DiffusionModel, EditTask


@lru_cache
def _model() -> DiffusionModel:
    return DiffusionModel.load(TOYBOX / "generator")


def toybox() -> DiffusionModel:
    """The generator, its weights shared by all callers."""
    return _model().variant()


@lru_cache
def tasks(number: int) -> tuple[EditTask, ...]:
    """The first edits of the manifest that have a source text, with their masks, seeds 0, 1, ..."""
    manifest = open_manifest(load_spec("ci").manifest, 64)
    samples = [manifest.load(i) for i in range(number)]
    return tuple(
        EditTask(sample.image, sample.target_text, sample.source_text, sample.mask, seed) for seed, sample in enumerate(samples)
    )


def picture(task: EditTask) -> Pillow.Image:
    """The source as pipelines take it."""
    return Pillow.fromarray(task.image)


def pipeline(kind: Any, model: DiffusionModel, **others: Any) -> Any:
    """A diffusers pipeline of the same networks, with DDIM, quiet."""
    made = kind(
        vae=model.vae,
        unet=model.unet,
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        scheduler=DDIMScheduler.from_config(model.scheduler.config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        **others,
    )
    made.set_progress_bar_config(disable=True)
    return made
