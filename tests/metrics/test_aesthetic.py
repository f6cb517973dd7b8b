"""The aesthetic predictor: both published forms of its head are one linear map of the unit embedding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from metrics.aesthetic import Aesthetic
from metrics.base import Image, MetricError, PairBatch

Pairs = Callable[..., PairBatch]


def test_it_is_the_head_on_the_unit_embedding(
    judge_folder: Path, aesthetic_head: Path, pictures: list[Image], pairs: Pairs
) -> None:
    metric = Aesthetic(str(aesthetic_head), f"local-dir:{judge_folder}")
    rows = torch.from_numpy(metric.image_extractor(pictures))
    head = torch.nn.Linear(16, 1)
    head.load_state_dict(torch.load(aesthetic_head, weights_only=True))
    with torch.no_grad():
        expected = head(rows / rows.norm(dim=1, keepdim=True))[:, 0]
    np.testing.assert_allclose(metric.score(pairs(pictures)), expected, rtol=1e-5)  # the head in float32 there


def test_a_head_of_several_layers_is_what_its_network_computes(
    judge_folder: Path, tmp_path: Path, pictures: list[Image], pairs: Pairs
) -> None:
    """The improved predictor's names: layers.0, layers.2, ... with dropout between them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = torch.nn.Sequential(
            torch.nn.Linear(16, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 4), torch.nn.Linear(4, 1)
        ).eval()
    torch.save({f"layers.{name}": tensor for name, tensor in head.state_dict().items()}, tmp_path / "mlp.pth")
    metric = Aesthetic(str(tmp_path / "mlp.pth"), f"local-dir:{judge_folder}")
    rows = torch.from_numpy(metric.image_extractor(pictures))
    with torch.no_grad():
        expected = head(rows / rows.norm(dim=1, keepdim=True))[:, 0]
    np.testing.assert_allclose(metric.score(pairs(pictures)), expected, rtol=0, atol=1e-5)  # float32 there
    assert "head of 3 linear layers" in metric.card.network


def test_the_head_is_in_the_fingerprint_and_its_file_format_is_not(
    judge_folder: Path, aesthetic_head: Path, tmp_path: Path
) -> None:
    state = torch.load(aesthetic_head, weights_only=True)
    save_file(state, tmp_path / "same.safetensors")
    save_file(state | {"bias": state["bias"] + 1}, tmp_path / "other.safetensors")
    where = f"local-dir:{judge_folder}"
    one, same, other = (
        Aesthetic(str(file), where) for file in (aesthetic_head, *(tmp_path / f"{n}.safetensors" for n in ("same", "other")))
    )
    assert one.card.fingerprint == same.card.fingerprint != other.card.fingerprint
    assert one.image_extractor.identity.key == other.image_extractor.identity.key, "they share the pictures' features"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"conv.weight": torch.zeros(1, 16)}, "holds conv.weight, which is no weight of a linear layer"),
        ({"weight": torch.zeros(2, 16), "bias": torch.zeros(2)}, "layer 0 of .* does not lead to one number"),
        ({"weight": torch.zeros(1, 16)}, "layer 0 of .* does not lead to one number"),
        ({"weight": torch.zeros(1, 3), "bias": torch.zeros(1)}, "reads 3 features, .* gives 16"),
    ],
)
def test_a_head_that_is_none_is_refused(judge_folder: Path, tmp_path: Path, state: dict[str, torch.Tensor], said: str) -> None:
    save_file(state, tmp_path / "head.safetensors")
    with pytest.raises(MetricError, match=f"aesthetic head: .*{said}"):
        Aesthetic(str(tmp_path / "head.safetensors"), f"local-dir:{judge_folder}")


def test_a_missing_head_says_which_there_are() -> None:
    with pytest.raises(MetricError, match=r"aesthetic head: no file at /nowhere.pth; .* give LAION's sa_0_4_vit_l_14_linear.pth"):
        Aesthetic("/nowhere.pth")
