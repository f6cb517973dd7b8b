from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from metrics.base import MetricError
from metrics.networks.weights import digest_of_file, digest_of_state, read_state, require_file


def test_digest_of_state_is_the_same_in_any_file_format(tmp_path: Path) -> None:
    state = {
        "b": torch.arange(6.0).reshape(2, 3),
        "a": torch.tensor(3, dtype=torch.int64),
        "c": torch.ones(2, dtype=torch.bfloat16),
    }
    torch.save(state, tmp_path / "w.pth")
    save_file(state, tmp_path / "w.safetensors")
    digests = {digest_of_state(read_state(tmp_path / name, "w")) for name in ("w.pth", "w.safetensors")}
    assert digests == {digest_of_state(dict(reversed(state.items())))}


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.tensor([1.0, 2.0, 3.5, 4.0])},
        {"b": torch.tensor([1.0, 2.0, 3.0, 4.0])},
        {"a": torch.tensor([[1.0, 2.0], [3.0, 4.0]])},
        {"a": torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)},
    ],
)
def test_digest_of_state_sees_value_name_shape_and_dtype(other: dict[str, torch.Tensor]) -> None:
    assert digest_of_state(other) != digest_of_state({"a": torch.tensor([1.0, 2.0, 3.0, 4.0])})


def test_hash_in_a_file_name_must_be_true(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    for prefix in (digest[:8], "00000000"):
        (tmp_path / f"net-{prefix}.pth").write_bytes(b"weights")
    good = require_file(tmp_path / f"net-{digest[:8]}.pth", "net", "")
    assert digest_of_file(good) == digest
    with pytest.raises(MetricError, match=f"begins with 00000000, got {digest[:8]}"):
        require_file(tmp_path / "net-00000000.pth", "net", "")


def test_files_with_anything_but_tensors_are_refused(tmp_path: Path) -> None:
    torch.save({"a": 1}, tmp_path / "number.pth")
    with pytest.raises(MetricError, match="should hold a state dict of tensors"):
        read_state(tmp_path / "number.pth", "net")
    torch.save({"a": Path("x")}, tmp_path / "object.pth")
    with pytest.raises(MetricError, match=r"cannot read .* as plain tensors"):
        read_state(tmp_path / "object.pth", "net")
