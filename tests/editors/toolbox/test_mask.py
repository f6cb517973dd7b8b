from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from editors import DiffusionModel, EditTask
from editors.diffedit import DiffEdit
from editors.toolbox.diffusion import derive_seed
from editors.toolbox.mask import AutoMask, MaskParams, auto_mask, binarise, to_cells, to_pixels


def make(model: DiffusionModel, task: EditTask, **params: object) -> AutoMask:
    target, empty = model.embed_pair(task.target_text)
    schedule = model.schedule(20)
    return auto_mask(model, schedule, MaskParams(**params), task, x0=model.encode(task.image), target=target, empty=empty)


def test_the_papers_rule_is_blind_to_scale_and_offset_and_to_one_outlier() -> None:
    difference = torch.full((16, 16), 1.0)
    difference[4:8, 4:8] = 3.0
    expected = difference > 2
    assert torch.equal(binarise(difference, MaskParams()), expected)
    assert torch.equal(binarise(0.01 * difference + 5, MaskParams()), expected)
    difference[0, 0] = 1e4
    expected[0, 0] = True
    assert torch.equal(binarise(difference, MaskParams()), expected)
    assert int(binarise(difference, MaskParams(mask_quantile=1.0)).sum()) == 1


def test_the_pipelines_rule_is_one_and_a_half_times_the_mean() -> None:
    difference = torch.rand(16, 16, generator=torch.Generator().manual_seed(0))
    got = binarise(difference, MaskParams(mask_rule="diffusers"))
    assert torch.equal(got, difference > 1.5 * difference.mean())
    assert 0 < int(got.sum()) < 256


def test_the_threshold_orders_masks() -> None:
    difference = torch.rand(16, 16, generator=torch.Generator().manual_seed(0))
    sizes = [int(binarise(difference, MaskParams(mask_threshold=t)).sum()) for t in (0.25, 0.5, 0.75)]
    assert sizes[0] > sizes[1] > sizes[2] > 0


def test_a_flat_map_gives_an_empty_mask() -> None:
    for rule in ("paper", "diffusers"):
        assert not binarise(torch.zeros(4, 4), MaskParams(mask_rule=rule)).any()
    assert not binarise(torch.ones(4, 4), MaskParams()).any()


def test_the_map_is_the_mean_difference_of_conditional_predictions(model: DiffusionModel, task: EditTask) -> None:
    before = model.unet_evaluations
    got = make(model, task, mask_maps=3)
    assert model.unet_evaluations - before == 2 * 3
    target, empty = model.embed_pair(task.target_text)
    schedule, x0 = model.schedule(20), model.encode(task.image)
    total = torch.zeros(16, 16)
    for noise in model.noise(derive_seed(task.seed, "mask"), (3, 4, 16, 16)):
        x = schedule.q_sample(x0, noise[None], 10)
        total += (
            (model.predict(x, schedule.timestep(10), target) - model.predict(x, schedule.timestep(10), empty)).abs().mean((0, 1))
        )
    # float32 rounding of another batch size
    assert torch.allclose(got.difference, total / 3, atol=1e-6)
    assert got.reference == "empty"


def test_the_reference_is_the_source_text_only_where_asked_and_there(
    model: DiffusionModel, task: EditTask, masked: EditTask
) -> None:
    assert make(model, masked).reference == "empty"
    assert make(model, task, use_source_text=True).reference == "empty"
    described = make(model, masked, use_source_text=True)
    assert described.reference == "source"
    assert not torch.allclose(described.difference, make(model, masked).difference, rtol=0.01)


def test_equal_texts_give_an_empty_mask(model: DiffusionModel, masked: EditTask) -> None:
    same = make(model, replace(masked, source_text=masked.target_text), use_source_text=True)
    # the two predictions come from one batch and may differ by rounding
    assert float(same.difference.max()) < 1e-6


def test_chunks_do_not_change_the_mask(model: DiffusionModel, task: EditTask) -> None:
    whole = make(model, task)
    model.max_batch = 3
    assert torch.allclose(make(model, task).difference, whole.difference, atol=1e-6)


def test_the_mask_does_not_depend_on_the_grid(model: DiffusionModel, task: EditTask) -> None:
    editor = DiffEdit(model, DiffEdit.resolve("", {"steps": 4}))
    masks = []
    for values in ((0.25,), (0.5, 1.0)):
        state = editor.prepare(task)
        editor.render(state, values)
        masks.append(state.mask.cells)
    assert torch.equal(*masks)


def test_a_cell_covers_its_square_of_pixels() -> None:
    cells = torch.zeros(1, 1, 2, 3, dtype=torch.bool)
    cells[0, 0, 1, 2] = True
    expected = np.zeros((8, 12), bool)
    expected[4:, 8:] = True
    assert np.array_equal(to_pixels(cells, 4), expected)


def test_a_manifests_mask_comes_to_the_latent_by_any_pixel_or_by_the_first() -> None:
    like, mask = torch.zeros(1, 4, 2, 3), np.zeros((8, 12), bool)
    mask[1, 5] = mask[4, 8] = True
    assert to_cells(mask, like).nonzero().tolist() == [[0, 0, 0, 1], [0, 0, 1, 2]]
    assert to_cells(mask, like, "nearest").nonzero().tolist() == [[0, 0, 1, 2]]
