from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models.vgg import cfgs, make_layers

from bench.toybox.embedded import TOYBOX
from editors import Cancelled, DiffusionModel, EditorError, EditTask, MissingInput
from editors.flexit import FlexIT
from editors.toolbox.clip import RankingCLIP

SPEC = f"local-dir:{TOYBOX / 'ranker'}"


def make(model: DiffusionModel, **params: object) -> FlexIT:
    return FlexIT(model, FlexIT.resolve("", {"clip": SPEC, **params}))


def final_latents(editor: FlexIT, task: EditTask, values: tuple[float, ...]) -> Tensor:
    seen: list[Tensor] = []
    decode = editor.model.decode
    editor.model.decode = lambda x: (seen.append(x), decode(x))[1]  # type: ignore[method-assign]
    editor.render(editor.prepare(task), values)
    return seen[0]


def test_no_iteration_is_the_round_trip(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model)
    assert np.array_equal(editor.render(editor.prepare(masked), (0,))[0], model.decode(model.encode(masked.image))[0])


def test_all_values_are_points_of_one_path(model: DiffusionModel, masked: EditTask) -> None:
    calls = 0
    decode = model.decode_tensor

    def count(latents: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return decode(latents)

    model.decode_tensor = count  # type: ignore[method-assign]
    together = final_latents(make(model.variant()), masked, (4, 0, 2))
    assert calls == 4 + 1
    assert torch.equal(final_latents(make(model.variant()), masked, (2,)), together[2:])
    assert torch.equal(final_latents(make(model.variant()), masked, (4,)), together[:1])


def test_a_step_has_the_stated_length(model: DiffusionModel, masked: EditTask) -> None:
    path = final_latents(make(model, lr=0.03), masked, (0, 1, 2, 3))
    lengths = (path[1:] - path[:-1]).flatten(1).norm(dim=1)
    # float32 differences of latents
    assert torch.allclose(lengths, 0.03 * path[0].norm().expand(3), rtol=1e-3)


def test_the_path_goes_towards_the_goal(model: DiffusionModel, masked: EditTask) -> None:
    """By 0.05 in the inner product that is maximised, a third of what a dozen steps of the paper's length gain here; steps a fifth as long
    gain 0.01, and twice that or nothing on another machine.
    """
    editor = make(model, augmentations=4)
    state = editor.prepare(masked)
    ranker = RankingCLIP.load(SPEC)
    pictures = [torch.from_numpy(p.copy()).permute(2, 0, 1).float() / 127.5 - 1 for p in editor.render(state, (0, 12))]
    before, after = (ranker.embed_images(torch.stack(pictures)) @ state.goal).tolist()
    assert after > before + 0.05


def test_the_goal_is_the_papers_point(model: DiffusionModel, masked: EditTask) -> None:
    ranker = RankingCLIP.load(SPEC)
    assert masked.source_text is not None
    wanted, present = ranker.embed_texts([masked.target_text, masked.source_text])
    image = ranker.embed_images(torch.from_numpy(masked.image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1)[0]
    assert torch.allclose(make(model).prepare(masked).goal, wanted + 0.2 * image - 0.4 * present, atol=1e-6)


def test_the_gradient_is_the_weighted_sum_of_the_terms(model: DiffusionModel, masked: EditTask) -> None:
    def gradient(**weights: float) -> Tensor:
        editor = make(model, **{"perceptual_weight": 0.0, "latent_weight": 0.0, **weights})
        return editor._gradient(editor.prepare(masked), z, 0)

    state = make(model).prepare(masked)
    z = state.z0 + 0.3 * model.noise(1, state.z0.shape)
    at = z.clone().requires_grad_(True)
    (perceptual,) = torch.autograd.grad(state.distance(model.decode_tensor(at)).sum(), at)
    apart = z - state.z0
    latent = apart / apart.norm(dim=1, keepdim=True) / state.z0.norm(dim=1).sum()
    alone = gradient()
    # differences of float32 gradients
    assert torch.allclose(gradient(perceptual_weight=2.0) - alone, 2 * perceptual, atol=1e-4 * float(alone.norm()))
    assert torch.allclose(gradient(latent_weight=2.0) - alone, 2 * latent, atol=1e-4 * float(alone.norm()))
    assert float(perceptual.norm()) > 0.01 * float(alone.norm())
    assert float(latent.norm()) > 0.01 * float(alone.norm())


def test_the_stand_in_for_lpips_is_zero_at_the_source_and_grows(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model)
    state = editor.prepare(masked)
    source = torch.from_numpy(masked.image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    noise = model.noise(1, source.shape)
    gaps = [float(state.distance(source + amount * noise)) for amount in (0.0, 0.05, 0.2)]
    assert gaps[0] == 0
    assert 0 < gaps[1] < gaps[2]
    assert editor.facts(state) == {"latent": "VAE", "perceptual": "VAE encoder features, unweighted"}


def test_lpips_runs_on_the_weights_that_are_given(
    model: DiffusionModel, masked: EditTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lpips

    def backbone(**_: object) -> SimpleNamespace:
        """VGG-16 without its classifier, which alone would take seconds to fill."""
        return SimpleNamespace(features=make_layers(cfgs["D"]))

    monkeypatch.setattr(lpips.pn.tv, "vgg16", backbone)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = {f"features.{key}": value for key, value in backbone().features.state_dict().items()}
    file = tmp_path / "vgg16.safetensors"
    save_file(weights, file)
    editor = make(model, lpips_vgg=str(file))
    state = editor.prepare(masked)
    assert editor.facts(state)["perceptual"] == "LPIPS VGG"
    assert len(FlexIT.assets(editor.params)["lpips_vgg"]) == 64
    source = torch.from_numpy(masked.image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    assert float(state.distance(source)) == 0
    assert float(state.distance(-source)) > 0
    assert editor.render(state, (1,))[0].shape == masked.image.shape
    save_file({"features.0.weight": weights["features.0.weight"]}, file)
    with pytest.raises(EditorError, match="does not hold torchvision's VGG-16"):
        make(model, lpips_vgg=str(file)).prepare(masked)


def test_what_it_needs_is_said(model: DiffusionModel, task: EditTask, masked: EditTask) -> None:
    with pytest.raises(MissingInput, match="flexit needs source_text"):
        make(model).prepare(task)
    with pytest.raises(MissingInput, match="needs an image-text network"):
        make(model, clip="").prepare(masked)
    with pytest.raises(MissingInput, match="lpips_vgg: expected an existing"):
        FlexIT.assets(FlexIT.resolve("", {"clip": SPEC, "lpips_vgg": "vgg.pth"}))
    editor = make(model)
    with pytest.raises(EditorError, match=r"iterations must be whole numbers, got 2\.5"):
        editor.render(editor.prepare(masked), (2.5,))
    assert FlexIT.assets(editor.params)["lpips_vgg"] == ""


def test_it_stops_between_iterations(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model)
    state = editor.prepare(masked)
    asked = 0

    def after_three() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    model.cancelled = after_three
    with pytest.raises(Cancelled, match="iteration 3"):
        editor.render(state, (50,))
