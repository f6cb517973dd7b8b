"""The small U-Net that Text2LIVE trains for each picture: from a picture to a layer of colour and opacity over it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

__all__ = ["LayerGenerator"]


def _block(channels: int, out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride, kernel // 2, padding_mode="replicate"), nn.GroupNorm(1, out), nn.LeakyReLU(0.2)
    )


class LayerGenerator(nn.Module):
    """An encoder and decoder of one width, with a narrow skip connection at every scale (the paper's: width 128, 4 for skips)."""

    def __init__(self, width: int, scales: int, skip: int = 4) -> None:
        """Random weights from the global generator, which the caller forks and seeds."""
        super().__init__()
        sides = [3, *[width] * (scales - 1)]
        self.skips = nn.ModuleList(_block(channels, skip, 1) for channels in sides)
        self.downs = nn.ModuleList(nn.Sequential(_block(channels, width, 3, 2), _block(width, width, 3)) for channels in sides)
        self.ups = nn.ModuleList(nn.Sequential(_block(width + skip, width, 3), _block(width, width, 1)) for _ in sides)
        self.out = nn.Conv2d(width, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Colours (m, 3, H, W) in -1..1 and opacity (m, 1, H, W) in 0..1 for pictures (m, 3, H, W) in -1..1, of any size."""
        kept = []
        for skip, down in zip(self.skips, self.downs, strict=True):
            kept.append(skip(x))
            x = down(x)
        for up, side in zip(reversed(self.ups), reversed(kept), strict=True):
            x = interpolate(x, side.shape[-2:], mode="bilinear", align_corners=False)
            x = up(torch.cat([x, side], dim=1))
        layer = torch.sigmoid(self.out(x))
        return 2 * layer[:, :3] - 1, layer[:, 3:]
