"""Sweeps of our editors against diffusers' pipelines: same weights, pictures, grid and steps.

Each side of each sweep runs in a process of its own, sides in turn; numbers are medians over the repeats. The pipelines are called
as their users call them, once a picture and knob value: what can be shared between values and pictures is shared on our side only,
and that is what is measured. Several numbers of pictures show what the batch adds: ours go through inversion, sweep and decoding
together. What is compared:

- ``sdedit`` with ``StableDiffusionImg2ImgPipeline``.
- ``diffedit`` with ``StableDiffusionDiffEditPipeline``, with the unguided inversion of the paper, so that both sides invert alike,
  and with the pipeline's own defaults, an inversion with guidance 7.5 under the source text.
- ``imagic`` with the community pipeline ``imagic_stable_diffusion``, which diffusers does not install: a stand-in of ours does the
  same work with the same number of fit steps as our side, full fine-tuning and one draw a step on both. ``a fit per eta`` is a
  runner that takes an edit as one call; its ratio tends to the number of etas as the fit grows. ``one fit`` is a runner that keeps
  the fit, so that only the sampling differs; its ratio tends to 1. The paper's fit is 2500 steps; the default here is short.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.benchmarks.measure import Cost, Outcome, answer, in_turn, measured, passes, table

if TYPE_CHECKING:
    from bench.benchmarks.peers import Sweep

__all__ = ["add_arguments", "counted", "our_job", "run"]

OURS = "etabench"
SWEEPS = ("diffedit", "sdedit", "imagic")
GRID = tuple(round(0.1 * k, 1) for k in range(1, 11))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--sweeps", nargs="+", choices=SWEEPS, default=list(SWEEPS))
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 4], help="numbers of pictures; ours are made in one batch")
    parser.add_argument("--no-batch", action="store_true", help="ours one picture after another")
    parser.add_argument("--steps", type=int, default=50, help="at least 10: the pipelines cannot do a share of less than a step")
    parser.add_argument("--guidance", type=float, default=7.5)
    parser.add_argument(
        "--fit-steps", type=int, nargs=2, default=(20, 30), help="imagic: steps on embedding and U-Net, both sides"
    )
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")


def run(given: argparse.Namespace) -> None:
    """Measure and print."""
    from bench.benchmarks.peers import PEERS

    settings = {key: value for key, value in vars(given).items() if key not in ("part", "sweeps", "samples", "repeats")}
    batch = "one by one" if given.no_batch else "in one batch"
    print(f"{len(GRID)} knob values, {given.steps} steps, {given.threads} threads, {given.device}; ours {batch}")
    for sweep in given.sweeps:
        for samples in given.samples:
            sides, job = (*PEERS[sweep], OURS), {**settings, "sweep": sweep, "samples": samples}
            found = in_turn("bench.benchmarks.editors", sides, job, given.repeats)
            fit = f" ({' + '.join(map(str, given.fit_steps))} fit steps)" if sweep == "imagic" else ""
            print(f"\n{sweep}{fit}, samples: {samples}")
            print(table({side: outcome.costs["sweep"] for side, outcome in found.items()}, OURS), flush=True)


def _one_side(settings: dict[str, Any]) -> Outcome:
    os.environ["OMP_NUM_THREADS"] = str(settings["threads"])
    import torch

    from bench.benchmarks.peers import PEERS
    from bench.manifest import open_manifest
    from bench.spec import load_spec

    warnings.simplefilter("ignore")
    torch.set_num_threads(settings["threads"])
    manifest = open_manifest(load_spec("ci").manifest, 64)
    samples = [manifest.load(i) for i in range(settings["samples"])]
    sweep, device = settings["sweep"], settings["device"]
    if settings["side"] == OURS:
        return Outcome({"sweep": _ours(samples, settings)})
    peer = PEERS[sweep][settings["side"]]
    job = _work(samples, settings)
    pipeline = peer.load(device)
    _warm_up(pipeline.unet, pipeline.vae, device)
    return Outcome({"sweep": counted(lambda: peer.run(pipeline, job), pipeline.unet, device)})


def _work(samples: list[Any], settings: dict[str, Any]) -> Sweep:
    from PIL import Image

    from bench.benchmarks.peers import Sweep

    return Sweep(
        pictures=tuple(Image.fromarray(sample.image) for sample in samples),
        source_texts=tuple(sample.source_text or "" for sample in samples),
        target_texts=tuple(sample.target_text for sample in samples),
        values=GRID,
        steps=settings["steps"],
        guidance=settings["guidance"],
        fit_steps=tuple(settings["fit_steps"]),
    )


def _ours(samples: list[Any], settings: dict[str, Any]) -> Cost:
    from bench.toybox.embedded import TOYBOX
    from editors.base import EditTask
    from editors.toolbox.diffusion import DiffusionModel

    model = DiffusionModel.load(TOYBOX / "generator", device=settings["device"])
    tasks = [EditTask(sample.image.copy(), sample.target_text, sample.source_text, seed=i) for i, sample in enumerate(samples)]
    groups = [[task] for task in tasks] if settings["no_batch"] else [tasks]
    job = our_job(model, settings["sweep"], groups, _work(samples, settings))
    _warm_up(model.unet, model.vae, settings["device"])
    return counted(job, model.unet, settings["device"])


def our_job(model: Any, name: str, groups: Sequence[Sequence[Any]], work: Sweep) -> Callable[[], None]:
    """Our side of a sweep over tasks, those of a group together."""
    from bench.registry import load_editor

    overrides: dict[str, Any] = {"steps": work.steps, "guidance": work.guidance}
    if name == "imagic":
        overrides |= dict(zip(("embedding_steps", "unet_steps"), work.fit_steps, strict=True))
    cls = load_editor(name)
    editor = cls(model, cls.resolve("paper", overrides))

    def job() -> None:
        for together in groups:
            editor.render_many(editor.prepare_many(together), work.values)

    return job


def counted(job: Callable[[], object], unet: Any, device: str) -> Cost:
    """What a job took, with what it sent through the U-Net."""
    with passes(unet) as counts:
        cost = measured(job, device)
    return replace(cost, counts=counts)


def _warm_up(unet: Any, vae: Any, device: str) -> None:
    import torch

    with torch.no_grad():
        x = torch.zeros(1, unet.config.in_channels, 16, 16, device=device)
        unet(x, 1, torch.zeros(1, 4, unet.config.cross_attention_dim, device=device))
        vae.decode(x)


if __name__ == "__main__":
    answer(_one_side(json.loads(sys.argv[1])))
