"""pyiqa's measures behind our contract: on a library that is made like it, and on itself where it is installed."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from metrics.base import MetricError, PairBatch
from metrics.no_reference import NoReference


class Net(torch.nn.Module):
    """Mean level times a weight, plus a constant that is no parameter, as NIQE holds its own."""

    def __init__(self, name: str, constant: float) -> None:
        super().__init__()
        self.name, self.weight, self.constant = name, torch.nn.Parameter(torch.tensor(2.0)), torch.tensor(constant)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        assert pixels.ndim == 4
        assert pixels.dtype == torch.float32
        assert 0 <= pixels.min() <= pixels.max() <= 1
        if pixels.shape[-1] < 8:
            raise AssertionError("too small\nfor blocks")
        if self.name == "random":
            return torch.rand(1) + float(np.random.random())  # noqa: NPY002
        if self.name == "two":
            return torch.zeros(1, 2)
        return pixels.mean().reshape(1, 1) * self.weight + self.constant


class Measure:
    """What `pyiqa.create_metric` gives back."""

    def __init__(self, name: str, constant: float = 1.0) -> None:
        self.metric_name, self.net = name, Net(name, constant)
        self.lower_better, self.score_range = (True, "~0, ~100") if name == "niqe" else (False, "0, 100")


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that is called as pyiqa 0.1.16 is."""
    module, utils, download = (ModuleType(name) for name in ("pyiqa", "pyiqa.utils", "pyiqa.utils.download_util"))

    def download_url_to_file(url: str, file: str, **_: Any) -> None:
        raise AssertionError("the net was asked")

    def create_metric(name: str, device: torch.device, pretrained_model_path: str = "") -> Measure:
        torch.rand(1)
        if name == "absent":
            download.download_url_to_file("https://weights/absent.mat", "/cache/absent.mat")  # type: ignore[attr-defined]
        return Measure(name, 5.0 if pretrained_model_path else 1.0)

    module.__version__ = "0.1.16"  # type: ignore[attr-defined]
    module.list_models = lambda mode: ["absent", "niqe", "piqe", "random", "two"]  # type: ignore[attr-defined]
    module.create_metric, module.utils = create_metric, utils  # type: ignore[attr-defined]
    utils.download_util, download.download_url_to_file = download, download_url_to_file  # type: ignore[attr-defined]
    for each in (module, utils, download):
        monkeypatch.setitem(sys.modules, each.__name__, each)
    return module


def batch(*levels: int, side: int = 8) -> PairBatch:
    edits = [np.full((side, side, 3), level, dtype=np.uint8) for level in levels]
    n = len(levels)
    return PairBatch(edits, edits, [""] * n, [None] * n, [None] * n, [None] * n)


def test_pictures_come_as_numbers_of_0_to_1_and_the_card_has_direction_and_range() -> None:
    piqe, niqe = NoReference("piqe"), NoReference("niqe")
    np.testing.assert_allclose(piqe.score(batch(0, 51, 255)), [1.0, 1.4, 3.0], rtol=1e-6)
    assert (piqe.card.higher_is_better, piqe.bounds) == (True, (0.0, 100.0))
    assert (niqe.card.higher_is_better, niqe.bounds) == (False, (None, None))
    assert "Noncommercial" in piqe.card.source
    assert "not for commercial use" in piqe.card.source


def test_measure_version_and_constants_beside_the_parameters_are_in_the_fingerprint(library: ModuleType, tmp_path: Any) -> None:
    (tmp_path / "own.mat").write_bytes(b"x")
    made = [NoReference("piqe"), NoReference("niqe"), NoReference("piqe", weights=str(tmp_path / "own.mat"))]
    library.__version__ = "0.2"  # type: ignore[attr-defined]
    made.append(NoReference("piqe"))
    assert len({metric.card.fingerprint for metric in made}) == 4


def test_weights_that_are_not_there_are_told_and_not_fetched(library: ModuleType) -> None:
    with pytest.raises(
        MetricError, match=r"absent lacks absent\.mat; fetch https://weights/absent\.mat and give it as weights, or put it at"
    ):
        NoReference("absent")
    with pytest.raises(AssertionError, match="the net was asked"):  # the library is as it was
        library.utils.download_util.download_url_to_file("", "")


def test_what_it_draws_is_the_same_for_every_picture_and_nobody_elses_draws_change() -> None:
    metric = NoReference("random")
    torch.manual_seed(7)
    state, own = torch.random.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]  # noqa: NPY002
    first = metric.score(batch(1, 2))
    assert first[0] == first[1] == metric.score(batch(3))[0]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.random.get_state()[1].tolist() == own  # type: ignore[index, union-attr]  # noqa: NPY002
    NoReference("piqe")
    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_it_cannot_do_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MetricError, match=r"pyiqa measure: expected one without a reference, absent, niqe, .* got 'lpips'"):
        NoReference("lpips")
    with pytest.raises(MetricError, match=r"edits row 0: pyiqa piqe: .*too small"):
        NoReference("piqe").score(batch(1, side=4))
    with pytest.raises(MetricError, match="expected one number a picture, got 2"):
        NoReference("two").score(batch(1))
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(
        MetricError, match=r"needs the extra quality: pip install 'etabench\[quality\]' \(its licence is non-commercial\)"
    ):
        NoReference("piqe")


def test_the_library_itself_agrees(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    for name in [each for each in sys.modules if each == "pyiqa" or each.startswith("pyiqa.")]:
        monkeypatch.delitem(sys.modules, name)
    pyiqa = pytest.importorskip("pyiqa", reason="the extra quality is not installed", exc_type=ImportError)
    picture = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    ours = NoReference("piqe").score(PairBatch([picture], [picture], [""], [None], [None], [None]))
    theirs = pyiqa.create_metric("piqe", device="cpu")(torch.from_numpy(picture).permute(2, 0, 1)[None] / 255)
    assert ours[0] == pytest.approx(float(theirs), abs=1e-4)  # float32
