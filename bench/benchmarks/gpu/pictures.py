"""Whether a card makes the pictures of the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["ALLOWED", "FOUR", "Gap", "gaps"]

FOUR = ("sdedit", "diffedit", "blended_latent", "imagic")
ALLOWED: Mapping[str, float] = {"float32": 0.1, "float16": 0.5, "bfloat16": 4.0}
"""Mean grey levels that edits may lie from the CPU's in float32: sums in another order, and twice what rounding to halves was seen to move."""
QUICK: Mapping[str, Any] = {
    "embedding_steps": 2,
    "unet_steps": 2,
    "draws": 1,
    "mask_maps": 2,
    "candidates": 2,
    "background_reconstruction_steps": 2,
}


@dataclass(frozen=True)
class Gap:
    """How far an editor's edits on the card in a dtype lie from the CPU's, in grey levels, and whether a second time gave the same."""

    editor: str
    dtype: str
    mean: float
    most: int
    repeats: bool

    @property
    def right(self) -> bool:
        """Whether the pictures are the CPU's but for rounding, and the same each time."""
        return self.repeats and self.mean <= ALLOWED[self.dtype]


def gaps(editors: Sequence[str], dtypes: Sequence[str], steps: int) -> list[Gap]:
    """The gap of each of the editors in each of the dtypes, at ``steps`` steps of its schedule."""
    import numpy as np
    import torch

    from bench import registry
    from bench.devices import deterministic
    from bench.manifest import open_manifest
    from bench.spec import load_spec
    from bench.toybox.embedded import generator, preset_of, with_ranker
    from editors import DiffusionModel, EditTask

    sample = open_manifest(load_spec("ci").manifest, 64).load(1)
    task = EditTask(sample.image.copy(), sample.target_text, sample.source_text, sample.mask, 1)

    def edits(model: Any, name: str) -> Any:
        cls = registry.load_editor(name)
        own = {key: value for key, value in {**QUICK, "steps": steps}.items() if key in cls.Params.model_fields}
        editor = cls(model, with_ranker(cls, cls.resolve(preset_of(cls.presets), own)))
        with deterministic(1):
            made: Any = editor.render(editor.prepare(task), (0.5, 1.0))
            return np.stack(made).astype(int)

    host = DiffusionModel.load(generator())
    expected = {name: edits(host, name) for name in editors}
    found = []
    for dtype in dtypes:
        model = DiffusionModel.load(generator(), device="cuda", dtype=getattr(torch, dtype))
        for name in editors:
            once, again = edits(model, name), edits(model, name)
            gap = np.abs(once - expected[name])
            found.append(Gap(name, dtype, float(gap.mean()), int(gap.max()), bool((once == again).all())))
    return found
