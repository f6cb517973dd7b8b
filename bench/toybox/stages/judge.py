"""Two image-text models trained contrastively, saved as open_clip ``local-dir:`` folders.

The judge scores edits; the ranker is the CLIP that editors may optimise against and rank candidates by. Neither shares anything
with the generator or with the other: towers of other widths and depths, other starts, other pictures. An editor that has a CLIP in
its loop is thus never graded by the network that it followed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax

from bench.toybox.stages.augment import soften
from bench.toybox.stages.data import draw, to_unit
from bench.toybox.stages.loop import Stage
from bench.toybox.stages.tokens import build_tokenizer
from bench.toybox.vocabulary import ACCESSORIES, BACKGROUNDS, OBJECTS, all_scenes, caption, held_out, wears_hat

__all__ = ["JudgeStage", "RankerStage", "build_judge", "judge_config", "ranker_config", "scenes_json"]

CONTEXT = 24
NEGATIVES = 96
"""Captions of the grammar added to each batch's own: a third siblings (same scene, other state or colour), a third neighbours in
the grammar's order (same object, other place or accessory), a third at random."""


def judge_config() -> dict[str, Any]:
    """The contents of the judge's ``open_clip_config.json``."""
    return _config(embed=96, image=32, text=96, heads=3, layers=3)


def ranker_config() -> dict[str, Any]:
    """The contents of the ranker's ``open_clip_config.json``."""
    return _config(embed=64, image=24, text=64, heads=2, layers=2)


def _config(*, embed: int, image: int, text: int, heads: int, layers: int) -> dict[str, Any]:
    return {
        "model_cfg": {
            "embed_dim": embed,
            "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": image, "head_width": 2 * image},
            "text_cfg": {
                "context_length": CONTEXT,
                "vocab_size": len(build_tokenizer()),
                "hf_tokenizer_name": "clip",
                "width": text,
                "heads": heads,
                "layers": layers,
                "pool_type": "argmax",
            },
        },
        "preprocess_cfg": {
            "size": 64,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    }


def scenes_json() -> str:
    """What the judge can tell apart, as `metrics.judges.toybox` reads it: a line a scene."""
    lines = [f"{json.dumps(text)}: {json.dumps(parts)}" for text, parts in all_scenes().items()]
    return '{"parts": ["object", "state", "background", "accessory"], "scenes": {\n' + ",\n".join(lines) + "\n}}\n"


def build_judge(config: dict[str, Any] | None = None) -> nn.Module:
    """An untrained image-text model; the judge's architecture unless another ``config`` is given."""
    model: nn.Module = open_clip.CLIP(**(config or judge_config())["model_cfg"])
    return model


def _training_scenes() -> list[tuple[str, str, str]]:
    """(object, background, accessory) of every caption that training may see, in the grammar's order."""
    pairs = [(o.name, b.name) for o in OBJECTS for b in BACKGROUNDS if (o.name, b.name) not in held_out()]
    return [(o, b, a) for o, b in pairs for a in ACCESSORIES if a != "hat" or wears_hat(o)]


class JudgeStage(Stage):
    name = "judge"
    learning_rate = 1.5e-3
    weight_decay = 0.05
    ema_decay = 0.995
    warm_up = 300
    weights_seed, pictures_seed = 10_000, 4_000
    config = staticmethod(judge_config)
    answers_questions = True

    def __init__(self, seed: int, pool_size: int = 14_000, batch: int = 48) -> None:
        torch.manual_seed(self.weights_seed + seed)
        self.modules = nn.ModuleDict({"judge": build_judge(self.config())})
        self.pool = draw(pool_size, seed=self.pictures_seed + seed)
        self.batch = batch
        scenes = _training_scenes()
        self.captions = [caption(*scene) for scene in scenes]
        index = {text: i for i, text in enumerate(self.captions)}
        place = {scene: i for i, scene in enumerate(scenes)}
        kinds = {o.name: [p.name for p in OBJECTS if p.kind == o.kind] for o in OBJECTS}
        self.siblings = [[place[s, b, a] for s in kinds[o] if (s, b, a) in place] for o, b, a in scenes]
        self.caption_of = np.array([index[s.caption] for s in self.pool.scenes])
        self.tokenizer = build_tokenizer()
        self.tokens = self.tokenizer(self.captions, padding="max_length", max_length=CONTEXT, return_tensors="pt").input_ids

    def loss(self, step: int, progress: float, rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        """Contrastive in both directions; pictures of one caption are positives of each other's text."""
        judge = self.modules["judge"]
        device = judge.logit_scale.device
        rows = rng.integers(len(self.pool), size=self.batch)
        own = self.caption_of[rows]
        third, last = NEGATIVES // 3, len(self.captions) - 1
        siblings = [int(rng.choice(self.siblings[i])) for i in rng.choice(own, third)]
        neighbours = np.clip(rng.choice(own, third) + rng.integers(-12, 13, third), 0, last)
        texts = np.unique(np.concatenate([own, siblings, neighbours, rng.integers(last + 1, size=third)]))
        target = torch.from_numpy(np.searchsorted(texts, own)).to(device)
        x = soften(to_unit(self.pool.images[rows]), generator).to(device)
        image = judge.encode_image(x, normalize=True)
        text = judge.encode_text(self.tokens[torch.from_numpy(texts)].to(device), normalize=True)
        logits = judge.logit_scale.exp().clamp(max=100) * image @ text.T
        positives = nn.functional.one_hot(target, len(texts)).float()
        present = positives.sum(0) > 0
        by_text = log_softmax(logits.T[present], dim=1)
        share = positives.T[present] / positives.T[present].sum(1, keepdim=True)
        return cross_entropy(logits, target) + 0.5 * -(share * by_text).sum(1).mean()

    def export(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            k: v.half().contiguous() if v.is_floating_point() else v for k, v in self.modules["judge"].cpu().state_dict().items()
        }
        save_file(state, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
        (folder / "open_clip_config.json").write_text(json.dumps(self.config(), indent=2) + "\n")
        if self.answers_questions:
            (folder / "scenes.json").write_text(scenes_json())
        self.tokenizer.save_pretrained(folder)


class RankerStage(JudgeStage):
    """The judge's recipe for a smaller model with a start and pictures of its own."""

    name = "ranker"
    weights_seed, pictures_seed = 20_000, 6_000
    config = staticmethod(ranker_config)
    answers_questions = False
