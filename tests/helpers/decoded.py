"""What an editor hands to the decoder: its edits before pixels round them."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from editors import DiffusionModel, EditTask


def latents(method: Any, task: EditTask, values: tuple[float, ...], monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """What is decoded in the end."""
    seen: list[Tensor] = []
    decode = DiffusionModel.decode
    monkeypatch.setattr(DiffusionModel, "decode", lambda self, x: (seen.append(x), decode(self, x))[1])
    method.render(method.prepare(task), values)
    return seen[-1]
