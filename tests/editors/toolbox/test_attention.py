from __future__ import annotations

import pytest
import torch

from editors import Cancelled, DiffusionModel, EditTask
from editors.direct_inversion import DirectInversion
from editors.toolbox.attention import AttentionControl, align, attention_maps, with_attention

SOURCE, TARGET = "a red ball on the grass", "a blue cat on the grass"


def test_refinement_pairs_equal_words_and_names_new_ones(model: DiffusionModel) -> None:
    found = align(model.tokenizer, SOURCE, TARGET)
    # tokens of the target: start, a, blue, cat, on, the, grass, end; padding up to 12
    assert found.new.tolist() == [False, False, True, True, *[False] * 8]
    assert found.shared.tolist() == [True, True, False, False, *[True] * 8]
    assert torch.equal(found.mapping.diagonal(), found.shared.float())
    assert found.form == "refine"


def test_refinement_follows_words_that_move(model: DiffusionModel) -> None:
    found = align(model.tokenizer, "a ball on the grass", "a red ball on the grass")
    assert found.new.nonzero().flatten().tolist() == [2]
    assert found.mapping[:, 3].nonzero().flatten().tolist() == [2]  # ball
    assert found.mapping[:, 7].nonzero().flatten().tolist() == [6]  # the end mark
    assert (found.mapping.sum(0) <= 1).all()


def test_replacement_pairs_swapped_words_and_keeps_their_attention_whole(model: DiffusionModel) -> None:
    found = align(model.tokenizer, "a red ball on the grass", "a red dog on the grass", "replace")  # dog is three tokens
    assert found.form == "replace"
    assert found.mapping[3, 3:6].tolist() == pytest.approx([1 / 3] * 3)
    assert found.mapping[:8].sum(1).tolist() == pytest.approx([1.0] * 8)
    assert found.shared[:10].all()
    assert found.new[3:6].all()


def test_texts_of_unequal_length_are_refined(model: DiffusionModel) -> None:
    assert align(model.tokenizer, "a ball", "a red ball", "replace").form == "refine"


def test_equal_texts_pair_everything(model: DiffusionModel) -> None:
    for form in ("refine", "replace"):
        found = align(model.tokenizer, SOURCE, SOURCE, form)
        assert torch.equal(found.mapping, torch.eye(model.tokenizer.model_max_length))
        assert not found.new.any()


def test_control_changes_what_it_says_and_nothing_else(model: DiffusionModel) -> None:
    found = align(model.tokenizer, SOURCE, TARGET)
    control = AttentionControl(found, equaliser=2.0, finest=16, device=model.device)
    control.cross, control.self_ = torch.tensor([True, False]), torch.tensor([False, True])
    length = model.tokenizer.model_max_length
    maps = torch.rand(5, 2, 16, length, generator=torch.Generator().manual_seed(0))
    cross = control(maps, True)
    assert torch.equal(cross[:3], maps[:3])  # the source, and the halves without text
    assert torch.equal(cross[4], maps[4])  # the edit that is not controlled
    assert torch.equal(cross[3][..., found.shared], maps[0][..., found.shared])
    assert torch.equal(cross[3][..., found.new], 2 * maps[3][..., found.new])
    maps = torch.rand(5, 2, 16, 16, generator=torch.Generator().manual_seed(1))
    own = control(maps, False)
    assert torch.equal(own[:4], maps[:4])
    assert torch.equal(own[4], maps[0])
    fine = torch.rand(5, 2, 17, 17, generator=torch.Generator().manual_seed(2))
    assert control(fine, False) is fine


def test_attention_that_is_only_looked_at_gives_the_same_prediction_on_shared_weights(model: DiffusionModel) -> None:
    reading, maps, sizes = attention_maps(model, 64)
    assert all(a is b for a, b in zip(reading.unet.parameters(), model.unet.parameters(), strict=True))
    assert all(a is not b for a, b in zip(reading.unet.modules(), model.unet.modules(), strict=True))
    x, text = model.noise(0, (2, 4, 16, 16)), model.embed([TARGET])
    # another order of the same float32 sums than the fused attention has
    torch.testing.assert_close(reading.predict(x, 500, text), model.predict(x, 500, text), rtol=1e-4, atol=1e-5)
    length = model.tokenizer.model_max_length
    assert {tuple(layer.shape) for layer in maps} == {(2, 64, length)}
    assert sizes == {64}
    torch.testing.assert_close(maps[0].sum(-1), torch.ones(2, 64))  # distributions over tokens


@pytest.mark.parametrize("fused", [False, True])
def test_maps_that_nobody_wants_are_made_on_a_cpu_alone(model: DiffusionModel, fused: bool) -> None:
    """A CPU makes them, so that its pictures stay the very same; a fused kernel makes none, and gives the same up to rounding."""
    seen: list[bool] = []

    def change(maps: torch.Tensor, is_cross: bool) -> torch.Tensor:
        seen.append(is_cross)
        return maps.flip(2) if is_cross else maps

    x, text = model.noise(0, (2, 4, 16, 16)), model.embed([TARGET])
    expected = with_attention(model, change).predict(x, 500, text)
    seen.clear()
    some = with_attention(model, change, lambda is_cross, cells: is_cross and cells == 64, fused=fused)
    # another order of the same float32 sums
    torch.testing.assert_close(some.predict(x, 500, text), expected, rtol=1e-4, atol=1e-5)
    assert set(seen) == ({True} if fused else {True, False})


def test_control_wants_what_it_changes(model: DiffusionModel) -> None:
    control = AttentionControl(align(model.tokenizer, SOURCE, TARGET), equaliser=2.0, finest=16, device=model.device)
    asked = [(is_cross, cells) for is_cross in (True, False) for cells in (16, 17)]
    control.cross, control.self_ = torch.tensor([True, False]), torch.tensor([False, True])
    assert [control.wants(*each) for each in asked] == [True, True, True, False]
    control.cross = control.self_ = torch.tensor([False, False])
    assert not any(control.wants(*each) for each in asked)


def test_the_shared_model_keeps_its_attention_whatever_happens(model: DiffusionModel, masked: EditTask) -> None:
    before = dict(model.unet.attn_processors)

    def fail(maps: torch.Tensor, is_cross: bool) -> torch.Tensor:
        raise RuntimeError("inside a layer")

    broken = with_attention(model, fail)
    with pytest.raises(RuntimeError, match="inside a layer"):
        broken.predict(model.noise(0, (1, 4, 16, 16)), 500, model.embed([TARGET]))
    editor = DirectInversion(model, DirectInversion.resolve("", {"steps": 3}))
    state = editor.prepare(masked)
    model.cancelled = lambda: True
    with pytest.raises(Cancelled):
        editor.render(state, (1.0,))
    after = model.unet.attn_processors
    assert all(after[name] is before[name] for name in before)
