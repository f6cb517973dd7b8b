"""Measure the shipped ToyBox models on held-out scenes: ``python -m bench.toybox.evaluate [--captions N]``.

Writes the table into the model card and exits 1 while a row falls short. The models are loaded with the libraries' own loaders
(diffusers, open_clip, transformers), so a passing run also shows that the folders are what they claim to be.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
from safetensors import safe_open
from torch import Tensor
from transformers import ResNetForImageClassification

from bench.toybox.embedded import TOYBOX
from bench.toybox.manifests import SEEDS as MANIFEST_SEEDS
from bench.toybox.manifests import SIZES, edits
from bench.toybox.stages.data import Pool, draw, to_unit
from bench.toybox.stages.features import HEADS, labels_of, split_heads
from bench.toybox.vocabulary import all_captions
from bench.toybox.world import Scene, render

__all__ = ["Row", "classify", "generate", "load_pipeline", "main", "measure"]

CARD = Path(__file__).parent / "MODEL_CARD.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
GUIDANCE, STEPS = 4.0, 25
EVALUATION_SEED = 900_000
"""Training draws its scenes from seeds below 10,000 per stage; evaluation scenes come from here on."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    measured: float
    target: float
    unit: str
    count: int

    @property
    def met(self) -> bool:
        return self.measured >= self.target


def _images(pool: Pool) -> Iterator[Tensor]:
    yield from to_unit(pool.images).split(64)


@torch.no_grad()
def autoencoder_psnr(vae: AutoencoderKL, pool: Pool) -> float:
    """Mean over pictures of the reconstruction PSNR in dB, colours in [0, 1]."""
    values = []
    for x in _images(pool):
        y = vae.decode(vae.encode(x).latent_dist.mean).sample.clamp(-1, 1)
        values.append(-10 * torch.log10(((x - y) / 2).square().mean((1, 2, 3))))
    return float(torch.cat(values).mean())


@torch.no_grad()
def classify(network: ResNetForImageClassification, images: Tensor) -> dict[str, Tensor]:
    """The index of the label that each head reads, (n,) each, from pictures (n, 3, 64, 64) in [-1, 1]."""
    logits = torch.cat([network(pixel_values=x).logits for x in images.split(64)])
    return {head: scores.argmax(1) for head, scores in split_heads(logits).items()}


def accuracy(read: dict[str, Tensor], scenes: list[Scene]) -> dict[str, float]:
    """The share of pictures whose head reads what the scene says."""
    truth = torch.tensor([labels_of(scene) for scene in scenes])
    return {head: float((read[head] == truth[:, i]).float().mean()) for i, head in enumerate(HEADS)}


def load_pipeline(folder: Path) -> StableDiffusionPipeline:
    """The generator as diffusers itself loads it, float32, DDIM, without a progress bar."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, requires_safety_checker=False)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def generate(pipeline: StableDiffusionPipeline, captions: list[str], seed: int, batch: int = 50) -> Tensor:
    """One picture a caption, (n, 3, 64, 64) in [-1, 1]; each starts from noise of its own seed."""
    parts = []
    for start in range(0, len(captions), batch):
        texts = captions[start : start + batch]
        generators = [torch.Generator().manual_seed(seed + start + i) for i in range(len(texts))]
        images = pipeline(
            texts, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generators, output_type="np"
        ).images
        parts.append(torch.from_numpy(np.asarray(images)).permute(0, 3, 1, 2) * 2 - 1)
        print(f"generated {start + len(texts)} of {len(captions)}", file=sys.stderr, flush=True)
    return torch.cat(parts)


@torch.no_grad()
def _judge_text(judge: torch.nn.Module, folder: Path, texts: list[str]) -> Tensor:
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(texts)
    return torch.cat([judge.encode_text(part, normalize=True) for part in tokens.split(128)])


@torch.no_grad()
def _judge_images(judge: torch.nn.Module, images: Tensor) -> Tensor:
    return torch.cat([judge.encode_image(x, normalize=True) for x in images.split(64)])


def judge_rows(folder: Path, pool: Pool) -> list[Row]:
    """Retrieval over the whole grammar on real renders, and preference for the ground truth on the manifest.

    For the judge or the ranker, whichever the folder holds.
    """
    judge = open_clip.create_model(f"local-dir:{folder}", require_pretrained=True).eval()
    captions = all_captions()
    best = (_judge_images(judge, to_unit(pool.images)) @ _judge_text(judge, folder, captions).T).argmax(1)
    hits = [captions[int(i)] == scene.caption for i, scene in zip(best, pool.scenes, strict=True)]
    manifest = edits(SIZES["toybox"], MANIFEST_SEEDS["toybox"])
    text = _judge_text(judge, folder, [e.target.caption for e in manifest])
    before = _judge_images(judge, to_unit(np.stack([render(e.source).image for e in manifest])))
    after = _judge_images(judge, to_unit(np.stack([render(e.target).image for e in manifest])))
    preferred = ((after * text).sum(1) > (before * text).sum(1)).float().mean()
    return [
        Row(
            f"{folder.name}: right caption among all {len(captions)} of the grammar, real renders",
            100 * float(np.mean(hits)),
            97,
            "%",
            len(hits),
        ),
        Row(
            f"{folder.name}: prefers the ground truth to the source for the target text",
            100 * float(preferred),
            99,
            "%",
            len(manifest),
        ),
    ]


def measure(models: Path, captions: int) -> list[Row]:
    """Every row of the table for the models in a folder; ``captions`` pictures are generated, a fifth of them on unseen pairs."""
    pipeline = load_pipeline(models / "generator")
    network = ResNetForImageClassification.from_pretrained(models / "features").eval()
    real = draw(600, EVALUATION_SEED, include_held_out=True)
    rows = [Row("autoencoder: reconstruction PSNR", autoencoder_psnr(pipeline.vae, real), 30, "dB", len(real))]
    for seen, count in (("seen", captions - captions // 5), ("unseen", captions // 5)):
        pool = draw(count, EVALUATION_SEED + 1 + (seen == "unseen"), only_held_out=seen == "unseen")
        images = generate(pipeline, [scene.caption for scene in pool.scenes], seed=EVALUATION_SEED)
        read = accuracy(classify(network, images), pool.scenes)
        targets = {"object": 90, "background": 95} if seen == "seen" else {"object": 75, "background": 90}
        rows += [
            Row(f"generator: right {head}, {seen} pairs", 100 * read[head], target, "%", count)
            for head, target in targets.items()
        ]
    read = accuracy(classify(network, to_unit(real.images)), real.scenes)
    rows += [
        Row(f"features: right {head}, real renders", 100 * read[head], 99, "%", len(real))
        for head in ("object", "state", "background")
    ]
    return rows + judge_rows(models / "judge", real) + judge_rows(models / "ranker", real)


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    lines = ["| what | measured | must reach | n | |", "|---|---|---|---|---|"]
    lines += [
        f"| {r.what} | {r.measured:.1f} {r.unit} | {r.target:g} {r.unit} | {r.count} | {'met' if r.met else '**short**'} |"
        for r in rows
    ]
    return "\n".join(lines)


def training_table(models: Path) -> str:
    """How each model was made, in Markdown, from ``training.json`` and the calibration of the distance."""
    made = json.loads((models / "training.json").read_text())
    lines = ["| stage | steps | minutes | seed | device | torch | date |", "|---|---|---|---|---|---|---|"]
    lines += [
        f"| {stage} | {m['steps']:,} | {m['minutes']} | {m['seed']} | {m['device']}, {m['machine']} | {m['torch']} | {m['date']} |"
        for stage, m in made.items()
    ]
    with safe_open(models / "features" / "lpips.safetensors", framework="pt") as file:
        agreement = float(file.metadata()["two_alternative_agreement"])
    note = f"The calibrated distance agrees with the known strength in {100 * agreement:.1f} % of held-out two-alternative comparisons."
    return "\n".join([*lines, "", note])


def write_card(card: Path, rows: list[Row], models: Path) -> None:
    """Replace the measured part of the model card."""
    text = card.read_text()
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    note = f"Generated pictures: DDIM, {STEPS} steps, guidance {GUIDANCE:g}, float32. Scenes come from seeds that training never draws."
    card.write_text(f"{head}{BEGIN}\n{table(rows)}\n\n{note}\n\n{training_table(models)}\n{END}{tail}")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.toybox.evaluate", description=__doc__)
    parser.add_argument("--captions", type=int, default=1000, help="pictures to generate (default 1000)")
    parser.add_argument("--models", type=Path, default=TOYBOX)
    parser.add_argument("--card", type=Path, default=CARD)
    given = parser.parse_args(arguments)
    rows = measure(given.models, given.captions)
    write_card(given.card, rows, given.models)
    print(table(rows))
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
