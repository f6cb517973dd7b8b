"""What a caller hands to a metric in a training loop: tensors or lists, some of them left out, under our names or torchmetrics'."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.base import Image, MetricError, PairMetric, SetMetric

__all__ = ["Pictures", "edits_of", "either", "lacking", "members_of", "pictures_of", "refuse_lists_in_bootstraps"]

Pictures = torch.Tensor | Sequence[Image]
Mask = NDArray[np.bool_]


def edits_of(metric: PairMetric | SetMetric, edits: Pictures | None, preds: Pictures | None) -> list[Image]:
    """The edited pictures, whichever name they came under.

    Raises:
        MetricError: none, both, or not pictures.
    """
    given: Pictures | None = either(metric, "edits", edits, "preds", preds)
    if given is None:
        raise MetricError(f"{metric.name}: expected edits (or preds), got none; give the edited pictures")
    return pictures_of(given)


def members_of(metric: PairMetric, given: dict[str, Any], length: int) -> dict[str, Any]:
    """`given` as the members of a `PairBatch` of that length; what is None there is refused as soon as the metric looks at it."""
    return {
        name: _NotGiven(metric, name, length) if rows is None else READERS.get(name, list)(rows) for name, rows in given.items()
    }


def either(metric: PairMetric | SetMetric, ours: str, first: Any, theirs: str, second: Any) -> Any:
    """The one of two names of a thing that is given, or None.

    Raises:
        MetricError: both are given.
    """
    if first is not None and second is not None:
        raise MetricError(
            f"{metric.name}: expected {ours} or {theirs}, which is torchmetrics' name of it, got both; leave one out"
        )
    return second if first is None else first


def lacking(metric: PairMetric | SetMetric, name: str) -> MetricError:
    """The error for a member that a metric reads and that was not given."""
    also = " (or target=)" if name == "sources" else ""
    unknown = ", with None where unknown" if name not in ("sources", "target_texts") else ""
    return MetricError(f"{metric.name}: it reads {name}, and update() was given none; give {name}={also}, one per edit{unknown}")


def pictures_of(given: Pictures) -> list[Image]:
    """Pictures uint8 (H, W, 3), of which the rows of a list are not looked at.

    Raises:
        MetricError: a tensor of another dtype or shape.
    """
    if not isinstance(given, torch.Tensor):
        return list(given)
    if given.dtype != torch.uint8 or given.ndim != 4 or given.shape[1] != 3:
        raise MetricError(
            f"pictures: expected a uint8 tensor (n, 3, H, W) in 0..255, got {given.dtype} {tuple(given.shape)}; "
            "scale to 0..255, round and cast first"
        )
    return list(given.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def refuse_lists_in_bootstraps(metric: PairMetric | SetMetric, given: dict[str, Any]) -> None:
    """A BootStrapper draws rows of tensors and hands lists on as they are, which would lay rows beside rows of others.

    Raises:
        MetricError: a BootStrapper calls, and a member of `given` is neither None nor a tensor.
    """
    lists = [name for name, rows in given.items() if rows is not None and not isinstance(rows, torch.Tensor)]
    if not lists:
        return
    from torchmetrics.wrappers import BootStrapper

    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is BootStrapper.update.__code__:
            raise MetricError(
                f"{metric.name}: a BootStrapper draws rows of tensors alone, got {' and '.join(lists)} as a list, which would stay as it "
                "is; draw rows of the scores instead"
            )


class _NotGiven(Sequence[Any]):
    """Stands for a member of a batch that nobody gave: whoever looks at it is refused."""

    def __init__(self, metric: PairMetric, name: str, length: int) -> None:
        self._metric, self._name, self._length = metric, name, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, _row: Any) -> Any:
        raise lacking(self._metric, self._name)


def _masks(given: torch.Tensor | Sequence[Mask | None]) -> list[Mask | None]:
    if not isinstance(given, torch.Tensor):
        return list(given)
    if given.dtype != torch.bool or given.ndim != 3:
        raise MetricError(
            f"masks: expected a bool tensor (n, H, W), got {given.dtype} {tuple(given.shape)}; compare with > 0.5 first"
        )
    return list(given.cpu().numpy())


READERS: dict[str, Callable[[Any], list[Any]]] = {"sources": pictures_of, "truths": pictures_of, "masks": _masks}
"""How members that may come as tensors become lists; all others are lists already."""
