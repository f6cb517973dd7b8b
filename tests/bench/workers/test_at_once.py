"""How many units a worker makes together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bench.workers.worker import MOST_AT_ONCE, Worker


def worker(batch: int | str, device: str, max_batch: int = 64, **entry: Any) -> Worker:
    about = {"target": "sdedit", "needs_model": True, "values": (0.2, 0.4, 0.6), **entry}
    run: Any = SimpleNamespace(spec=SimpleNamespace(batch=batch), plan=SimpleNamespace(entries=[SimpleNamespace(**about)]))
    made = Worker(run, device, 1, lambda: False)
    vars(made)["model"] = SimpleNamespace(max_batch=max_batch)
    return made


@pytest.mark.parametrize(
    ("maker", "expected"),
    [
        (worker(5, "cpu"), 5),
        (worker(5, "cuda:1"), 5),
        (worker("auto", "cpu"), 1),
        (worker("auto", "cuda:1"), 64 // 6),
        (worker("auto", "cuda", 4), 1),
        (worker("auto", "cuda", 1024, values=(0.0,)), MOST_AT_ONCE),
        (worker("auto", "cuda", target="imagic"), 1),
        (worker("auto", "cuda", target="copy", needs_model=False, values=(0.0,)), 1),
    ],
)
def test_auto_fills_a_call_on_a_gpu_and_is_one_unit_elsewhere(maker: Worker, expected: int) -> None:
    assert maker.at_once(0) == expected
