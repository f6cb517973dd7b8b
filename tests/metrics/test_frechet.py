from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from metrics.base import FeatureSet, Image, MetricError, MetricWarning
from metrics.frechet import FID, frechet_distance, mean_and_covariance


def plain(features: np.ndarray) -> FeatureSet:
    return FeatureSet(features, [None] * len(features))


def direct(first: np.ndarray, second: np.ndarray) -> float:
    """The textbook formula: complex square roots of the eigenvalues of the product of covariances, float64."""
    mean1, mean2 = first.mean(0), second.mean(0)
    cov1, cov2 = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    roots = np.sqrt(np.linalg.eigvals(cov1 @ cov2).astype(complex)).real
    return float((mean1 - mean2) @ (mean1 - mean2) + np.trace(cov1) + np.trace(cov2) - 2 * roots.sum())


@pytest.mark.parametrize("n", [6, 60])
def test_equal_covariances_leave_the_squared_mean_gap(rng: np.random.Generator, n: int) -> None:
    features = rng.standard_normal((n, 20))
    shift = rng.standard_normal(20)
    # Traces of about 20 cancel: float64 rounding leaves 1e-13, singular values of rank-deficient products about as much.
    assert frechet_distance(features, features + shift) == pytest.approx(shift @ shift, abs=1e-11)


def test_diagonal_gaussians_have_a_closed_form() -> None:
    d = 5
    steps = np.sqrt((2 * d - 1) / 2)  # +-s e_i for each axis: mean 0, covariance exactly diag(s^2)
    axes = np.concatenate([np.eye(d), -np.eye(d)]) * steps
    wide = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    narrow = np.array([2.0, 2.0, 1.0, 0.5, 0.0])
    gap = np.array([0.0, 1.0, 0.0, -2.0, 0.5])
    expected = gap @ gap + ((wide - narrow) ** 2).sum()
    assert frechet_distance(axes * wide, axes * narrow + gap) == pytest.approx(expected, abs=1e-10)


def test_mean_and_covariance_are_numpys_in_float64(rng: np.random.Generator) -> None:
    features = rng.standard_normal((9, 4)).astype(np.float32)
    mean, covariance = mean_and_covariance(features)
    assert mean.dtype == covariance.dtype == np.float64
    np.testing.assert_allclose(mean, features.astype(np.float64).mean(0), rtol=1e-14)
    np.testing.assert_allclose(covariance, np.cov(features.astype(np.float64), rowvar=False), rtol=1e-12)


@pytest.mark.parametrize(("n1", "n2", "d"), [(10, 12, 40), (10, 90, 40), (90, 10, 40), (90, 80, 40), (40, 40, 40)])
def test_all_forms_agree_with_the_textbook_formula(rng: np.random.Generator, n1: int, n2: int, d: int) -> None:
    first = rng.standard_normal((n1, d)) @ rng.standard_normal((d, d))
    second = rng.standard_normal((n2, d)) + 0.3
    # Eigenvalues of a rank-deficient product that should be 0 come out near 1e-12, their square roots near 1e-6: the
    # textbook formula itself is no better than about 1e-6 relative there.
    assert frechet_distance(first, second) == pytest.approx(direct(first, second), rel=5e-6)


def test_rank_deficient_sets_agree_with_exact_one_dimensional_arithmetic(rng: np.random.Generator) -> None:
    line = rng.standard_normal(30)
    line /= np.linalg.norm(line)
    along1, along2 = rng.standard_normal(6), 3 * rng.standard_normal(9)
    expected = (along1.mean() - along2.mean()) ** 2 + (along1.std(ddof=1) - along2.std(ddof=1)) ** 2
    # Both covariances have rank one on the same line; the singular-value form is exact to rounding of the traces.
    assert frechet_distance(np.outer(along1, line), np.outer(along2, line)) == pytest.approx(expected, rel=1e-12)


def test_agrees_with_torch_fidelity_on_the_same_features(rng: np.random.Generator) -> None:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    first, second = rng.random((200, 24)), rng.random((150, 24)) ** 2
    statistics = [fid_features_to_statistics(torch.from_numpy(features)) for features in (first, second)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    # Full rank, float64 on both sides: only the order of sums differs.
    assert frechet_distance(first, second) == pytest.approx(theirs, rel=1e-9)


def test_symmetric_and_zero_for_itself(rng: np.random.Generator) -> None:
    first, second = rng.standard_normal((7, 30)), rng.standard_normal((50, 30))
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first), rel=1e-12)
    assert 0 <= frechet_distance(first, first) < 1e-10  # traces of about 30 cancel to rounding


def test_refuses_other_dimensions_and_single_rows(rng: np.random.Generator) -> None:
    with pytest.raises(MetricError, match="one dimension, got 3 and 4"):
        frechet_distance(rng.random((5, 3)), rng.random((5, 4)))
    with pytest.raises(MetricError, match=r"second features: expected \(n >= 2, d\), got \(1, 3\)"):
        frechet_distance(rng.random((5, 3)), rng.random((1, 3)))


@pytest.mark.parametrize("parameters", [{"min_samples": 1}, {"min_samples": 2.5}, {"policy": "guess"}])
def test_parameters_are_checked(resnet_folder: Path, parameters: dict[str, object]) -> None:
    with pytest.raises(MetricError, match=f"fid {next(iter(parameters))}: expected"):
        FID(f"folder:{resnet_folder}", **parameters)  # type: ignore[arg-type]


def test_few_samples_follow_the_policy(resnet_folder: Path, rng: np.random.Generator) -> None:
    few, many = plain(rng.random((4, 6))), plain(rng.random((30, 6)))
    with pytest.raises(MetricError, match="at least 10 samples in each set, got 4 edits and 30 references"):
        FID(f"folder:{resnet_folder}", min_samples=10).value(few, many)
    assert np.isnan(FID(f"folder:{resnet_folder}", min_samples=10, policy="nan").value(few, many))
    with pytest.warns(MetricWarning, match="got 4 edits"):
        warned = FID(f"folder:{resnet_folder}", min_samples=10, policy="warn").value(few, many)
    assert warned == frechet_distance(few.features, many.features)


def test_end_to_end_prefers_the_same_pictures(resnet_folder: Path, pictures: list[Image]) -> None:
    fid = FID(f"folder:{resnet_folder}")
    bright = [255 - image // 4 for image in pictures]
    same, other = plain(fid.features(pictures)), plain(fid.features(bright))
    assert fid.value(same, same) < 1e-9 < fid.value(other, same)
    assert fid.card.higher_is_better is False
