from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.toybox.embedded import TOYBOX
from editors import DiffusionModel, EditTask, MissingInput
from editors.blended_latent import BlendedLatent, BlendedLatentState, reconstruct_background, shrinking_masks
from editors.toolbox.clip import SELECTOR
from editors.toolbox.diffusion import derive_seed

STEPS = 8


def make(model: DiffusionModel, **params: object) -> BlendedLatent:
    return BlendedLatent(
        model, BlendedLatent.resolve("", {"steps": STEPS, "background_reconstruction_steps": 0, "mask_maps": 2, **params})
    )


def final_latents(editor: BlendedLatent, state: BlendedLatentState, values: tuple[float, ...]) -> Tensor:
    seen: list[Tensor] = []
    decode = editor.model.decode
    editor.model.decode = lambda x: (seen.append(x), decode(x))[1]  # type: ignore[method-assign]
    editor.render(state, values)
    return seen[0]


def before_each_step(editor: BlendedLatent, state: BlendedLatentState, values: tuple[float, ...]) -> dict[int, Tensor]:
    """The latents (m, c, h, w) that the U-Net is asked about, by level."""
    timesteps, seen = editor.model.schedule(STEPS).timesteps, {}
    predict = editor.model.predict
    editor.model.predict = lambda x, t, *given: (seen.update({timesteps.index(t) + 1: x}), predict(x, t, *given))[1]  # type: ignore[method-assign]
    editor.render(state, values)
    return seen


def test_the_mask_shrinks_from_its_widest_dilation_to_itself() -> None:
    cells = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    cells[0, 0, 8, 8] = True
    masks = shrinking_masks(cells, (7, 5, 3, 1))
    assert [int(m.sum()) for m in masks] == [49, 25, 9, 1]
    assert torch.equal(masks[-1], cells)
    assert masks[0][0, 0, 5:12, 5:12].all()


def test_each_quarter_of_the_executed_steps_has_its_mask(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model)
    state = editor.prepare(masked)
    marks = tuple(torch.full((1, 1, 16, 16), False) for _ in range(4))
    for i, mark in enumerate(marks):
        mark[..., i, 0] = True
    state = replace(state, masks=marks)
    schedule = model.schedule(STEPS)
    used: dict[int, list[int]] = {8: [], 4: [], 3: []}
    for level, z in before_each_step(editor, state, tuple(start / STEPS for start in used)).items():
        noise = model.noise(derive_seed(state.seed, f"background {level}"), (1, 4, 16, 16))
        background = schedule.q_sample(state.x0, noise, level)[0]
        for parts, item in zip([parts for start, parts in used.items() if start >= level], z, strict=True):
            kept = (item != background).any(0).nonzero()
            assert len(kept) == 1
            parts.append(int(kept[0, 0]))
    assert used == {8: [0, 0, 1, 1, 2, 2, 3, 3], 4: [0, 1, 2, 3], 3: [0, 1, 2]}


def test_before_a_step_the_background_is_the_source_noised_to_that_level(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model, dilations=(1,))
    state = editor.prepare(masked)
    schedule, seen = model.schedule(STEPS), before_each_step(editor, state, (1.0, 0.75))
    outside = ~state.masks[-1].expand_as(state.x0)

    def noise(level: int) -> Tensor:
        alpha_bar = schedule.alpha_bars[level]
        return ((seen[level][:1] - alpha_bar**0.5 * state.x0) / (1 - alpha_bar) ** 0.5)[outside]

    # 4 x 16 x 16 cells less the mask: mean 0 and deviation 1 up to sampling error of about 1 / sqrt(800)
    assert abs(float(noise(5).mean())) < 0.15
    assert abs(float(noise(5).std()) - 1) < 0.15
    assert (noise(5) - noise(6)).abs().max() > 1, "each level has fresh noise"
    assert torch.equal(seen[5][0][outside[0]], seen[5][1][outside[0]]), "which the values share"
    assert not torch.equal(seen[5][0][~outside[0]], seen[5][1][~outside[0]])


def test_the_final_blend_leaves_the_background_at_the_clean_latent(model: DiffusionModel, masked: EditTask) -> None:
    for final in (True, False):
        editor = make(model.variant(), final_blend=final)
        state = editor.prepare(masked)
        latents = final_latents(editor, state, (0.5, 1.0))
        outside = ~state.masks[-1].expand_as(latents)
        assert torch.equal(latents[outside], state.x0.expand_as(latents)[outside]) == final
        assert not torch.allclose(latents[~outside], state.x0.expand_as(latents)[~outside], atol=0.05)


def test_which_mask_was_used_is_recorded(model: DiffusionModel, task: EditTask, masked: EditTask) -> None:
    editor = make(model)
    given, found = editor.prepare(masked), editor.prepare(task)
    assert editor.facts(given)["mask_from"] == "manifest"
    assert masked.mask is not None
    assert np.array_equal(editor.pictures(given)["mask"], masked.mask)
    assert torch.equal(given.masks[-1][0, 0], torch.from_numpy(masked.mask[::4, ::4]))
    assert editor.facts(found)["mask_from"] == "diffedit"
    assert set(editor.pictures(found)) == {"mask", "difference"}
    refused = make(model, use_manifest_mask=False)
    assert refused.facts(refused.prepare(masked))["mask_from"] == "diffedit"
    assert editor.fair_play().uses_mask
    assert not refused.fair_play().uses_mask


def test_a_mask_thinner_than_a_cell_survives_only_where_any_pixel_counts(model: DiffusionModel, task: EditTask) -> None:
    mask = np.zeros((64, 64), bool)
    mask[:, 33] = True
    thin = replace(task, mask=mask)
    assert make(model).facts(make(model).prepare(thin))["mask_share"] == 0
    wide = make(model, mask_downsampling="any")
    assert wide.facts(wide.prepare(thin))["mask_share"] == pytest.approx(1 / 16)


def test_reconstruction_brings_the_background_back_and_leaves_no_trace(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model)
    state = editor.prepare(masked)
    (plain,) = editor.render(state, (1.0,))
    tuned = reconstruct_background(
        model, final_latents(editor, state, (1.0,)), state.picture, state.pixels, steps=30, lr=1e-2, weight=100.0
    )
    assert masked.mask is not None
    outside = ~masked.mask

    def error(picture: np.ndarray) -> float:
        return float(np.square(picture[outside].astype(float) - masked.image[outside]).mean())

    # a random decoder is far from the source; thirty large steps must close most of the distance
    assert error(tuned) < error(plain) / 2
    assert np.array_equal(editor.render(state, (1.0,))[0], plain)


def test_reconstruction_is_part_of_the_editor(model: DiffusionModel, masked: EditTask) -> None:
    plain, tuned = make(model), make(model, background_reconstruction_steps=2, background_reconstruction_lr=1e-2)
    assert tuned.fair_play().fine_tunes
    assert not plain.fair_play().fine_tunes
    state = tuned.prepare(masked)
    first, second = tuned.render(state, (0.5, 1.0)), tuned.render(state, (0.5, 1.0))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[1], plain.render(state, (1.0,))[0])


class _Preference:
    """In the place of the ranking network: likes pictures by their number in the batch."""

    def __init__(self, likes: list[float]) -> None:
        self.likes = torch.tensor(likes)
        self.shown: Tensor | None = None

    def embed_texts(self, texts: list[str]) -> Tensor:
        return torch.ones(len(texts), 1)

    def embed_images(self, x: Tensor) -> Tensor:
        self.shown = x
        return self.likes[:, None]


def ranked(model: DiffusionModel, likes: list[float], **params: object) -> BlendedLatent:
    editor = make(model, candidates=3, **params)
    vars(editor)["ranker"] = _Preference(likes)
    return editor


def test_the_candidate_most_like_the_text_is_returned_for_each_value(model: DiffusionModel, masked: EditTask) -> None:
    single = make(model)
    expected = single.render(single.prepare(masked), (0.5, 1.0))
    editor = ranked(model, [0.9, 0.1, 0.2, 0.3, 0.1, 0.8])
    before = model.unet_evaluations
    first, second = editor.render(editor.prepare(masked), (0.5, 1.0))
    assert model.unet_evaluations - before == 2 * 3 * (4 + 8)
    # the first candidate is the edit that is made without candidates, up to the rounding of another batch size
    assert np.abs(first.astype(int) - expected[0]).max() <= 1
    assert np.abs(second.astype(int) - expected[1]).max() > 1
    other = ranked(model, [0.1, 0.9, 0.2, 0.3, 0.1, 0.8])
    changed = other.render(other.prepare(masked), (0.5, 1.0))
    assert not np.array_equal(changed[0], first)
    assert np.array_equal(changed[1], second)


def test_candidates_are_ranked_on_the_masked_region(model: DiffusionModel, masked: EditTask) -> None:
    editor = ranked(model, [0.9, 0.1, 0.2])
    editor.render(editor.prepare(masked), (1.0,))
    shown = editor.ranker.shown  # type: ignore[attr-defined]
    assert shown.shape == (3, 3, 64, 64)
    assert masked.mask is not None
    inside = torch.from_numpy(masked.mask).expand(3, 3, -1, -1)
    assert (shown[~inside] == -1).all()
    assert all(not torch.allclose(a, b, atol=0.01) for a, b in zip(shown, shown.roll(1, 0), strict=True))


def test_ranking_by_the_network_picks_the_largest_similarity(model: DiffusionModel, masked: EditTask) -> None:
    spec = f"local-dir:{TOYBOX / 'ranker'}"
    editor = make(model, candidates=3, clip=spec)
    seen: list[Tensor] = []
    decode = model.decode_tensor
    model.decode_tensor = lambda x: (seen.append(x), decode(x))[1]  # type: ignore[method-assign]
    (picture,) = editor.render(editor.prepare(masked), (1.0,))
    candidates = torch.stack([torch.from_numpy(p.copy()) for p in model.decode(seen[0])]).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert masked.mask is not None
    cut = torch.where(torch.from_numpy(masked.mask), candidates, -1.0)
    similar = editor.ranker.embed_images(cut) @ editor.ranker.embed_texts([masked.target_text])[0]
    # decoded alone and among others a picture may differ by a grey level's rounding, candidates differ by tens
    apart = [int(np.abs(p.astype(int) - picture).max()) for p in model.decode(seen[0])]
    assert min(apart) <= 1 < sorted(apart)[1]
    assert apart.index(min(apart)) == int(similar.argmax())


def test_ranking_is_declared_and_one_candidate_needs_no_network(model: DiffusionModel, masked: EditTask) -> None:
    assert BlendedLatent.assets(BlendedLatent.resolve("")) == {"clip": ""}
    plain = make(model).fair_play()
    assert (plain.candidates, plain.selector, plain.clip_in_loop) == (1, "", False)
    many = make(model, candidates=3).fair_play()
    assert (many.candidates, many.selector, many.clip_in_loop) == (3, SELECTOR, True)
    with pytest.raises(MissingInput, match="needs an image-text network"):
        make(model, candidates=3).prepare(masked)
    with pytest.raises(MissingInput, match="needs an image-text network"):
        BlendedLatent.assets(BlendedLatent.resolve("paper_ranked"))
    spec = f"local-dir:{TOYBOX / 'ranker'}"
    assert len(BlendedLatent.assets(BlendedLatent.resolve("paper_ranked", {"clip": spec}))["clip"]) == 64


def test_only_the_chosen_candidate_is_reconstructed(
    model: DiffusionModel, masked: EditTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    import editors.blended_latent as module

    calls: list[Tensor] = []
    original = reconstruct_background
    monkeypatch.setattr(
        module, "reconstruct_background", lambda m, latent, *a, **k: (calls.append(latent), original(m, latent, *a, **k))[1]
    )
    editor = ranked(model, [0.9, 0.1, 0.2, 0.3, 0.1, 0.8], background_reconstruction_steps=2)
    editor.render(editor.prepare(masked), (0.5, 1.0))
    assert len(calls) == 2
