from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import devices
from bench.devices import PeakMemory, pick_device
from bench.errors import ModelError

MEBIBYTES = 64


def taken(size: int) -> dict[str, object]:
    """What is measured of something that takes `size` MiB and gives them back."""
    memory = PeakMemory("cpu")
    block = np.ones(size * 2**20, dtype=np.uint8)
    del block
    return memory.read()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the mark cannot be set back")
def test_the_peak_is_that_of_the_unit_and_not_of_those_before() -> None:
    """In a process of its own, where nothing else takes or frees memory meanwhile."""
    code = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_devices import MEBIBYTES, taken
print(json.dumps([taken(size) for size in (4 * MEBIBYTES, MEBIBYTES, 0)]))
"""
    path = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, env=path)
    large, small, none = json.loads(done.stdout)
    # pages that the allocator keeps or the system adds: far less than the blocks
    assert large["mb"] == pytest.approx(4 * MEBIBYTES, abs=16)
    assert small["mb"] == pytest.approx(MEBIBYTES, abs=16)
    assert none["mb"] == pytest.approx(0, abs=16)
    assert small["kind"] == "resident, taken by the unit"


def test_where_the_mark_cannot_be_set_back_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(devices, "_PROCESS", tmp_path / "none")
    measured = taken(1)
    assert measured["kind"] == "resident, by how much the unit raised the process's mark"
    assert isinstance(measured["mb"], float)


def test_a_device_that_is_not_there_is_named() -> None:
    import torch

    assert pick_device("cpu") == "cpu"
    if not torch.cuda.is_available():
        assert pick_device("auto") in {"cpu", "mps"}
        with pytest.raises(ModelError, match="'cuda:1' was asked for but torch sees no CUDA device"):
            pick_device("cuda:1")


@pytest.mark.slow
@pytest.mark.parametrize("used", ["none", "older", "newer"])
def test_whatever_switches_the_caller_used_for_precision_hold_again(used: str) -> None:
    """In a process of its own: torch keeps in mind which of its two kinds of switches were used."""
    code = f"""
import json
import torch
from bench.devices import deterministic

matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
if {used!r} == "older":
    torch.set_float32_matmul_precision("high")
    cudnn.allow_tf32 = False
if {used!r} == "newer":
    matmul.fp32_precision = cudnn.conv.fp32_precision = "tf32"

def state():
    older = [] if {used!r} == "newer" else [torch.get_float32_matmul_precision(), cudnn.allow_tf32, matmul.allow_tf32]
    places = (matmul, cudnn.conv, cudnn.rnn)
    return [*older, cudnn.enabled, cudnn.benchmark, cudnn.deterministic, *(place.fp32_precision for place in places)]

before = state()
with deterministic(1):
    within = [place.fp32_precision for place in (matmul, cudnn.conv, cudnn.rnn)] + [cudnn.deterministic]
assert within == ["ieee", "ieee", "ieee", True], within
assert state() == before, (before, state())
"""
    path = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False, env=path)
    assert done.returncode == 0, done.stderr
