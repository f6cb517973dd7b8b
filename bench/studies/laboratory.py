"""Editing and scoring drawn ToyBox scenes in a few lines, for experiments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import ResNetForImageClassification

from bench import registry
from bench.scoring.axes import Axis
from bench.toybox.embedded import TOYBOX
from bench.toybox.evaluate import classify
from bench.toybox.manifests import CATEGORIES, SceneEdit, edits
from bench.toybox.stages.features import HEADS, labels_of
from bench.toybox.telling import told
from bench.toybox.world import render
from editors import DiffusionModel, EditTask, Image
from editors.toolbox.diffusion import derive_seed
from metrics.base import PairBatch
from metrics.clip import CLIPScore
from metrics.lpips import LPIPS

__all__ = ["SEED", "Floats", "Laboratory", "Measured", "scenes"]

SEED = 77
"""Of the scenes; the manifests have others."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """Scores of n scenes at k knob values, (n, k) each."""

    clip: Floats
    fidelity: Floats
    """1-LPIPS to the source."""
    success: NDArray[np.bool_]
    """The feature network reads the target's object, state, background and accessory."""

    def means(self, weights: Floats) -> tuple[Floats, Floats]:
        """The mean curve under weights (r, n) of the scenes: fidelity and CLIP score, (r, k) each."""
        total = weights.sum(axis=1, keepdims=True)
        return weights @ self.fidelity / total, weights @ self.clip / total

    def success_at(self, fidelity: Floats, weights: Floats) -> Floats:
        """Share of the scenes, weighted (r, n), that succeed where their mean fidelity is ``fidelity`` (r,): (r,).

        Read off the mean curve, joined by straight lines; a curve that does not come so far counts with its nearer end.
        """
        means, shares = self.means(weights)[0], weights @ self.success / weights.sum(axis=1, keepdims=True)
        order = np.argsort(means, axis=1)
        rows = zip(fidelity, *(np.take_along_axis(each, order, axis=1) for each in (means, shares)), strict=True)
        return np.array([np.interp(*row) for row in rows])

    def up_to(self, values: int) -> Measured:
        """The same at the first ``values`` knob values."""
        return Measured(self.clip[:, :values], self.fidelity[:, :values], self.success[:, :values])


@dataclass(frozen=True)
class Laboratory:
    """The ToyBox networks, loaded when first needed, and what one does with them."""

    seed: int = SEED
    """Of all units."""

    @cached_property
    def model(self) -> DiffusionModel:
        return DiffusionModel.load(TOYBOX / "generator")

    @cached_property
    def clip(self) -> CLIPScore:
        return CLIPScore(model=f"local-dir:{TOYBOX / 'judge'}")

    @cached_property
    def lpips(self) -> LPIPS:
        return LPIPS(net=f"folder:{TOYBOX / 'features'}")

    @cached_property
    def reader(self) -> ResNetForImageClassification:
        return ResNetForImageClassification.from_pretrained(TOYBOX / "features").float().eval()

    def edit(
        self,
        name: str,
        scenes: Sequence[SceneEdit],
        values: Sequence[float],
        *,
        mask: Callable[[SceneEdit], NDArray[np.bool_]] | None = None,
        **params: Any,
    ) -> Measured:
        """Edit every scene by an editor in its ToyBox preset, with ``params`` replaced, and score."""
        cls = registry.load_editor(name)
        editor = cls(self.model, cls.resolve("toybox", params))
        rows = []
        for number, scene in enumerate(scenes):
            source = render(scene.source).image
            shape = mask(scene) if mask else None
            task = EditTask(
                source.copy(), scene.target.caption, scene.source.caption, shape, seed=derive_seed(self.seed, str(number))
            )
            edits = [edit for edit in editor.render(editor.prepare(task), values) if edit is not None]
            rows.append(self._score(scene, source, edits))
        return self._measured(rows)

    def ends(self, scenes: Sequence[SceneEdit]) -> Measured:
        """Scores of what an edit starts from and of what it should be: source and ground truth, k = 2."""
        pictures = [[render(side).image for side in (scene.source, scene.target)] for scene in scenes]
        return self._measured([self._score(scene, pair[0], pair) for scene, pair in zip(scenes, pictures, strict=True)])

    def told(self, scenes: Sequence[SceneEdit]) -> list[SceneEdit]:
        """Those of the scenes whose truth the judge tells from the source."""
        found = told(*self.ends(scenes).clip.T)
        return [scene for scene, each in zip(scenes, found, strict=True) if each]

    def _measured(self, rows: Sequence[tuple[Floats, Floats, NDArray[np.bool_]]]) -> Measured:
        clip, lpips, success = (np.array(column) for column in zip(*rows, strict=True))
        fidelity = Axis(self.lpips.name, bool(self.lpips.card.higher_is_better), self.lpips.bounds)
        return Measured(clip, fidelity.position(lpips), success)

    def _score(self, scene: SceneEdit, source: Image, pictures: Sequence[Image]) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        k = len(pictures)
        nothing: list[Any] = [None] * k
        batch = PairBatch(list(pictures), [source] * k, [scene.target.caption] * k, nothing, nothing, nothing)
        x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
        read, truth = classify(self.reader, x), dict(zip(HEADS, labels_of(scene.target), strict=True))
        right = [(read[head] == truth[head]).numpy() for head in ("object", "state", "background", "accessory")]
        return self.clip.score(batch), self.lpips.score(batch), np.logical_and.reduce(right)


def scenes(count: int, *categories: str, seed: int = SEED) -> list[SceneEdit]:
    """``count`` edits of some categories, or of all."""
    wanted = categories or tuple(CATEGORIES)
    found = [edit for edit in edits(count * 6 // len(wanted) + 6, seed) if edit.category in wanted]
    return found[:count]
