"""One untroubled edit of a sample, made once for all checks: the result they compare theirs with, and all that was seen of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from editors import DiffusionModel, EditTask, Image
from etabench_conformance.case import Case, edit


@dataclass(frozen=True)
class Alone:
    """The edits of one sample, alone on a fresh editor and a model of its own."""

    task: EditTask
    pictures: tuple[Image, ...]
    """One for each value of the case; read-only."""
    before: Mapping[str, Any]
    """`fingerprint` of the model, empty where the editor needs none; and so `after`."""
    after: Mapping[str, Any]
    unet_calls: int = 0
    """Calls of the U-Net, copies of it included."""
    unet_samples: int = 0
    """Samples in those calls."""
    counted: int = 0
    """What the model's own counter grew by."""
    asked: int = 0
    """How often the editor asked whether to stop."""


@cache
def alone(case: Case, number: int = 0) -> Alone:
    """Sample ``number`` of ``case``. Whatever a check compares with it, it computes on an editor and a model of its own."""
    task, model = case.task(number), case.open_model()
    pictures, seen = _watched(case, task, model) if model else (edit(case.make(), task, case.grid), {})
    for picture in pictures:
        picture.setflags(write=False)
    return Alone(task, tuple(pictures), **{"before": {}, "after": {}, **seen})


def _watched(case: Case, task: EditTask, model: DiffusionModel) -> tuple[list[Image], dict[str, Any]]:
    """The edits, and what was seen of the model meanwhile."""
    batches: list[int] = []
    asked = 0

    def count(_module: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        batches.append(len(given[0] if given else named["sample"] if "sample" in named else named["hidden_states"]))

    def ask() -> bool:
        nonlocal asked
        asked += 1
        return False

    before, counted = fingerprint(model), model.unet_evaluations
    hook = model.unet.register_forward_pre_hook(count, with_kwargs=True)
    model.cancelled = ask
    pictures = edit(case.make(model), task, case.grid)
    hook.remove()
    return pictures, {
        "before": before,
        "after": fingerprint(model),
        "unet_calls": len(batches),
        "unet_samples": sum(batches),
        "counted": model.unet_evaluations - counted,
        "asked": asked,
    }


def fingerprint(model: DiffusionModel) -> dict[str, Any]:
    """Weights to the bit, and what else of a network an edit could change."""
    found: dict[str, Any] = {}
    for name, part in model.backbone.parts.items():
        network = model.backbone.loaded.get(name)
        if not part.stem or network is None:
            continue
        total = hashlib.sha256()
        for key, tensor in sorted(network.state_dict().items()):
            total.update(key.encode() + tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        found[f"weights of {name}"] = total.hexdigest()
        found[f"modules of {name}"] = [type(module).__name__ for module in network.modules()]
        found[f"mode of {name}"] = [network.training, any(p.requires_grad for p in network.parameters())]
        found[f"gradients of {name}"] = any(p.grad is not None for p in network.parameters())
        hooks = [hook for m in network.modules() for hook in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())]
        # transformers puts hooks of its own on a text encoder when it is first asked for hidden states
        found[f"hooks of {name}"] = sum("transformers" not in getattr(hook, "__module__", "") for hook in hooks)
    found["attention processors"] = {name: type(each).__name__ for name, each in model.unet.attn_processors.items()}
    return found
