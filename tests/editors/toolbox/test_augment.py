from __future__ import annotations

import pytest
import torch

from editors.toolbox.augment import Warp, views
from editors.toolbox.diffusion import seeded

EVERYTHING = Warp(rotation=20, shift=0.1, crop=0.7, perspective=0.3, flip=0.5)


def pictures(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, 16, 12, generator=seeded(3))


def test_no_warp_is_the_picture_itself() -> None:
    x = pictures()
    got = views(x, 3, Warp(), seeded(0))
    # bilinear sampling at pixel centres, up to rounding of coordinates
    assert torch.allclose(got, x.repeat(3, 1, 1, 1), atol=1e-5)


def test_mirroring_mirrors() -> None:
    x = pictures()
    assert torch.allclose(views(x, 1, Warp(flip=1), seeded(0)), x.flip(-1), atol=1e-5)


def test_the_first_view_may_stay_and_costs_no_draw() -> None:
    x = pictures()
    got = views(x, 3, EVERYTHING, seeded(0), keep_first=True)
    assert torch.equal(got[:2], x)
    assert torch.equal(got[2:], views(x, 2, EVERYTHING, seeded(0)))
    assert torch.equal(views(x, 1, EVERYTHING, seeded(0), keep_first=True), x)


def test_a_pictures_views_do_not_depend_on_its_batch() -> None:
    x = pictures(3)
    together = views(x, 4, EVERYTHING, seeded(5)).view(4, 3, 3, 16, 12)
    alone = views(x[1:2], 4, EVERYTHING, seeded(5))
    assert torch.equal(together[:, 1], alone)
    assert not torch.allclose(alone[0], alone[1], atol=0.01)


def test_a_crop_shows_a_part_and_nothing_from_outside() -> None:
    ramp = torch.linspace(0, 1, 16)[:, None].expand(1, 3, 16, 16)
    seen = views(ramp, 50, Warp(crop=0.25), seeded(1))
    height = seen[:, 0, -1, 0] - seen[:, 0, 0, 0]
    # between half of the side (a quarter of the area) and all of it; the view spans the side less half a pixel at each end
    assert float(height.min()) >= 0.5 - 1 / 16
    assert float(height.max()) <= 1
    assert float(height.std()) > 0.05


@pytest.mark.parametrize("warp", [Warp(rotation=30), Warp(shift=0.2), Warp(perspective=0.4)])
def test_gradients_pass(warp: Warp) -> None:
    x = pictures().requires_grad_(True)
    views(x, 2, warp, seeded(0)).square().sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().min()) >= 0
    assert float((x.grad != 0).float().mean()) > 0.8
