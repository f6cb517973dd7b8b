"""What decides Imagic on ToyBox: ``python -m bench.studies.imagic`` writes ``docs/imagic.md`` again.

The ``toybox`` preset was chosen on one set of scenes and is judged on another; the shipped manifests have part in neither. One setting at a
time is moved away from the preset. **Success** is the share of scenes in which the feature network reads the target, read off the mean
curve where its mean 1-LPIPS is that of the ground truths, so that an edit may change the picture as much as the right edit does, and no
more; a curve that does not come so far counts with its end. The best setting is that of most success, at equal success that of
the higher CLIP score at the same place. Scenes whose truth the judge does not score 5 points above their source are left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.analysis.intervals import weighted_interval
from bench.studies.laboratory import SEED, Floats, Laboratory, Measured, scenes
from bench.toybox.manifests import CATEGORIES, SceneEdit
from editors.imagic import Imagic

__all__ = ["SETTINGS", "judged", "main", "page", "tuned", "tuning_scenes"]

TUNING_SEED = 78
"""Of the scenes that the preset was chosen on, and of the units there."""
ETAS = (0.0, 0.75, 1.0, 1.25, 1.5, 2.0)
PAPERS = 3
"""Of these, those up to 1."""
FORMER: Mapping[str, Any] = {"unet_steps": 120, "unet_lr": 2e-4, "draws": 4, "guidance": 5.0}
"""What the preset had before it was tuned."""
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "the preset": {},
}
"""What is tried, by its name, as parameters in place of the preset's."""
PAGE = Path(__file__).parents[2] / "docs" / "imagic.md"


def tuning_scenes(lab: Laboratory, count: int) -> list[SceneEdit]:
    """Changes of state, which Imagic is for, and edits of all other kinds in turn, ``count`` of each."""
    others = [name for name in CATEGORIES if name != "state"]
    states = lab.told(scenes(2 * count, "state", seed=TUNING_SEED))[:count]
    return list(chain.from_iterable(zip(states, lab.told(scenes(count, *others, seed=TUNING_SEED)), strict=True)))


```
@dataclass(frozen=True)
class Tried:
    """One setting on the tuning scenes."""

    name: str
    success: float
    """At the truths' mean 1-LPIPS."""
    within: float
    """The same with eta up to 1 only."""
    clip: float
    """CLIP score there."""
    fidelity: tuple[float, float]
    """Mean 1-LPIPS at the lowest eta and at the highest."""
    cost: int
    """Noisy latents that the U-Net is trained on, over both stages."""


def tuned(lab: Laboratory, drawn: Sequence[SceneEdit], name: str) -> Tried:
    """A setting tried on scenes."""
    params, equal = SETTINGS[name], np.ones((1, len(drawn)))
    found, truths = lab.edit("imagic", drawn, ETAS, **params), lab.ends(drawn).fidelity[:, 1]
    level = np.array([truths.mean()])
    fidelity, clip = (mean[0] for mean in found.means(equal))
    order = np.argsort(fidelity)
    fit = Imagic.resolve("toybox", params).model_dump()
    return Tried(
        name,
        float(found.success_at(level, equal)[0]),
        float(found.up_to(PAPERS).success_at(level, equal)[0]),
        float(np.interp(level[0], fidelity[order], clip[order])),
        (float(fidelity[0]), float(fidelity[-1])),
        fit["draws"] * (fit["embedding_steps"] + fit["unet_steps"]),
    )


