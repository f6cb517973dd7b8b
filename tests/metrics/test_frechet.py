from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from metrics.base import FeatureSet, Image, MetricError, MetricWarning
from metrics.frechet import FID, SINGULAR, FrechetDistance, Gaussian, frechet_distance
from metrics.kid import kid


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


@pytest.mark.parametrize("n", [9, 90])
def test_gaussian_holds_numpys_moments_in_float64(rng: np.random.Generator, n: int) -> None:
    features = rng.standard_normal((n, 14)).astype(np.float32)
    fitted, wide = Gaussian.of(features), features.astype(np.float64)
    assert fitted.mean.dtype == fitted.factor.dtype == np.float64
    assert fitted.factor.shape == (min(n, 14), 14)
    np.testing.assert_allclose(fitted.mean, wide.mean(0), rtol=1e-13, atol=1e-15)
    # A Cholesky factor gives its matrix back to rounding, about 14 x 1e-16 of the largest entry.
    np.testing.assert_allclose(fitted.factor.T @ fitted.factor, np.cov(wide, rowvar=False), rtol=0, atol=1e-14)
    assert fitted.trace == pytest.approx(np.trace(np.cov(wide, rowvar=False)), rel=1e-13)


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


def test_rank_deficient_sets_agree_with_fifty_digits(rng: np.random.Generator) -> None:
    import mpmath

    n, d = 4, 7
    first, second = rng.standard_normal((n, d)), rng.standard_normal((n, d)) @ np.diag([3, 2, 1, 1, 0.1, 0.01, 0.0])
    with mpmath.workdps(50):
        one, two = mpmath.matrix(first.tolist()), mpmath.matrix(second.tolist())
        means = [mpmath.matrix([[mpmath.fsum(m[:, k]) / n for k in range(d)]]) for m in (one, two)]
        centred = [(m - mpmath.ones(n, 1) * mean) / mpmath.sqrt(n - 1) for m, mean in zip((one, two), means, strict=True)]
        traces = mpmath.fsum(x * x for m in centred for x in m)
        product = centred[0] * centred[1].T
        roots = mpmath.fsum(mpmath.svd_r(product, compute_uv=False))
        gap = mpmath.fsum((a - b) ** 2 for a, b in zip(means[0], means[1], strict=True))
        expected = float(gap + traces - 2 * roots)
    # Covariances of rank three in seven dimensions, products of rank three of four: rounding of sums of size ten, 1e-15 relative.
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-13)


def test_more_rows_than_dimensions_of_which_some_are_dead(rng: np.random.Generator) -> None:
    first, second = rng.standard_normal((60, 12)), rng.standard_normal((50, 12)) + 0.5
    first[:, 5:], second[:, 5:] = 0.25, 0.25  # singular covariances, for which no Cholesky factor exists
    alive = frechet_distance(first[:, :5], second[:, :5])
    # The eigenvalues that stand in are zero to 1e-16, their roots to 1e-8.
    assert frechet_distance(first, second) == pytest.approx(alive, abs=1e-7)


def test_large_sets_take_the_symmetric_eigen_form_and_agree_with_singular_values(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    import metrics.frechet as module

    first, second = rng.standard_normal((80, 30)) * rng.random(30), rng.standard_normal((70, 30)) + 0.1
    exact = frechet_distance(first, second)
    assert min(first.shape) <= SINGULAR
    monkeypatch.setattr(module, "SINGULAR", 0)
    monkeypatch.setattr(np.linalg, "svd", None)
    # Full rank: the roots of eigenvalues lose at most 1e-8 of the smallest singular value, which is about 1 % of the largest.
    assert frechet_distance(first, second) == pytest.approx(exact, rel=1e-9)


def test_torchmetrics_agrees_through_a_feature_module_of_ones_own(rng: np.random.Generator) -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Flat(torch.nn.Module):
        num_features = 12

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels.double().flatten(1)

    theirs = FrechetInceptionDistance(Flat(), normalize=False, input_img_size=(3, 2, 2)).set_dtype(torch.float64)
    first, second = (rng.integers(low, 256, (n, 3, 2, 2), dtype=np.uint8) for n, low in ((90, 0), (70, 40)))
    theirs.update(torch.from_numpy(second), real=True)
    theirs.update(torch.from_numpy(first), real=False)
    mine = frechet_distance(first.reshape(90, 12).astype(np.float64), second.reshape(70, 12).astype(np.float64))
    # Streaming moments: they subtract n mean mean' from sums of squares near 1e6, which costs six of sixteen digits.
    assert mine == pytest.approx(float(theirs.compute()), rel=1e-8)


def test_masks_of_a_pool_give_the_distance_of_each_subset(resnet_folder: Path, rng: np.random.Generator) -> None:
    metric = FrechetDistance(f"folder:{resnet_folder}")
    pool, masks = plain(rng.standard_normal((40, 12))), rng.random((5, 40)) < np.array([[0.2], [0.5], [0.9], [0.15], [1.0]])
    masks[3] = np.arange(40) < 1
    for reference in (plain(rng.standard_normal((8, 12))), plain(rng.standard_normal((60, 12)) + 0.2)):
        expected = [frechet_distance(pool.features[rows], reference.features) for rows in masks[[0, 1, 2, 4]]]
        found = metric.values(pool, reference, masks)
        assert np.isnan(found[3]), "one row has no covariance"
        # Shared products leave eigenvalues of 1e-16 where singular values are zero: 1e-8 of the largest root each.
        np.testing.assert_allclose(found[[0, 1, 2, 4]], expected, rtol=1e-6)


def test_the_reference_is_factorised_once_for_many_cells(
    resnet_folder: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric, calls = FID(f"folder:{resnet_folder}"), []
    original = Gaussian.of
    monkeypatch.setattr(Gaussian, "of", lambda rows, what="": calls.append(len(rows)) or original(rows))
    theirs = rng.standard_normal((30, 12))
    for seed in range(3):
        metric.value(plain(np.random.default_rng(seed).standard_normal((20, 12))), plain(theirs.copy()))
    assert calls.count(30) == 1
    theirs[0, 0] += 1
    changed = plain(theirs)
    assert metric.value(changed, changed) == pytest.approx(0, abs=1e-10), "other contents, another factor"
    assert calls.count(30) == 3


@pytest.mark.parametrize("parameters", [{"min_samples": 1}, {"min_samples": 2.5}, {"small": "guess"}])
def test_parameters_are_checked(resnet_folder: Path, parameters: dict[str, object]) -> None:
    with pytest.raises(MetricError, match=f"fid {next(iter(parameters))}: expected"):
        FID(f"folder:{resnet_folder}", **parameters)


def test_few_samples_follow_the_policy(resnet_folder: Path, rng: np.random.Generator) -> None:
    few, many = plain(rng.random((4, 12))), plain(rng.random((30, 12)))
    refusing, warning, replacing = (FID(f"folder:{resnet_folder}", small=small) for small in ("refuse", "warn", "substitute"))
    assert (refusing.min_samples, warning.min_samples, warning.enough) == (13, 2, 13), "one more than the twelve dimensions"
    with pytest.warns(MetricWarning, match="fid: 4 edits against 30 references, fewer than 13: no value"):
        assert np.isnan(refusing.value(few, many))
    with pytest.warns(MetricWarning, match="biased upward at this n"):
        assert warning.value(few, many) == frechet_distance(few.features, many.features)
    with pytest.warns(MetricWarning, match="this is kid instead"):
        assert replacing.value(few, many) == kid(few.features, many.features)
    assert len({metric.card.fingerprint for metric in (refusing, warning, replacing)}) == 3
    with pytest.warns(MetricWarning, match="no value"):
        assert np.isnan(warning.value(plain(rng.random((1, 12))), many))


def test_fid_is_not_over_other_networks_where_fd_is(resnet_folder: Path) -> None:
    for network in ("dinov2:/x", "clip:local-dir:/x"):
        with pytest.raises(MetricError, match="over other networks use fd"):
            FID(network)
    same = FID(f"folder:{resnet_folder}"), FrechetDistance(f"folder:{resnet_folder}")
    assert same[0].extractor == same[1].extractor
    assert [metric.name for metric in same] == ["fid", "fd"]


def test_end_to_end_prefers_the_same_pictures(resnet_folder: Path, pictures: list[Image]) -> None:
    fid = FID(f"folder:{resnet_folder}", min_samples=2)
    bright = [255 - image // 4 for image in pictures]
    same, other = plain(fid.features(pictures)), plain(fid.features(bright))
    assert fid.value(same, same) < 1e-9 < fid.value(other, same)
    assert fid.card.higher_is_better is False
