from __future__ import annotations

import torch

from editors import DiffusionModel
from editors.toolbox.injection import Injection, inject, twin

CONV = "up_blocks.0.resnets.0.conv2"


def output(model: DiffusionModel, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.unet_output(x, torch.full((len(x),), 500), model.embed(["a red ball"]).expand(len(x), -1, -1))


def test_a_twin_has_the_very_weights_and_is_another(model: DiffusionModel) -> None:
    other = twin(model)
    assert other is not model.unet
    own = dict(model.unet.named_parameters())
    assert all(tensor is own[name] for name, tensor in other.named_parameters())


def test_active_edits_of_every_group_take_the_rows_of_the_source() -> None:
    injection = Injection()
    rows = torch.arange(5.0).view(5, 1, 1).expand(-1, 2, 3)  # a source and two groups of two
    injection.active = torch.tensor([False, False])
    assert injection(None, None, rows) is None
    injection.active = torch.tensor([False, True])
    found = injection(None, None, rows)
    assert found is not None
    assert found[:, 0, 0].tolist() == [0, 1, 0, 3, 0]
    assert found.shape == rows.shape


def test_layers_are_governed_by_the_injection_of_their_group(model: DiffusionModel) -> None:
    network = twin(model)
    injected, features, others = model.variant(unet=network), inject(network, [CONV]), inject(network, ["conv_out"])
    x = model.noise(3, (3, 4, 16, 16))
    plain = output(model, x)
    features.active = others.active = torch.tensor([False, False])
    assert torch.equal(output(injected, x), plain)
    features.active = torch.tensor([False, True])
    found = output(injected, x)
    torch.testing.assert_close(found[:2], plain[:2])
    assert (found[2] - plain[2]).abs().max() > 1e-3
    others.active = torch.tensor([True, False])
    torch.testing.assert_close(output(injected, x)[1], plain[0])
    assert torch.equal(output(model, x), plain)
