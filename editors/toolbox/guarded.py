"""What a model asks between the steps of an edit: whether to stop, and whether all is finite so far."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from editors.task import Cancelled, NotFinite
from editors.toolbox.limits import Limits

__all__ = ["Guarded", "Shared"]


class Shared:
    """What a model and its variants have in common."""

    unet_evaluations = 0

    def __init__(self) -> None:
        self.limits = Limits()
        self.cancelled: Callable[[], bool] = lambda: False
        self.unseen: list[tuple[Tensor, str]] | None = None
        """Within ``guarded_together``: whether all was finite, a bool on the device, and at which step."""


class Guarded:
    """The questions. Those about tensors make the host wait for the device, so a step of a schedule asks once."""

    _shared: Shared

    @property
    def cancelled(self) -> Callable[[], bool]:
        """Hook asked between steps; when it says True the editor raises ``Cancelled``. Shared with all variants."""
        return self._shared.cancelled

    @cancelled.setter
    def cancelled(self, hook: Callable[[], bool]) -> None:
        self._shared.cancelled = hook

    @property
    def limits(self) -> Limits:
        """How many items were found to fit into one call where memory was out. Shared with all variants."""
        return self._shared.limits

    def stop_if_cancelled(self, step: str) -> None:
        """Raise ``Cancelled`` naming ``step`` when asked to stop; cheap, it looks at no tensor."""
        if self.cancelled():
            raise Cancelled(f"cancelled at {step}")

    def guard(self, x: Tensor, step: str) -> Tensor:
        """Pass ``x`` on; raise ``Cancelled`` when asked to stop, ``NotFinite`` naming ``step`` on NaN or infinity."""
        self.stop_if_cancelled(step)
        finite = torch.isfinite(x).all()
        if self._shared.unseen is None:
            _raise_first([(finite, step)])
        else:
            self._shared.unseen.append((finite, step))
        return x

    @contextlib.contextmanager
    def guarded_together(self) -> Iterator[None]:
        """What ``guard`` is given within is looked at when the block ends: one wait, and the first that is not finite is named.

        For a step that guards more than once. A block within a block is a part of it; one that an error leaves looks at nothing.
        """
        if self._shared.unseen is not None:
            yield
            return
        unseen = self._shared.unseen = []
        try:
            yield
        finally:
            self._shared.unseen = None
        _raise_first(unseen)

    def number(self, x: Tensor, step: str) -> float:
        """The value of a guarded scalar, in one wait. Where it is not finite, the first of the block that was not is named."""
        self.stop_if_cancelled(step)
        value = float(x.detach())
        if not math.isfinite(value):
            _raise_first(self._shared.unseen or ())
            raise NotFinite(f"NaN or infinity at {step}")
        return value


def _raise_first(seen: Sequence[tuple[Tensor, str]]) -> None:
    """Raise ``NotFinite`` naming the first step whose bool is false."""
    if not seen:
        return
    for finite, (_, step) in zip(torch.stack([each for each, _ in seen]).tolist(), seen, strict=True):
        if not finite:
            raise NotFinite(f"NaN or infinity at {step}")
