from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from metrics.base import Image, MetricError, PairBatch
from metrics.pixels import L1, MSE, PSNR, SSIM, MaskFraction, ssim_map

Mask = NDArray[np.bool_]


def batch(edits: list[Any], sources: list[Any], masks: list[Any] | None = None) -> PairBatch:
    n = len(edits)
    return PairBatch(edits, sources, ["a cat"] * n, [None] * n, masks or [None] * n, [None] * n)


def left(columns: int) -> Mask:
    mask = np.zeros((64, 64), dtype=np.bool_)
    mask[:, :columns] = True
    return mask


def even_damage(rng: np.random.Generator) -> tuple[Image, Image]:
    """A picture and itself with noise of one strength everywhere."""
    source = rng.integers(60, 190, (64, 64, 3))
    edit = np.clip(np.rint(source + 15 * rng.standard_normal(source.shape)), 0, 255)
    return edit.astype(np.uint8), source.astype(np.uint8)


def test_whole_pictures_agree_with_scikit_image(pictures: list[Image]) -> None:
    edit, source = pictures[:2]
    one, two = edit / 255, source / 255
    rows = batch([edit], [source])
    # torchmetrics takes the logarithm of the base in float32.
    assert PSNR().score(rows)[0] == pytest.approx(peak_signal_noise_ratio(two, one, data_range=1.0), rel=1e-7)
    # Both in float64, with sums in another order.
    assert MSE().score(rows)[0] == pytest.approx(mean_squared_error(two, one), rel=1e-12)
    assert L1().score(rows)[0] == pytest.approx(np.abs(one - two).mean(), rel=1e-12)
    expected = structural_similarity(
        two, one, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
    )
    assert SSIM().score(rows)[0] == pytest.approx(expected, rel=1e-12)


def test_ssim_map_is_torchmetrics_map(pictures: list[Image], rng: np.random.Generator) -> None:
    for edit, source in (pictures[:2], even_damage(rng)):
        tensors = (torch.from_numpy(image).permute(2, 0, 1)[None].double() / 255 for image in (edit, source))
        _, expected = structural_similarity_index_measure(*tensors, data_range=1.0, return_full_image=True)
        # Two float64 convolutions of 121 taps in another order, and a variance that cancels.
        np.testing.assert_allclose(ssim_map(edit, source), expected[0].permute(1, 2, 0).numpy(), rtol=0, atol=1e-11)


@pytest.mark.parametrize("metric", [MSE, L1, PSNR])
def test_region_is_the_same_value_of_the_pictures_cut_to_it(metric: type[Any], pictures: list[Image]) -> None:
    edit, source = pictures[:2]
    rows = batch([edit], [source], [left(20)])
    assert metric("edited").score(rows) == metric().score(batch([edit[:, :20]], [source[:, :20]]))
    assert metric("background").score(rows) == metric().score(batch([edit[:, 20:]], [source[:, 20:]]))


def test_ssim_of_a_region_does_not_see_past_it(pictures: list[Image], rng: np.random.Generator) -> None:
    edit, source = pictures[:2]
    other = edit.copy()
    other[:, :20] = rng.integers(0, 256, (64, 20, 3))
    background = SSIM("background")
    assert background.score(batch([edit], [source], [left(20)])) == background.score(batch([other], [source], [left(20)]))
    cut = SSIM().score(batch([edit[:, 20:]], [source[:, 20:]]))
    np.testing.assert_allclose(background.score(batch([edit], [source], [left(20)])), cut, rtol=1e-12)  # float64, other offsets


def test_growing_the_mask_over_even_damage_moves_nothing_but_zero_filling(rng: np.random.Generator) -> None:
    edit, source = even_damage(rng)
    masks = [left(columns) for columns in (1, 16, 32, 48, 58)]
    rows = batch([edit] * 5, [source] * 5, masks)
    true = PSNR("background").score(rows)
    blackened = [image * ~mask[..., None] for mask in masks for image in (edit, source)]
    zero_filled = PSNR().score(batch(blackened[::2], blackened[1::2]))
    # Six columns of 64 x 3 noise values: the standard error of a mean square is 6 %, 0.26 dB; three of them.
    assert np.ptp(true) < 0.8
    assert np.ptp(zero_filled) > 9  # 10 log10(64 / 6) = 10.3 dB for nothing but a larger mask


def test_equal_pictures(pictures: list[Image]) -> None:
    same = batch(pictures[:2], [picture.copy() for picture in pictures[:2]])
    assert MSE().score(same).tolist() == L1().score(same).tolist() == [0.0, 0.0]
    assert SSIM().score(same).tolist() == [1.0, 1.0]
    assert np.isnan(PSNR().score(same)).all()
    assert "equal pixels" in PSNR().card.nan_rule


def test_a_difference_outside_the_region_leaves_the_background_perfect(pictures: list[Image]) -> None:
    source = pictures[0]
    edit = source.copy()
    edit[:, :10] //= 2
    rows = batch([edit], [source], [left(10)])
    assert MSE("background").score(rows) == 0 < MSE("edited").score(rows)
    assert np.isnan(PSNR("background").score(rows)[0])


@pytest.mark.parametrize("metric", [MSE, L1, PSNR, SSIM])
def test_undefined_regions_are_nan(metric: type[Any], pictures: list[Image]) -> None:
    full, empty = np.ones((64, 64), np.bool_), np.zeros((64, 64), np.bool_)
    rows = batch(pictures[:3], pictures[1:4], [None, full, empty])
    assert np.isnan(metric("background").score(rows)).tolist() == [True, True, False]
    assert np.isnan(metric("edited").score(rows)).tolist() == [True, False, True]
    assert not np.isnan(metric().score(rows)).any()


def test_ssim_needs_room_for_a_window(pictures: list[Image]) -> None:
    small = [picture[:10, :40] for picture in pictures[:2]]
    assert np.isnan(SSIM().score(batch(small[:1], small[1:]))[0])
    assert np.isnan(SSIM("edited").score(batch(pictures[:1], pictures[1:2], [left(10)]))[0])
    assert "no window fits" in SSIM().card.nan_rule


@pytest.mark.parametrize("metric", [MSE, L1, PSNR, SSIM])
def test_floats_and_other_sizes_are_refused(metric: type[Any], pictures: list[Image]) -> None:
    with pytest.raises(MetricError, match=r"edits\[0\]: expected uint8 .* got float64"):
        metric().score(batch([pictures[0] / 255], [pictures[1]]))
    with pytest.raises(MetricError, match=r"edits\[0\] is \(32, 64\), sources\[0\] \(64, 64\)"):
        metric().score(batch([pictures[0][:32]], [pictures[1]]))
    with pytest.raises(MetricError, match=f"{metric.name} region: expected whole"):
        metric("mask")


def test_every_metric_and_region_has_a_card_of_its_own() -> None:
    cards = [metric(region).card for metric in (MSE, L1, PSNR, SSIM) for region in ("whole", "background", "edited")]
    assert len({card.fingerprint for card in cards}) == 12
    assert [card.higher_is_better for card in cards[::3]] == [False, False, True, True]


def test_mask_fraction(pictures: list[Image]) -> None:
    scores = MaskFraction().score(batch(pictures[:3], pictures[:3], [left(16), None, left(64)]))
    assert scores[[0, 2]].tolist() == [0.25, 1.0]
    assert np.isnan(scores[1])


def test_the_share_of_a_mask_is_neither_good_nor_bad() -> None:
    from metrics.torch_wrapper import as_torchmetric

    assert MaskFraction().card.higher_is_better is None
    assert as_torchmetric(MaskFraction()).higher_is_better is None
