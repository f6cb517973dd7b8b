from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.toybox.embedded import TOYBOX
from editors import Cancelled, DiffusionModel, EditTask, MissingInput, NotFinite
from editors.text2live import LayerGenerator, Text2LIVE, _Texts
from editors.toolbox.clip import RankingCLIP
from editors.toolbox.diffusion import seeded

SPEC = f"local-dir:{TOYBOX / 'ranker'}"


def make(model: DiffusionModel, **params: object) -> Text2LIVE:
    given = {"clip": SPEC, "steps": 3, "augmentations": 2, "width": 8, "scales": 3}
    return Text2LIVE(model, Text2LIVE.resolve("", {**given, **params}))


def test_the_knob_scales_the_layers_opacity(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model)
    state = editor.prepare(masked)
    nothing, half, whole = editor.render(state, (0.0, 0.5, 1.0))
    assert np.array_equal(nothing, masked.image)
    assert not np.array_equal(whole, masked.image)
    # the middle of two pictures, each rounded to whole levels
    assert np.abs(half.astype(float) - (nothing.astype(float) + whole) / 2).max() <= 1
    composite = state.alpha * state.edit + (1 - state.alpha) * state.source
    assert np.abs((composite[0].permute(1, 2, 0).numpy() + 1) * 127.5 - whole).max() <= 0.51
    assert set(editor.pictures(state)) == {"alpha", "relevance"}
    assert editor.pictures(state)["alpha"].shape == (64, 64)


def test_training_is_the_units_own(model: DiffusionModel, masked: EditTask) -> None:
    from dataclasses import replace

    before = model.unet_evaluations
    first, second = (make(model).prepare(masked) for _ in range(2))
    assert torch.equal(first.edit, second.edit)
    assert torch.equal(first.alpha, second.alpha)
    assert not torch.equal(first.alpha, make(model).prepare(replace(masked, seed=1)).alpha)
    assert model.unet_evaluations == before


@pytest.mark.slow
def test_training_brings_the_picture_nearer_to_the_text(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model, steps=15, lr=2e-2, source_every=1, bootstrap_share=0.0, screen_weight=0.0)
    pictures = editor.render(editor.prepare(masked), (0.0, 1.0))
    ranker = RankingCLIP.load(SPEC)
    x = torch.stack([torch.from_numpy(p.copy()).permute(2, 0, 1).float() / 127.5 - 1 for p in pictures])
    before, after = (ranker.embed_images(x) @ ranker.embed_texts([masked.target_text])[0]).tolist()
    assert after > before + 0.02


def test_the_bootstrap_draws_the_opacity_to_the_relevance_map(model: DiffusionModel, masked: EditTask) -> None:
    off = {"composition_weight": 0.0, "screen_weight": 0.0, "structure_weight": 0.0, "sparsity_weight": 0.0}
    kept = []
    for share in (0.0, 1.0):
        editor = make(model, steps=25, lr=2e-2, scales=2, source_every=1, bootstrap_share=share, **off)
        state = editor.prepare(masked)
        kept.append(float((state.alpha - state.relevance).square().mean()))
        assert ("bootstrap_loss" in editor.facts(state)) == (share == 1.0)
    assert kept[1] < kept[0] / 2


def test_the_terms_of_the_loss(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model)
    x = torch.zeros(1, 3, 64, 64)
    unit = torch.zeros(64)
    unit[0] = 1.0
    texts = _Texts(unit[None], unit[None], unit)
    clear = editor._terms(x, torch.ones(1, 3, 64, 64), torch.zeros(1, 1, 64, 64), texts, seeded(0))
    solid = editor._terms(x, torch.ones(1, 3, 64, 64), torch.ones(1, 1, 64, 64), texts, seeded(0))
    assert set(clear) == {"composition", "direction", "screen", "structure", "l0", "l1"}
    assert float(clear["l0"]) == float(clear["l1"]) == float(clear["structure"]) == 0
    assert float(solid["l1"]) == 1
    assert float(solid["l0"]) == pytest.approx(2 / (1 + np.exp(-5)) - 1)
    # pictures that are the same have no direction: 1 - 0
    assert float(clear["direction"]) == pytest.approx(1)
    weights = {"composition": 1, "direction": 1, "screen": 1, "structure": 2, "l0": 0.06, "l1": 0.06}
    expected = sum(weights[name] * float(term) for name, term in solid.items())
    assert float(editor._weigh(solid)) == pytest.approx(expected, rel=1e-5)


def test_the_generator_makes_a_layer_for_any_size() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = LayerGenerator(8, 4)
    for size in ((64, 64), (48, 64), (37, 50)):
        colours, opacity = generator(torch.rand(2, 3, *size))
        assert colours.shape == (2, 3, *size)
        assert opacity.shape == (2, 1, *size)
        assert -1 <= float(colours.detach().min()) < float(colours.detach().max()) <= 1
        assert 0 <= float(opacity.detach().min()) < float(opacity.detach().max()) <= 1


def test_it_stops_between_steps(model: DiffusionModel, masked: EditTask) -> None:
    asked = 0

    def after_two() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    model.cancelled = after_two
    with pytest.raises(Cancelled, match="step 2"):
        make(model, steps=50).prepare(masked)


def test_a_generator_that_breaks_is_a_typed_failure(model: DiffusionModel, masked: EditTask) -> None:
    """A step of 1e30 puts the activations beyond float32; a loss soon is not a number."""
    with pytest.raises(NotFinite, match=r"layer optimisation, step \d"):
        make(model, lr=1e30).prepare(masked)


def test_what_it_needs_is_said(model: DiffusionModel, task: EditTask, masked: EditTask) -> None:
    with pytest.raises(MissingInput, match="text2live needs source_text"):
        make(model).prepare(task)
    with pytest.raises(MissingInput, match="needs an image-text network"):
        make(model, clip="").prepare(masked)
    play = make(model).fair_play()
    assert (play.uses_source_text, play.clip_in_loop, play.fine_tunes) == (True, True, True)
    assert Text2LIVE.assets(make(model).params) == {"clip": RankingCLIP.load(SPEC).digest}
