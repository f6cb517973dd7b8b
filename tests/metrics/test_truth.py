from __future__ import annotations

import numpy as np
import pytest
from torch import nn
from torchvision.transforms.functional import to_tensor

from metrics.base import Image, MetricError, PairBatch
from metrics.truth import L1Truth, L2Truth


def batch(edits: list[Image], truths: list[Image | None]) -> PairBatch:
    n = len(edits)
    return PairBatch(edits, edits, ["a cat"] * n, [None] * n, [None] * n, truths)


@pytest.mark.parametrize(("metric", "loss"), [(L1Truth, nn.L1Loss()), (L2Truth, nn.MSELoss())])
def test_the_loss_that_magicbrush_takes(metric: type[L1Truth] | type[L2Truth], loss: nn.Module, pictures: list[Image]) -> None:
    scores = metric().score(batch(pictures[:3], [*pictures[3:6]]))
    expected = [float(loss(to_tensor(e), to_tensor(t))) for e, t in zip(pictures[:3], pictures[3:6], strict=True)]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)  # the reference sums 12288 differences in float32


def test_values_known_by_hand() -> None:
    edit, truth = np.full((2, 3, 3), 51, dtype=np.uint8), np.zeros((2, 3, 3), dtype=np.uint8)
    rows = batch([edit, truth, edit], [truth, truth, None])
    np.testing.assert_allclose(L1Truth().score(rows), [0.2, 0.0, np.nan], rtol=1e-12)  # 51 / 255, in float64
    np.testing.assert_allclose(L2Truth().score(rows), [0.04, 0.0, np.nan], rtol=1e-12)


def test_another_size_is_refused(pictures: list[Image]) -> None:
    with pytest.raises(
        MetricError, match=r"l1_truth: edits\[1\] is \(64, 64\), truths\[1\] \(32, 64\); pixels are compared in place"
    ):
        L1Truth().score(batch(pictures[:2], [pictures[2], pictures[3][:32]]))


def test_no_rows_and_two_cards() -> None:
    assert L2Truth().score(batch([], [])).shape == (0,)
    assert L1Truth().card.fingerprint != L2Truth().card.fingerprint
    assert "true edit" in L1Truth().card.masking
    with pytest.raises(MetricError, match="device"):
        L1Truth(device="nowhere")
