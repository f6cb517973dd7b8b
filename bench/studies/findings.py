"""What the papers found, tried on ToyBox: ``python -m bench.studies.findings`` writes ``docs/findings.md`` again.

Every finding is a paired difference, positive where the paper is right, over scenes that nothing was trained or tuned on. Where the
interval lies above zero the finding holds here; where it lies below, ToyBox contradicts the paper; else it is not shown. A finding
that does not hold may be the world's doing, the model's, or ours.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import adaptive_max_pool2d

from bench.analysis.frontier import matched_gain
from bench.analysis.intervals import mean_interval, weighted_interval
from bench.analysis.paired import sign_flip
from bench.studies.laboratory import SEED, Floats, Laboratory, Measured, scenes
from bench.toybox.manifests import SceneEdit
from bench.toybox.world import render
from editors import EditTask
from editors.imagic import Imagic
from editors.toolbox.diffusion import derive_seed
from editors.toolbox.mask import MaskParams, auto_mask

__all__ = ["PaperClaim", "imagic", "main", "masks", "thin_masks", "tradeoffs"]

RATIOS = (0.1, 0.2, 0.3, 0.5, 0.8)
WHOLE = (*RATIOS, 1.0)
ETAS = Imagic.grids["toybox"]
READING = """## Reading it

- **Object changes** go as the DiffEdit paper says: mask above no mask, inversion above noise, and both above SDEdit. The threshold of
  0.75 is not worse at equal fidelity, but its masks are so small that far fewer edits succeed; that is how it is worse.
- **A reference text** helps where the empty text finds the wrong thing (a background to be replaced, an object to be added or
  removed), and costs a little where the object itself changes: the difference of two captions is then the object alone, and its
  silhouette is what both pictures share.
- **Imagic** reconstructs as claimed, and makes changes of state that masked editors do not. Where an edit may change the picture as much
  as the right one does, four in five succeed, and little more than half of those of DiffEdit and Blended Latent Diffusion, which a mask
  holds back: their curves end at a 1-LPIPS of 0.88 and 0.87. At equal fidelity both lie above it, but that compares where they are, among
  small changes, and not where Imagic edits. From SDEdit, which fits nothing, it is not told apart: one object before a simple background
  leaves little at 64 px that a fit keeps and noise does not. [What decides it](imagic.md) was tried on other scenes.
- **Success** at the true edits' 1-LPIPS is read off the mean curve there; a curve that does not come so far counts with its end. Scenes
  whose true edit CLIP scores less than 5 above the source are left out, since no edit of them can be told: a padlock that is to be
  locked.
- **Shrinking masks**: one cell of the 16 x 16 latent grid is 4 px, so a dilation of 7 cells covers near half of the picture; on the 64
  x 64 grid of Stable Diffusion it covers a ninth. The published kernels do not scale down to
  ToyBox, and smaller ones make no difference either.
"""
PAGE = Path(__file__).parents[2] / "docs" / "findings.md"


@dataclass(frozen=True)
class PaperClaim:
    """What a paper says, and the difference that would show it."""

    paper: str
    says: str
    measure: str
    difference: float
    low: float
    high: float
    p: float
    """Two-sided, by sign flips over scenes; NaN for a difference of curves, which has an interval only."""
    n: int

    @property
    def verdict(self) -> str:
        """``holds``, ``contradicted`` or ``not shown``."""
        if self.low > 0:
            return "holds"
        return "contradicted" if self.high < 0 else "not shown"


def tradeoffs(lab: Laboratory, count: int, leave_out: Collection[str] = ()) -> list[PaperClaim]:
    """DiffEdit's ablation and its threshold, on changes of the object, as in its ImageNet protocol; some variants may be left out."""
    drawn = lab.told(scenes(count, "object"))
    runs: Mapping[str, tuple[str, dict[str, Any]]] = {
        "DiffEdit": ("diffedit", {}),
        "DiffEdit without encoding": ("diffedit_no_encode", {}),
        "Encode-Decode": ("encode_decode", {}),
        "SDEdit": ("sdedit", {}),
        "threshold 0.25": ("diffedit", {"mask_threshold": 0.25}),
        "threshold 0.75": ("diffedit", {"mask_threshold": 0.75}),
    }
    chosen = {label: run for label, run in runs.items() if label not in leave_out}
    scores = {label: lab.edit(name, drawn, RATIOS, **params) for label, (name, params) in chosen.items()}
    pairs = (
        ("DiffEdit", "Encode-Decode"),
        ("Encode-Decode", "SDEdit"),
        ("DiffEdit", "DiffEdit without encoding"),
        ("DiffEdit", "threshold 0.25"),
        ("DiffEdit", "threshold 0.75"),
    )
    found = [_gain(scores[a], scores[b], f"{a} lies above {b}") for a, b in pairs if {a, b} <= scores.keys()]
    last = [scores[label].success[:, -1].astype(float) for label in ("DiffEdit", "threshold 0.75")]
    measure = f"share of edits that succeed at ratio {RATIOS[-1]:g}"
    return [*found, _paired(last[0] - last[1], "DiffEdit", "threshold 0.75 edits less than 0.5", measure)]


def masks(lab: Laboratory, count: int) -> list[PaperClaim]:
    """DiffEdit's automatic mask against the true one."""
    drawn, model = scenes(count), lab.model
    schedule, rng = model.schedule(25), np.random.default_rng(SEED)
    table = []
    for number, scene in enumerate(drawn):
        task = EditTask(
            render(scene.source).image.copy(),
            scene.target.caption,
            scene.source.caption,
            seed=derive_seed(SEED, str(number)),
        )
        x0 = model.encode(task.image)
        target, empty = model.embed_pair(task.target_text)
        true = adaptive_max_pool2d(torch.from_numpy(scene.mask.copy()).float()[None], x0.shape[-2:])[0].bool().numpy()
        found = [
            auto_mask(
                model, schedule, MaskParams.model_validate({"use_source_text": text}), task, x0=x0, target=target, empty=empty
            )
            .cells[0, 0]
            .numpy()
            for text in (False, True)
        ]
        shuffled = [rng.permutation(found[0].ravel()).reshape(true.shape) for _ in range(20)]
        table.append([*(_iou(each, true) for each in found), float(np.mean([_iou(each, true) for each in shuffled]))])
    empty_text, source_text, chance = np.array(table).T
    small = np.array([scene.category in ("add", "remove", "background") for scene in drawn])
    measure = f"IoU with the true mask; automatic mask {empty_text.mean():.2f}, random one of its area {chance.mean():.2f}"
    sharper = "IoU with the source text as reference ({:.2f}) less with the empty text ({:.2f}), {}"
    rows = [_paired(empty_text - chance, "DiffEdit", "the automatic mask finds what has to change", measure)]
    for which, name in (
        (np.full(len(drawn), True), "all edits"),
        (small, "add, remove, background"),
        (~small, "object, state, colour"),
    ):
        text = sharper.format(source_text[which].mean(), empty_text[which].mean(), name)
        rows.append(_paired((source_text - empty_text)[which], "DiffEdit", "a reference text sharpens the mask", text))
    return rows


def imagic(lab: Laboratory, count: int) -> list[PaperClaim]:
    """Imagic's ablation of fine-tuning, and changes of state, which other editors are said not to make."""
    drawn = lab.told(scenes(2 * count, "state"))[:count]
    tuned = lab.edit("imagic", drawn, ETAS)
    frozen = lab.edit("imagic", drawn, ETAS[:1], unet_steps=0)
    measure = "1-LPIPS to the source at eta 0"
    gap = (tuned.fidelity - frozen.fidelity)[:, 0]
    rows = [_paired(gap, "Imagic", "fine-tuning reconstructs better than the embedding alone", measure)]
    others: Mapping[str, tuple[str, dict[str, Any]]] = {
        "DiffEdit": ("diffedit", {}),
        "Blended Latent Diffusion with an automatic mask": ("blended_latent", {"use_manifest_mask": False}),
        "SDEdit": ("sdedit", {}),
    }
    truths = lab.ends(drawn).fidelity[:, 1]
    for label, (name, params) in others.items():
        other = lab.edit(name, drawn, WHOLE, **params)
        rows.append(_success(tuned, other, truths, f"makes changes of state that {label} does not"))
        rows.append(_gain(tuned, other, f"lies above {label} on changes of state", "Imagic"))
    return rows


def thin_masks(lab: Laboratory, count: int) -> list[PaperClaim]:
    """Blended Latent Diffusion's progressive mask shrinking, on masks one or two latent cells wide."""
    drawn = lab.told(scenes(count, "add", "object"))
    plain = lab.edit("blended_latent", drawn, (1.0,), mask=_strip, dilations=(1,))
    rows = []
    for dilations, kernels in (((7, 5, 3, 1), ""), ((3, 1), ", kernels 3-1 for the smaller grid")):
        shrinking = lab.edit("blended_latent", drawn, (1.0,), mask=_strip, dilations=dilations)
        measure = f"CLIP score at strength 1 inside a strip eight pixels wide{kernels}"
        gap = (shrinking.clip - plain.clip)[:, 0]
        rows.append(_paired(gap, "Blended Latent Diffusion", "shrinking masks edit thin masks better", measure))
    return rows


def _strip(scene: SceneEdit, width: int = 8) -> NDArray[np.bool_]:
    """A vertical strip through the middle of the true mask, as high as it."""
    rows, columns = np.nonzero(scene.mask)
    left = max(int(np.median(columns)) - width // 2, 0)
    strip = np.zeros_like(scene.mask)
    strip[rows.min() : rows.max() + 1, left : left + width] = True
    return strip


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    union = int((one | other).sum())
    return float((one & other).sum() / union) if union else 1.0


def _paired(differences: Floats, paper: str, says: str, measure: str) -> PaperClaim:
    interval = mean_interval(differences, [str(number) for number in range(len(differences))])
    p = float(sign_flip(differences[None])[0])
    return PaperClaim(paper, says, measure, interval.mean, interval.low, interval.high, p, len(differences))


def _gain(one: Measured, other: Measured, says: str, paper: str = "DiffEdit") -> PaperClaim:
    """Difference of the mean curves in CLIP score at equal 1-LPIPS, with the jackknife's interval over scenes."""

    def gains(weights: Floats) -> Floats:
        return np.array([matched_gain(*row)[0] for row in zip(*one.means(weights), *other.means(weights), strict=True)])

    n = len(one.clip)
    return PaperClaim(paper, says, "CLIP score at equal 1-LPIPS", *weighted_interval(gains, n), np.nan, n)


def _success(one: Measured, other: Measured, truths: Floats, says: str) -> PaperClaim:
    """Difference of the shares that succeed at the mean fidelity of the true edits, (n,), with the jackknife's interval."""

    def at_truths(weights: Floats) -> tuple[Floats, Floats]:
        level = weights @ truths / weights.sum(axis=1)
        return one.success_at(level, weights), other.success_at(level, weights)

    n = len(truths)
    mine, others = (float(share[0]) for share in at_truths(np.ones((1, n))))
    measure = f"share that succeeds at the true edits' 1-LPIPS ({truths.mean():.2f}); {mine:.2f} and {others:.2f}"
    interval = weighted_interval(lambda weights: np.subtract(*at_truths(weights)), n)
    return PaperClaim("Imagic", says, measure, *interval, np.nan, n)


EXPERIMENTS: tuple[tuple[Callable[[Laboratory, int], list[PaperClaim]], int], ...] = (
    (tradeoffs, 40),
    (masks, 96),
    (imagic, 40),
    (thin_masks, 40),
)
"""Experiments and the scenes of each."""


def page(findings: Sequence[PaperClaim]) -> str:
    """The table in Markdown."""
    lines = [
        "# What the papers found, tried on ToyBox",
        "",
        (__doc__ or "").split("\n\n", 1)[1].strip(),
        "",
        "Written by `python -m bench.studies.findings`. Intervals are 95 %, over scenes; p by sign flips over scenes.",
        "",
        "| paper | claim | measured difference of | difference | interval | p | scenes | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for f in findings:
        digits = 3 if abs(f.high - f.low) <= 1 else 1
        p = "" if np.isnan(f.p) else f"{f.p:.2g}"
        interval = f"{f.low:+.{digits}f} to {f.high:+.{digits}f}" if np.isfinite(f.low) else "none"
        lines.append(
            f"| {f.paper} | {f.says} | {f.measure} | {f.difference:+.{digits}f} | {interval} | {p} | {f.n} | {f.verdict} |"
        )
    return "\n".join([*lines, "", READING])


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.findings", description="Try the papers' findings on ToyBox.")
    parser.add_argument("--out", type=Path, default=PAGE, help="page to write (default: docs/findings.md)")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    lab, found = Laboratory(), []
    for experiment, count in EXPERIMENTS:
        found += experiment(lab, count)
        print(f"{experiment.__name__}: done", file=sys.stderr, flush=True)
        given.out.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
