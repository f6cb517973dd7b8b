"""What an editor leaves behind: the model and the task as they were, pictures of the right kind, an honest bill."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch

from editors import DiffusionModel
from etabench_conformance.case import Case, edit


def _fingerprint(model: DiffusionModel) -> dict[str, Any]:
    """Weights to the bit, and what else of a network an edit could change."""
    found: dict[str, Any] = {}
    for name in ("vae", "unet", "text_encoder"):
        network = getattr(model, name)
        total = hashlib.sha256()
        for key, tensor in sorted(network.state_dict().items()):
            total.update(key.encode() + tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        found[f"weights of {name}"] = total.hexdigest()
        found[f"modules of {name}"] = [type(module).__name__ for module in network.modules()]
        found[f"mode of {name}"] = [network.training, any(p.requires_grad for p in network.parameters())]
        found[f"gradients of {name}"] = any(p.grad is not None for p in network.parameters())
        found[f"hooks of {name}"] = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())
    found["attention processors"] = {name: type(each).__name__ for name, each in model.unet.attn_processors.items()}
    return found


def the_model_is_bit_identical_afterwards(case: Case) -> None:
    """Weights, modules, modes, hooks and attention processors of the shared model are those from before."""
    model = case.open_model()
    if model is None:
        return
    before = _fingerprint(model)
    edit(case.make(model), case.task(), case.grid)
    after = _fingerprint(model)
    changed = [what for what in before if before[what] != after[what]]
    assert not changed, f"editing changed the {', '.join(changed)}"


def inputs_are_untouched(case: Case) -> None:
    """No array of the task is written to; they may even be read-only."""
    task = case.task()
    arrays = {name: value for name, value in vars(task).items() if isinstance(value, np.ndarray)}
    before = {name: value.copy() for name, value in arrays.items()}
    for value in arrays.values():
        value.setflags(write=False)
    edit(case.make(), task, case.grid)
    for name, value in arrays.items():
        assert np.array_equal(value, before[name]), f"task.{name} was changed"


def pictures_have_the_size_of_the_source(case: Case) -> None:
    """uint8 RGB of the source's size, one per value, for square sources and for others; no two share memory."""
    for crop in (0, 16):
        task = case.task(crop=crop)
        pictures = edit(case.make(), task, case.grid)
        assert len(pictures) == len(case.grid)
        for picture in pictures:
            assert picture.dtype == np.uint8, f"got {picture.dtype}"
            assert picture.shape == task.image.shape, f"got {picture.shape} for a source of {task.image.shape}"
            assert picture.flags["C_CONTIGUOUS"], "an edit is a strided view: np.ascontiguousarray"
            assert not np.shares_memory(picture, task.image), "an edit is a view of the source"
            assert picture.std() > 0, "a blank picture"


def values_out_of_bounds_are_refused(case: Case) -> None:
    """A knob value outside the declared bounds is an EditorError, not an extrapolation."""
    import pytest

    from editors import EditorError

    editor = case.make()
    if editor.knob is None:
        return
    state = editor.prepare(case.task())
    for value in (editor.knob.low - 1, editor.knob.high + 1):
        with pytest.raises(EditorError, match=editor.knob.name):
            editor.render(state, (value,))


def cost_is_counted(case: Case) -> None:
    """The model's counter grows by the samples that really went through a U-Net, copies of it included."""
    model = case.open_model()
    if model is None:
        return
    seen = 0

    def count(_module: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        nonlocal seen
        seen += len(given[0] if given else named["sample"])

    model.unet.register_forward_pre_hook(count, with_kwargs=True)
    before = model.unet_evaluations
    edit(case.make(model), case.task(), case.grid)
    counted = model.unet_evaluations - before
    assert counted == seen, f"{seen} samples went through the U-Net, {counted} were counted"


def facts_and_pictures_can_be_recorded(case: Case) -> None:
    """``facts`` are plain values by name, ``pictures`` arrays that make a PNG; ``fair_play`` answers."""
    import json

    editor = case.make()
    state = editor.prepare(case.task())
    editor.render(state, case.grid)
    facts = editor.facts(state)
    assert json.dumps(facts), "facts are not JSON"
    for name, picture in editor.pictures(state).items():
        assert picture.ndim in (2, 3), f"{name}: {picture.shape}"
        assert picture.dtype == bool or np.isfinite(picture).all(), f"{name} is not finite"
    assert editor.fair_play().candidates >= 1
