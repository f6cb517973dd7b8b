from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.toybox.embedded import TOYBOX
from editors import DiffusionModel, EditTask, Image, MissingInput
from editors.blended_diffusion import BlendedDiffusion
from editors.toolbox.clip import SELECTOR, RankingCLIP, spherical_distance

SPEC = f"local-dir:{TOYBOX / 'ranker'}"


def make(model: DiffusionModel, **params: object) -> BlendedDiffusion:
    given = {"steps": 4, "candidates": 1, "augmentations": 2, "clip": SPEC}
    return BlendedDiffusion(model, BlendedDiffusion.resolve("", {**given, **params}))


def edits(editor: BlendedDiffusion, task: EditTask, values: tuple[float, ...] = (1.0,)) -> list[Image]:
    return editor.render(editor.prepare(task), values)


def distance(picture: Image, task: EditTask) -> float:
    ranker = RankingCLIP.load(SPEC)
    assert task.mask is not None
    x = torch.where(torch.from_numpy(task.mask), torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 127.5 - 1, -1.0)
    return float(spherical_distance(ranker.embed_images(x[None]), ranker.embed_texts([task.target_text])))


def test_the_background_is_the_sources_own(model: DiffusionModel, masked: EditTask) -> None:
    assert masked.mask is not None
    for paste in (True, False):
        for picture in edits(make(model, final_paste=paste), masked, (0.0, 0.5, 1.0)):
            same = np.array_equal(picture[~masked.mask], masked.image[~masked.mask])
            assert same == paste
            assert not np.array_equal(picture[masked.mask], masked.image[masked.mask])


def test_strength_0_is_the_round_trip_inside_the_mask(model: DiffusionModel, masked: EditTask) -> None:
    (picture,) = edits(make(model), masked, (0.0,))
    (round_trip,) = model.decode(model.encode(masked.image))
    assert masked.mask is not None
    assert np.array_equal(picture[masked.mask], round_trip[masked.mask])


def test_guidance_brings_the_region_nearer_to_the_text(model: DiffusionModel, masked: EditTask) -> None:
    plain, guided = (distance(edits(make(model, clip_guidance=w), masked)[0], masked) for w in (0.0, 300.0))
    assert guided < plain


def test_the_gradient_is_that_of_the_weighted_distance(model: DiffusionModel, masked: EditTask) -> None:
    """Against a central difference along the gradient itself."""
    editor = make(model, clip_guidance=100.0, range_weight=5.0)
    state, schedule = editor.prepare(masked), model.schedule(4)
    x = schedule.q_sample(state.x0, model.noise(3, state.x0.shape), 3)
    _, gradient = editor._guide(state, schedule, x, 3)

    def loss(at: torch.Tensor) -> float:
        with torch.no_grad():
            output = editor._predict(state, at, schedule.timestep(3))
            predicted, _ = schedule.split(at, output, 3)
            share = (1 - schedule.alpha_bars[3]) ** 0.5
            shown, clean = model.decode_tensor(share * predicted + (1 - share) * at), model.decode_tensor(predicted)
            excess = (clean.abs() - 1).clamp(min=0).square().mean()
            return float(100.0 * editor._distance(state, shown, 3) + 5.0 * excess)

    step = 2e-2 * gradient / gradient.norm()
    slope = (loss(x + step) - loss(x - step)) / 4e-2
    # float32 loss of about 100 along a step of 0.02, and the curvature of the loss: a tenth
    assert slope == pytest.approx(float(gradient.norm()), rel=0.1)


def test_every_candidate_step_is_counted_and_the_best_one_returned(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model, candidates=3)
    state = editor.prepare(masked)
    before = model.unet_evaluations
    (best,) = editor.render(state, (0.5,))
    assert model.unet_evaluations - before == 3 * 2
    seen = [distance(edits(make(model, candidates=n), masked, (0.5,))[0], masked) for n in (1, 2)]
    # the first candidates are the same whatever their number; whole grey levels and other batch sizes move the distance a little
    assert distance(best, masked) <= min(seen) + 1e-3
    assert seen[1] <= seen[0] + 1e-3


def test_values_do_not_depend_on_their_batch(model: DiffusionModel, masked: EditTask) -> None:
    together = edits(make(model), masked, (0.5, 1.0))
    alone = edits(make(model), masked, (0.5,))
    # rounding of other batch sizes, which the guidance carries on
    assert np.abs(alone[0].astype(int) - together[0]).max() <= 3
    model.max_batch = 1
    assert np.abs(edits(make(model), masked, (0.5, 1.0))[1].astype(int) - together[1]).max() <= 3


def test_the_text_reaches_the_unet_only_where_asked(model: DiffusionModel, masked: EditTask) -> None:
    texts: list[torch.Tensor] = []
    output = model.unet_output
    model.unet_output = lambda x, t, c, **k: (texts.append(c), output(x, t, c, **k))[1]  # type: ignore[method-assign]
    edits(make(model), masked, (0.25,))
    target, empty = model.embed_pair(masked.target_text)
    assert len(texts) == 1
    assert torch.equal(texts[0], empty)
    edits(make(model, guidance=3.0), masked, (0.25,))
    assert torch.equal(texts[2], target)


def test_clip_sees_the_region_on_black_or_on_the_source(model: DiffusionModel, masked: EditTask) -> None:
    x = torch.full((1, 3, 64, 64), 0.5)
    for sees, outside in (("cut out", None), ("composite", "source")):
        editor = make(model, clip_sees=sees)
        state = editor.prepare(masked)
        got = editor._seen(state, x)
        assert masked.mask is not None
        mask = torch.from_numpy(masked.mask).expand(1, 3, -1, -1)
        assert (got[mask] == 0.5).all()
        assert torch.equal(got[~mask], state.picture[~mask] if outside else torch.full_like(got[~mask], -1.0))


def test_what_it_needs_is_said(model: DiffusionModel, task: EditTask, masked: EditTask) -> None:
    with pytest.raises(MissingInput, match="blended_diffusion needs mask"):
        make(model).prepare(task)
    with pytest.raises(MissingInput, match="needs an image-text network"):
        make(model, clip="").prepare(masked)
    with pytest.raises(MissingInput, match="needs an image-text network"):
        BlendedDiffusion.assets(BlendedDiffusion.resolve(""))
    play = make(model, candidates=3).fair_play()
    assert (play.uses_mask, play.candidates, play.selector, play.clip_in_loop) == (True, 3, SELECTOR, True)
    assert make(model).fair_play().selector == ""
