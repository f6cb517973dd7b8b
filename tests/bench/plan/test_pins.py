"""What a run looks up once beside the hub's commits: the dtype of its device. Commits: `tests/bench/test_hub_runs.py`."""

from __future__ import annotations

import pytest
from fake_specs import SpecMaker, editor

from bench.plan import pins


def test_auto_is_the_best_of_the_device_and_stays_what_it_was(make_spec: SpecMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make_spec(editor("Unchanged")).model_copy(update={"dtype": "auto", "device": "cpu"})
    pinned, found = pins.pin(spec)
    assert (pinned.dtype, found) == ("float32", {"dtype auto": "float32"})
    monkeypatch.setattr(pins, "best_dtype", lambda device: "bfloat16")
    assert pins.pin(spec)[0].dtype == "bfloat16"
    assert pins.pin(spec, found)[0].dtype == "float32"
    assert pins.pin(spec.model_copy(update={"dtype": "float16"}), found) == (spec.model_copy(update={"dtype": "float16"}), {})
