from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel

from metrics.networks.positions import interpolate_as_hub

SIDE, PATCH = 37, 14
"""DINOv2's table of positions, 518 pixels."""


def ramps(side: int) -> torch.Tensor:
    """A table whose two dimensions are row and column of each place; the class token's are -1."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.cat((torch.full((1, 2), -1), torch.stack((rows.flatten(), columns.flatten()), dim=1))).float()[None]


@pytest.mark.parametrize("kind", ["dinov2", "dino"])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 30)])
def test_places_are_read_where_the_hub_code_reads_them(kind: str, height: int, width: int) -> None:
    """Bicubic interpolation keeps a ramp nearly, so each place says where it was read: at (place + 0.5) 37 / (places + 0.1) - 0.5."""
    shape = {"hidden_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": SIDE * PATCH, "patch_size": PATCH}
    model = Dinov2Model(Dinov2Config(**shape)) if kind == "dinov2" else ViTModel(ViTConfig(**shape))
    embeddings = model.embeddings
    embeddings.position_embeddings.data = ramps(SIDE)
    own = embeddings.position_embeddings
    interpolate_as_hub(embeddings)
    tokens = torch.zeros(1, 1 + height * width, 2)
    with torch.no_grad():
        found = embeddings.interpolate_pos_encoding(tokens, height * PATCH, width * PATCH)
        same = embeddings.interpolate_pos_encoding(torch.zeros(1, 1 + SIDE**2, 2), SIDE * PATCH, SIDE * PATCH)
    assert same is own, "at the table's own size nothing is interpolated"
    assert found[0, 0].tolist() == [-1, -1]
    grid = found[0, 1:].reshape(height, width, 2).double().numpy()
    rows, columns = ((np.arange(n) + 0.5) * SIDE / (n + 0.1) - 0.5 for n in (height, width))
    inner = slice(2, -2)  # nearer the border the four taps are clamped
    expected = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=2)[inner, inner]
    np.testing.assert_allclose(
        grid[inner, inner], expected, rtol=0, atol=0.05
    )  # torch's kernel, a = -0.75, is off a ramp by 0.048
    assert abs((np.arange(height) + 0.5) * SIDE / height - 0.5 - rows).max() > 0.2, "transformers reads elsewhere"
