"""Any metric of this package as a `torchmetrics.Metric`, for training loops: update, compute, reset, distributed sync.

    from metrics.lpips import LPIPS
    from metrics.torch_wrapper import as_torchmetric

    lpips = as_torchmetric(LPIPS("alex"))
    for batch in loader:
        lpips.update(edit(batch), sources=batch["image"])
    print(lpips.compute())

In a `torchmetrics.MetricCollection` beside torchmetrics' own metrics, `preds` and `target` stand for `edits` and `sources`. `Running`,
`MinMaxMetric` and `MetricTracker` work; `BootStrapper` does with tensors, and is refused with lists, which it would not resample.

Pictures are uint8 tensors (n, 3, H, W), on any device, or lists of uint8 arrays (H, W, 3). Floats are refused, as everywhere in this
package. What a metric reads and is not given is refused. States are scores or features, never pictures; between processes they are
concatenated (`dist_reduce_fx="cat"`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from metrics.base import FeatureSet, MetricError, PairBatch, PairMetric, SetMetric
from metrics.toolbox.given import Pictures, edits_of, either, lacking, members_of, pictures_of, refuse_lists_in_bootstraps

__all__ = ["PairTorchMetric", "SetTorchMetric", "as_torchmetric"]

NO_CLASS = 0
"""Code of a picture without a class."""


def as_torchmetric(
    metric: PairMetric | SetMetric,
    reference: Pictures | FeatureSet | None = None,
    reference_classes: Sequence[str | None] | None = None,
    **options: Any,
) -> PairTorchMetric | SetTorchMetric:
    """Wrap a metric.

    Args:
        metric: what scores; it stays on the device that it was made for.
        reference: for a set metric: pictures or their features.
        reference_classes: class of each reference picture, where the metric uses classes.
        options: of `torchmetrics.Metric`, such as `sync_on_compute`.

    Raises:
        MetricError: a set metric without a reference, or a pair metric with one.
    """
    if isinstance(metric, SetMetric):
        if reference is None:
            raise MetricError(f"as_torchmetric: {metric.name} compares with a reference, got none; give reference=pictures")
        return SetTorchMetric(metric, reference, reference_classes, **options)
    if reference is not None or reference_classes is not None:
        raise MetricError(f"as_torchmetric: {metric.name} scores each edit by itself, got a reference; leave it out")
    return PairTorchMetric(metric, **options)


class _ListStates(Metric):
    """List states of known dtype and shape, so that a process without data can take part in a sync."""

    is_differentiable = False
    full_state_update = False
    metric: PairMetric | SetMetric

    def __init__(self, empty: dict[str, torch.Tensor], **options: Any) -> None:
        super().__init__(**options)
        self._empty = empty
        for name in empty:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def reset(self) -> None:
        """Forget all edits; lists that others hold stay as they are, which `torchmetrics.wrappers.Running` counts on."""
        for name in self._empty:
            setattr(self, name, [])
        super().reset()

    @property
    def higher_is_better(self) -> bool | None:
        """Direction, as the metric's card says; None where there is none."""
        return self.metric.card.higher_is_better

    def _sync_dist(self, *arguments: Any, **named: Any) -> None:
        for name, empty in self._empty.items():
            if not len(getattr(self, name)):
                setattr(self, name, [empty.to(self.device)])
        super()._sync_dist(*arguments, **named)

    def _joined(self, name: str) -> torch.Tensor:
        """A state as one tensor, before or after a sync."""
        state = getattr(self, name)
        parts = [state] if isinstance(state, torch.Tensor) else [self._empty[name].to(self.device), *state]
        return dim_zero_cat(parts)


class PairTorchMetric(_ListStates):
    """A `PairMetric` as `torchmetrics.Metric`.

    Its state is a list named after the metric's fingerprint: a `torchmetrics.MetricCollection` would take two metrics for one whose
    states were equal after the first update, as those of LPIPS and L1 are when nothing was edited yet.

    Attributes:
        metric: what scores.
    """

    metric: PairMetric

    def __init__(self, metric: PairMetric, **options: Any) -> None:
        self._state = f"scores_{metric.card.fingerprint}"
        super().__init__({self._state: torch.zeros(0, dtype=torch.float64)}, **options)
        self.metric = metric

    def update(
        self,
        edits: Pictures | None = None,
        sources: Pictures | None = None,
        *,
        target_texts: Sequence[str] | None = None,
        source_texts: Sequence[str | None] | None = None,
        masks: torch.Tensor | Sequence[NDArray[np.bool_] | None] | None = None,
        truths: Pictures | None = None,
        source_classes: Sequence[str | None] | None = None,
        target_classes: Sequence[str | None] | None = None,
        preds: Pictures | None = None,
        target: Pictures | None = None,
    ) -> None:
        """Score n edits. What the metric does not read (`PairMetric.reads`) may be left out; what it reads may not.

        Args:
            edits: edited pictures.
            sources: the pictures that were edited.
            target_texts: what was asked for.
            source_texts: captions of the sources; None where unknown.
            masks: bool (n, H, W), or a list with None where unknown; True where the edit belongs.
            truths: ground-truth edits.
            source_classes: classes of the sources; None where unknown.
            target_classes: classes that the edits should have, likewise.
            preds: torchmetrics' name of `edits`.
            target: torchmetrics' name of `sources`.

        Raises:
            MetricError: something is lacking that the metric reads, members of different lengths, what the metric cannot read, or a
                call by a BootStrapper with anything but tensors.
        """
        given: dict[str, Any] = {
            "sources": either(self.metric, "sources", sources, "target", target),
            "target_texts": target_texts,
            "source_texts": source_texts,
            "masks": masks,
            "truths": truths,
            "source_classes": source_classes,
            "target_classes": target_classes,
        }
        refuse_lists_in_bootstraps(self.metric, {"edits": edits, "preds": preds} | given)
        for name, rows in given.items():
            if rows is None and name in self.metric.reads:
                raise lacking(self.metric, name)
        pictures = edits_of(self.metric, edits, preds)
        batch = PairBatch(edits=pictures, **members_of(self.metric, given, len(pictures)))
        scores = np.asarray(self.metric.score(batch), dtype=np.float64)
        self.scores.append(torch.from_numpy(scores.copy()).to(self.device))

    @property
    def scores(self) -> list[torch.Tensor]:
        """The state: float64 (n,) of each update, one score per edit, NaN where undefined."""
        state: list[torch.Tensor] = getattr(self, self._state)
        return state

    def compute(self) -> torch.Tensor:
        """Mean over the defined scores, float64 (); NaN where there is none."""
        scores = self.per_sample()
        return scores[torch.isfinite(scores)].mean()

    def per_sample(self) -> torch.Tensor:
        """Scores (n,) of this process so far, in the order of the updates; inside `sync_context()` those of all processes."""
        return self._joined(self._state)


class SetTorchMetric(_ListStates):
    """A `SetMetric` as `torchmetrics.Metric`.

    Attributes:
        metric: what scores.
        reference: features of the reference set; the same in every process, never part of the state.
        features: list state; (n, d), dtype as the reference.
        classes: list state; int64 (n,), codes of class names, `NO_CLASS` for none.
    """

    metric: SetMetric
    features: list[torch.Tensor]
    classes: list[torch.Tensor]

    def __init__(
        self,
        metric: SetMetric,
        reference: Pictures | FeatureSet,
        reference_classes: Sequence[str | None] | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(reference, FeatureSet):
            pictures = pictures_of(reference)
            unknown: list[str | None] = [None] * len(pictures)
            names = unknown if reference_classes is None else list(reference_classes)
            reference = FeatureSet(metric.features(pictures), names)
        elif reference_classes is not None:
            raise MetricError("reference_classes: a FeatureSet has its own classes, got another list; leave it out")
        empty = torch.from_numpy(reference.features[:0].copy())
        super().__init__({"features": empty, "classes": torch.zeros(0, dtype=torch.int64)}, **options)
        self.metric = metric
        self.reference = reference
        self._names = {_code(name): name for name in reference.classes if name is not None}

    def update(
        self,
        edits: Pictures | None = None,
        sources: Pictures | None = None,
        *,
        target_classes: Sequence[str | None] | None = None,
        preds: Pictures | None = None,
    ) -> None:
        """Add n edits.

        Args:
            edits: edited pictures.
            sources: not read; taken because a `torchmetrics.MetricCollection` hands all its metrics the same pictures.
            target_classes: the class that each should have, for metrics that use classes.
            preds: torchmetrics' name of `edits`.

        Raises:
            MetricError: not pictures, not one class per edit where the metric uses classes, a class that the reference lacks, or a
                call by a BootStrapper with anything but tensors.
        """
        refuse_lists_in_bootstraps(self.metric, {"edits": edits, "preds": preds, "target_classes": target_classes})
        if target_classes is None and self.metric.uses_classes:
            raise lacking(self.metric, "target_classes")
        pictures = edits_of(self.metric, edits, preds)
        names = [None] * len(pictures) if target_classes is None else list(target_classes)
        if len(names) != len(pictures):
            raise MetricError(
                f"target_classes: expected {len(pictures)}, one per edit, got {len(names)}; use None for unknown ones"
            )
        codes = [NO_CLASS if name is None else _code(name) for name in names]
        for row, (code, name) in enumerate(zip(codes, names, strict=True)):
            if name is not None and code not in self._names:
                raise MetricError(
                    f"target_classes[{row}]: the reference has no class {name!r}; add pictures of it to the reference"
                )
        features = np.asarray(self.metric.features(pictures), dtype=self.reference.features.dtype)
        self.features.append(torch.from_numpy(features.copy()).to(self.device))
        self.classes.append(torch.tensor(codes, dtype=torch.int64, device=self.device))

    def compute(self) -> torch.Tensor:
        """The metric of all edits so far, float64 (); NaN where it is undefined or there are none."""
        rows = self._joined("features").cpu().numpy()
        if not len(rows):
            return torch.tensor(float("nan"), dtype=torch.float64, device=self.device)
        codes = self._joined("classes").tolist()
        value = self.metric.value(FeatureSet(rows, [self._names.get(code) for code in codes]), self.reference)
        return torch.tensor(value, dtype=torch.float64, device=self.device)


def _code(name: str) -> int:
    """A positive int64 that every process gives the same name: 62 bits of its SHA-256."""
    return (int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 2) + 1
