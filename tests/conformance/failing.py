"""Stopping and failing: between steps on request, and with a type when a network breaks."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from editors import Cancelled, NotFinite
from etabench_conformance.alone import alone
from etabench_conformance.case import Case, edit


def stops_between_steps(case: Case) -> None:
    """When the cancel hook says so in the middle of the work, the editor raises Cancelled within a few network calls."""
    model = case.open_model()
    if model is None:
        return
    asked = 0

    def hook(limit: int) -> bool:
        nonlocal asked
        asked += 1
        return asked > limit

    total = alone(case).asked
    assert total >= 2, f"the cancel hook was asked {total} times in a whole edit: call model.guard in every step"
    for limit in (0, total // 2):
        asked = 0
        model.cancelled = partial(hook, limit)
        with pytest.raises(Cancelled):
            edit(case.make(model), case.task(), case.grid)


def _poison(output: Any) -> Any:
    """The output with NaN in the place of every number, in the class that it has."""
    if isinstance(output, torch.Tensor):
        return output * float("nan")
    if isinstance(output, tuple):
        return tuple(_poison(each) for each in output)
    return type(output)(**{name: value * float("nan") for name, value in output.items()})


def nan_is_a_typed_failure(case: Case) -> None:
    """NaN from the U-Net, or from the decoder where the editor has no use for one, in the first, a middle or the last call."""
    if not case.editor_class.needs_model:
        return
    through_unet = alone(case).unet_calls
    total = through_unet or 1
    for number in sorted({0, total // 2, total - 1}):
        model = case.open_model()
        assert model is not None
        calls = 0

        def break_one(_module: Any, _given: Any, output: Any, number: int = number) -> Any:
            nonlocal calls
            calls += 1
            return _poison(output) if calls == number + 1 else None

        (model.unet if through_unet else model.vae.decoder).register_forward_hook(break_one)
        with pytest.raises(NotFinite):
            edit(case.make(model), case.task(), case.grid)
