from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch
import torchvision.transforms as T  # noqa: N812  # the reference's own name
from numpy.typing import NDArray

from metrics.base import MetricError
from metrics.networks.images import (
    check_batch_size,
    check_image,
    check_images,
    in_batches,
    open_device,
    resize_and_crop,
    resize_square,
    to_tensor,
)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), r"got float32 \(4, 4, 3\); scale to 0\.\.255, round and cast"),
        (np.zeros((4, 4, 3), np.int64), "got int64"),
        (np.zeros((4, 4), np.uint8), r"got shape \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), r"got shape \(4, 4, 4\)"),
        (np.zeros((3, 4, 4), np.uint8), r"got shape \(3, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"got shape \(0, 4, 3\)"),
        ("picture.png", "got str"),
    ],
)
def test_only_uint8_rgb_passes(image: object, message: str) -> None:
    with pytest.raises(MetricError, match=rf"^here: expected uint8 .*{message}"):
        check_image(image, "here")


def test_the_row_is_named() -> None:
    good = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(MetricError, match=r"^edits\[1\]: "):
        check_images([good, good.astype(np.float64)], "edits")


def test_resize_keeps_what_fits_and_averages_what_does_not() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert resize_square(image, 4) is image
    checks = np.indices((64, 64)).sum(0) % 2 * 200
    small = resize_square(np.repeat(checks[..., None], 3, axis=2).astype(np.uint8), 8)
    # An antialiased filter sees the mean of the board, 100; one without would pick 0 or 200. The filter's support is cut at the
    # picture's edge, which shifts the mean by a few grey levels.
    assert small.shape == (8, 8, 3)
    assert np.abs(small.astype(int) - 100).max() <= 5


@pytest.mark.parametrize("side", [256, 384])
def test_resizing_the_short_side_and_cutting_is_torchvisions(side: int, rng: np.random.Generator) -> None:
    image = np.kron(rng.integers(0, 256, (9, 7, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    cut = T.Compose([T.Resize(side), T.CenterCrop(side)])(PIL.Image.fromarray(image))
    assert np.array_equal(resize_and_crop(image, side), np.asarray(cut))


def test_tensor_is_channels_first_and_unchanged() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    tensor = to_tensor([image, image], torch.device("cpu"))
    assert tensor.shape == (2, 3, 2, 4)
    assert tensor.dtype == torch.uint8
    assert np.array_equal(tensor[1].permute(1, 2, 0).numpy(), image)


def test_batches_are_always_full_sorted_by_shape_and_put_back_in_order() -> None:
    sizes: list[int] = []

    def total(rows: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        sizes.append(len(rows))
        return np.stack(rows).sum(axis=1)

    rows = [np.full(2 + place % 2, float(place)) for place in range(7)]
    assert in_batches(total, rows, batch_size=3).tolist() == [row.sum() for row in rows]
    assert sizes == [3, 3, 3]  # four short rows make 3 + 1, three long rows make 3


def test_no_rows_give_no_results() -> None:
    assert in_batches(np.stack, [], batch_size=2).shape == (0,)


def test_a_result_that_is_not_finite_is_refused() -> None:
    with pytest.raises(MetricError, match=r"^row 1: .* not finite"), np.errstate(all="ignore"):
        in_batches(lambda rows: 1 / np.stack(rows), [np.array([1.0]), np.array([0.0])], batch_size=2)


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "8"])
def test_batch_size_is_a_positive_whole_number(size: object) -> None:
    with pytest.raises(MetricError, match="batch_size"):
        check_batch_size(size)


def test_unknown_device_is_refused() -> None:
    with pytest.raises(MetricError, match="got 'abacus'"):
        open_device("abacus")


def test_missing_cuda_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MetricError, match="no CUDA device; use 'cpu'"):
        open_device("cuda")
