"""Metrics on an emulated CUDA card: the CPU's scores, also where the caller's own networks run in half precision."""

from __future__ import annotations

import inspect
from importlib.metadata import entry_points
from typing import Any

import numpy as np
import pytest
import torch

from bench.benchmarks.emulated import on_card, unavailable
from metrics.base import PairBatch, PairMetric

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(unavailable()), reason=unavailable())]


def scores(card: Any) -> dict[str, Any]:
    """Of every metric that comes with a network for ToyBox: its values on the CPU, on the card, and there under autocast and TF32."""
    from embedded_model import tasks

    from bench.toybox import embedded

    given = tasks(4)
    pictures = [task.image for task in given]
    masks = [task.mask for task in given if task.mask is not None]
    kinds = [point.load() for point in entry_points(group="etabench.metrics")]
    texts = [task.target_text for task in given]
    classes = ["dog", "cat", "dog", "cat"]
    batch = PairBatch(
        pictures[::-1], pictures, texts, [task.source_text or "" for task in given], masks, pictures, classes, classes
    )
    found = {}
    for kind in kinds:
        networks = embedded.metric_networks(kind)
        taken = inspect.signature(kind).parameters.values()
        lacking = [each.name for each in taken if each.default is each.empty and each.name not in networks]
        if not networks or lacking:  # what ToyBox has no file for, as an aesthetic head
            continue

        def values(device: str, kind: Any = kind, networks: Any = networks) -> Any:
            metric = kind(**networks, device=device)
            found = metric.score(batch) if isinstance(metric, PairMetric) else metric.features(batch.edits)
            return np.nan_to_num(np.asarray(found, dtype=np.float64))

        expected = values("cpu")
        card.clear()
        plain = values("cuda")
        torch.backends.cuda.matmul.allow_tf32 = True
        with torch.autocast("cuda", torch.float16):
            under = values("cuda")
        kept = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        found[kind.name] = {
            "off": float(np.abs(plain - expected).max() / max(1.0, np.abs(expected).max())),
            "moved": float(np.abs(under - plain).max()),
            "kept": kept,
            "products": sum(card.operators[name] for name in ("mm", "addmm", "bmm", "convolution")),
        }
    return found


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return on_card(scores)


def test_every_metric_scores_as_on_a_cpu(found: dict[str, Any]) -> None:
    assert len(found) >= 20
    assert all(each["products"] for each in found.values())  # the network did run on the card
    # the CPU's kernels run, but for fused attention, whose float32 sums have another order
    assert {name: each["off"] for name, each in found.items() if each["off"] > 1e-5} == {}


def test_what_the_caller_switched_on_moves_no_score(found: dict[str, Any]) -> None:
    assert {name: each["moved"] for name, each in found.items() if each["moved"]} == {}
    assert all(each["kept"] for each in found.values())
