"""ToyBox's judge: an image-text network that answers questions about object, state, background and accessory, in words like any other.

The folder of the network holds `scenes.json`: every caption of a closed world with its object, state, background and accessory. How well a
picture goes with each caption gives a distribution over scenes, and its marginals what the judge sees. It answers what it was trained to tell
apart, refuses a text that is no caption of its world, and knows nothing of how a picture was made. It is a judge of small pictures, quick
and offline, so that all that is done with judges can be done for real; it is no measure of photographs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from metrics.base import Image, MetricError, fingerprint, sight_of
from metrics.judges.answers import Judge, Question, Reply, Take
from metrics.judges.params import SCENES
from metrics.networks.images import exact, in_batches, open_device
from metrics.networks.openclip import open_clip_network
from metrics.networks.weights import read_json, require_folder

__all__ = ["PARTS", "SceneJudge"]

PARTS = ("object", "state", "background", "accessory")
FILE = "scenes.json"
BATCH = 8
TIE = 0.05
"""Difference of two edits, of 1, below which neither is better."""
FEWEST = 0.5
"""Of the success, below which an edit is bad."""


class SceneJudge(Judge):
    """Reads scenes from pictures of a closed world.

    Args:
        spec: "local-dir:/path" of an open_clip folder with `scenes.json`, {"parts": [...], "scenes": {caption: [part, ...]}}.
        device: torch device.

    Raises:
        MetricError: the folder cannot be read, or its scenes have other parts than `PARTS`.
    """

    def __init__(self, spec: str, device: str = "cpu") -> None:
        folder = require_folder(spec.removeprefix(SCENES), "judge", ("open_clip_config.json", FILE))
        world = read_json(folder / FILE, "judge")
        if not isinstance(world, dict) or tuple(world.get("parts", ())) != PARTS or not world.get("scenes"):
            raise MetricError(f"judge: {folder / FILE} needs parts {', '.join(PARTS)} and scenes; train ToyBox's judge again")
        self._scenes: dict[str, list[str]] = world["scenes"]
        self._device = open_device(device)
        self._network = open_clip_network(spec, None, None, self._device)
        self._values = [sorted({scene[part] for scene in self._scenes.values()}) for part in range(len(PARTS))]
        self._texts = self._encode_texts(list(self._scenes))
        self.name = "toybox"
        self.snapshot = f"{self._network.weights[:12]} scenes={fingerprint(world)}"
        self.sampling = "none"
        self.sight = sight_of(self._network)

    def ask(self, questions: Sequence[Question], take: Take) -> None:
        pictures = {id(picture): picture for question in questions for picture in question.pictures}
        seen = dict(zip(pictures, self._look(list(pictures.values())), strict=True))
        for place, question in enumerate(questions):
            names: Sequence[str] = question.ask.shows
            views = {name: seen[id(picture)] for name, picture in zip(names, question.pictures, strict=True)}
            take(place, Reply(json.dumps(self._answer(question, views)), model=self.name))

    def _answer(self, question: Question, views: Mapping[str, _View]) -> dict[str, Any]:
        about, target = question.ask.name, self._scenes.get(question.text)
        if about in ("quality", "PQ"):
            quality = _graded(0, 10, naturalness=views["edit"].likeness, artifacts=views["edit"].clarity)
            return quality if about == "quality" else {"score": list(quality.values())}
        if target is None:
            return {"refused": f"the text is no caption of the {len(self._scenes)} that I know"}
        if about == "preference":
            return {"answer": self._better(views, target)}
        success, restraint = self._grades(views["source"], views["edit"], target)
        if about in PARTS:
            best = views["edit"].likeliest[PARTS.index(about)]
            return {"answer": "yes" if best == target[PARTS.index(about)] else "no", "reason": f"I see {best}"}
        graded = {
            "consistency": _graded(0, 10, success=success, restraint=restraint),
            "SC": {"score": list(_graded(0, 10, success=success, restraint=restraint).values())},
            "rubric": _graded(1, 5, compliance=success, quality=views["edit"].likeness, coherence=restraint),
            "kept": {"answer": "yes" if restraint >= FEWEST else "no"},
        }
        return graded.get(about, {"refused": f"I answer about {', '.join(PARTS)} and what was kept, not about {about}"})

    def _better(self, views: Mapping[str, _View], target: Sequence[str]) -> str:
        first, second = (self._grades(views["source"], views[name], target) for name in ("first", "second"))
        if max(first[0], second[0]) < FEWEST:
            return "both_bad"
        gap = min(first) - min(second)
        return "tie" if abs(gap) < TIE else "first" if gap > 0 else "second"

    def _grades(self, source: _View, edit: _View, target: Sequence[str]) -> tuple[float, float]:
        """Success and restraint, 0..1: how surely the edit shows the parts that the text changes, and those that it does not."""
        before = source.likeliest
        changed = [part for part in range(len(PARTS)) if before[part] != target[part]] or list(range(len(PARTS)))
        kept = [part for part in range(len(PARTS)) if part not in changed]
        success = float(np.mean([edit.parts[part].get(target[part], 0.0) for part in changed]))
        return success, float(np.mean([edit.parts[part][before[part]] for part in kept])) if kept else 1.0

    def _look(self, pictures: list[Image]) -> list[_View]:
        cosines = self._encode(pictures) @ self._texts.T
        scale = min(float(self._network.model.logit_scale.exp()), 100.0)
        logits = scale * cosines.astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        odds /= odds.sum(axis=1, keepdims=True)
        scenes = list(self._scenes.values())
        views = []
        for row, chances in zip(cosines, odds, strict=True):
            parts: list[dict[str, float]] = [dict.fromkeys(values, 0.0) for values in self._values]
            for scene, chance in zip(scenes, chances, strict=True):
                for part, value in zip(parts, scene, strict=True):
                    part[value] += float(chance)
            views.append(_View(parts, float(row.max()), float(chances.max())))
        return views

    def _encode(self, pictures: list[Image]) -> NDArray[np.float32]:
        def forward(images: list[Image]) -> NDArray[np.float32]:
            rows = torch.stack([self._network.preprocess(PIL.Image.fromarray(image)) for image in images]).to(self._device)
            found: NDArray[np.float32] = self._network.model.encode_image(rows, normalize=True).float().cpu().numpy()
            return found

        return in_batches(forward, pictures, batch_size=BATCH)

    def _encode_texts(self, texts: list[str]) -> NDArray[np.float32]:
        tokens = torch.from_numpy(self._network.tokenise(texts)[0]).to(self._device)
        with exact():
            rows = [self._network.model.encode_text(part, normalize=True) for part in torch.split(tokens, 64)]
        found: NDArray[np.float32] = torch.cat(rows).float().cpu().numpy()
        return found


class _View:
    """What is seen in a picture: the chances of each part's values, how like any scene it is, and how surely it is one of them."""

    def __init__(self, parts: list[dict[str, float]], cosine: float, surest: float) -> None:
        self.parts, self.likeness, self.clarity = parts, float(np.clip(cosine, 0, 1)), surest

    @property
    def likeliest(self) -> list[str]:
        return [max(part, key=part.__getitem__) for part in self.parts]


def _graded(low: float, high: float, **values: float) -> dict[str, Any]:
    """Numbers of 0..1 on a scale, with one decimal."""
    return {name: round(low + (high - low) * value, 1) for name, value in values.items()}
