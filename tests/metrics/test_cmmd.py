from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from metrics.base import FeatureSet, MetricError, MetricWarning
from metrics.cmmd import CMMD, CMMDUnbiased, cmmd


def plain(features: np.ndarray) -> FeatureSet:
    return FeatureSet(features, [None] * len(features))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_two_pictures_by_hand() -> None:
    # At right angles |x - y|^2 = 2, so k = exp(-2/200): biased 2 - 2k; of any length, since embeddings are normalised.
    assert cmmd(np.array([[3.0, 0.0]]), np.array([[0.0, 0.5]])) == pytest.approx(2000 * (1 - np.exp(-0.01)), rel=1e-12)
    with pytest.raises(MetricError, match="feature row 1 is zero"):
        cmmd(np.array([[1.0, 0.0], [0.0, 0.0]]), np.eye(2))


def test_agrees_with_torch_fidelitys_gaussian_kernel(rng: np.random.Generator) -> None:
    from torch_fidelity.metric_kid import kernel_rbf, mmd2

    x, y = unit(rng.standard_normal((9, 5))), unit(rng.standard_normal((9, 5)) + 0.4)
    kernels = [kernel_rbf(a, b, kid_kernel_rbf_sigma=10) for a, b in ((x, x), (x, y), (y, y))]
    # Values are differences of kernel means near 1, times 1000: 1e-13 of rounding at the least.
    assert cmmd(x, y) == pytest.approx(1000 * mmd2(*kernels, mmd_est="biased"), abs=1e-11)
    assert cmmd(x, y, unbiased=True) == pytest.approx(1000 * mmd2(*kernels, mmd_est="unbiased"), abs=1e-11)


def test_biased_form_is_never_negative_and_the_other_has_mean_zero() -> None:
    draws = [np.random.default_rng(seed).standard_normal((2, 10, 8)) for seed in range(300)]
    biased = np.array([cmmd(x, y) for x, y in draws])
    unbiased = np.array([cmmd(x, y, unbiased=True) for x, y in draws])
    error = unbiased.std(ddof=1) / np.sqrt(len(draws))
    # 3.5 standard errors of a mean over fixed seeds: 1 in 2000 would lie outside.
    assert abs(unbiased.mean()) < 3.5 * error
    # What the diagonals add: (1 - mean kernel) / n for each set, the cosine of independent directions being 0 on average.
    assert biased.mean() == pytest.approx(2 * 1000 * (1 - np.exp(-0.01)) / 10, abs=0.02)
    assert biased.min() >= 0


def test_metric_substitutes_the_unbiased_form_where_told_to(resnet_folder: Path, rng: np.random.Generator) -> None:
    x, y = plain(rng.random((5, 12))), plain(rng.random((7, 12)))
    spec = f"folder:{resnet_folder}"
    with pytest.warns(MetricWarning, match="cmmd: 5 edits against 7 references, fewer than 1000: biased upward"):
        assert CMMD(spec).value(x, y) == cmmd(x.features, y.features)
    with pytest.warns(MetricWarning, match="this is cmmd_unbiased instead"):
        assert CMMD(spec, small="substitute").value(x, y) == cmmd(x.features, y.features, unbiased=True)
    assert CMMDUnbiased(spec).value(x, y) == cmmd(x.features, y.features, unbiased=True)
    assert CMMD(spec).card.fingerprint != CMMDUnbiased(spec).card.fingerprint


@pytest.mark.parametrize("kind", [CMMD, CMMDUnbiased])
def test_masks_of_a_pool_give_the_value_of_each_subset(resnet_folder: Path, rng: np.random.Generator, kind: type[CMMD]) -> None:
    pool, reference = plain(rng.standard_normal((16, 12))), plain(rng.standard_normal((9, 12)))
    masks = np.array([np.arange(16) < 5, np.arange(16) % 2 == 0])
    expected = [cmmd(pool.features[rows], reference.features, unbiased=kind is CMMDUnbiased) for rows in masks]
    found = kind(f"folder:{resnet_folder}").values(pool, reference, masks)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)  # kernel means near 1, times 1000


def test_float32_features_lose_nothing_beyond_their_own_rounding(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((2, 30, 8)).astype(np.float32)
    assert cmmd(x, y) == cmmd(x.astype(np.float64), y.astype(np.float64))
    assert torch.tensor(cmmd(x, y)) > 0
