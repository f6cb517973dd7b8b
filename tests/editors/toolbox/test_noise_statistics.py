from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from editors.toolbox.noise_statistics import descended, divergence_from_normal, pair_correlation, patch_divergence


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def shifts(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_divergence_from_normal_is_twice_that_of_kullback_and_leibler() -> None:
    x = 3 * drawn(0, 1, 4, 8, 8) + 0.5
    expected = 2 * kl_divergence(Normal(x.mean(), x.std()), Normal(0.0, 1.0))
    torch.testing.assert_close(divergence_from_normal(x), expected)


def test_patch_divergence_is_that_of_all_patches_of_all_channels() -> None:
    x, like = 2 * drawn(0, 1, 3, 8, 13), drawn(1, 1, 3, 8, 13) + 1
    expected = torch.zeros(())
    for c in range(3):
        for row in (0, 4):
            for column in (0, 4, 8):  # the 13th column is of no whole patch
                a, b = (each[0, c, row : row + 4, column : column + 4] for each in (x, like))
                expected += 2 * kl_divergence(Normal(a.mean(), a.std()), Normal(b.mean(), b.std()))
    torch.testing.assert_close(patch_divergence(x, like), expected, rtol=1e-4, atol=1e-4)
    assert float(patch_divergence(x, x)) == pytest.approx(0, abs=1e-4)


def test_white_noise_has_no_correlated_neighbours_and_a_smooth_picture_has() -> None:
    noise = drawn(0, 1, 4, 32, 32)
    smooth = torch.linspace(-2, 2, 32).expand(1, 4, 32, 32)
    # of 4 channels, 3 sizes and 2 directions: the square of a mean of n products has mean 1 / n (n = 1,024 to 64 of variance 1 to 1 / 16)
    assert float(pair_correlation(noise, shifts())) < 0.1
    assert float(pair_correlation(smooth, shifts())) > 10 * float(pair_correlation(noise, shifts()))


def test_the_distance_is_never_0_which_would_punish_the_variance() -> None:
    noise = drawn(0, 1, 1, 4, 4)
    for seed in range(20):
        assert float(pair_correlation(100 * torch.eye(4)[None, None], shifts(seed))) < 100**4 / 16
        assert float(pair_correlation(noise, shifts(seed))) != float(noise.square().mean().square() * 2)


@pytest.mark.parametrize("loss", [divergence_from_normal, lambda x: pair_correlation(x, shifts())])
def test_a_step_of_descent_lowers_a_loss(loss: object) -> None:
    assert callable(loss)
    x = 2 * torch.linspace(-1, 1, 16).expand(1, 4, 16, 16)
    after = descended(x, loss, 1.0)
    assert float(loss(after)) < float(loss(x))
    assert not after.requires_grad


def test_the_gradient_is_bounded() -> None:
    x = torch.zeros(1, 1, 2, 2)
    after = descended(x, lambda x: (x * torch.tensor([[5.0, -5.0], [0.5, 0.0]])).sum(), 0.1, most=1.0)
    torch.testing.assert_close(after, torch.tensor([[[[-0.1, 0.1], [-0.05, 0.0]]]]))
