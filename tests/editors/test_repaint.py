from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from editors import DiffusionModel, EditTask, MissingInput
from editors.repaint import RePaint, walk


def make(model: DiffusionModel, **params: object) -> RePaint:
    given = {"steps": 12, "jump_length": 3, "jump_n_sample": 3, "guidance": 1.0}
    return RePaint(model, RePaint.resolve("", {**given, **params}))


def final_latents(editor: RePaint, task: EditTask, values: tuple[float, ...]) -> Tensor:
    seen: list[Tensor] = []
    decode = editor.model.decode
    editor.model.decode = lambda x: (seen.append(x), decode(x))[1]  # type: ignore[method-assign]
    editor.render(editor.prepare(task), values)
    return seen[0]


@pytest.mark.parametrize(("total", "length", "samples"), [(250, 10, 10), (25, 5, 3), (12, 3, 1), (7, 10, 4)])
def test_the_walk_is_the_papers(total: int, length: int, samples: int) -> None:
    """Its rule, counted in states t = T - 1 .. 0: down one at a time; at each multiple of j below T - j, r - 1 times up j."""
    left = dict.fromkeys(range(0, total - length, length), samples - 1)
    states, t = [total - 1], total - 1
    while t >= 0:
        if left.get(t, 0):
            left[t] -= 1
            states += range(t + 1, t + length + 1)
            t += length
        else:
            t -= 1
            states.append(t)
    moves = walk(total, length, samples)
    assert [moves[0].start - 1, *(move.end - 1 for move in moves)] == states
    assert all(one.end == other.start for one, other in pairwise(moves))
    assert all(abs(move.start - move.end) == 1 for move in moves)


def test_the_papers_setting_costs_2410_evaluations() -> None:
    moves = walk(250, 10, 10)
    downs = Counter(move.start for move in moves if move.end < move.start)
    assert sum(downs.values()) == 250 + 24 * 9 * 10
    assert downs[250] == downs[242] == downs[1] == 1
    assert {downs[level] for level in range(2, 242)} == {10}


@pytest.mark.parametrize("start", [1, 4, 7, 11, 12])
def test_a_later_start_walks_what_it_would_walk_alone(start: int) -> None:
    joint = [move for move in walk(12, 3, 3) if start >= max(move.start, move.top)]
    assert joint == walk(start, 3, 3)


def test_every_evaluation_of_the_walk_is_counted(model: DiffusionModel, masked: EditTask) -> None:
    for guidance, each in ((1.0, 1), (3.0, 2)):
        editor = make(model, guidance=guidance)
        state = editor.prepare(masked)
        before = model.unet_evaluations
        editor.render(state, (0.0, 0.5, 1.0))
        downs = sum(move.end < move.start for start in (6, 12) for move in walk(start, 3, 3))
        assert model.unet_evaluations - before == each * downs


def test_the_background_ends_clean_and_the_inside_does_not(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model)
    latents = final_latents(editor, masked, (0.0, 0.5, 1.0))
    x0 = model.encode(masked.image)
    cells = editor.prepare(masked).cells.expand_as(x0)
    assert torch.equal(latents[:1], x0)
    for latent in latents[1:]:
        assert torch.equal(latent[~cells[0]], x0[0][~cells[0]])
        assert not torch.allclose(latent[cells[0]], x0[0][cells[0]], atol=0.05)


def test_values_do_not_depend_on_their_batch(model: DiffusionModel, masked: EditTask) -> None:
    together = final_latents(make(model.variant()), masked, (0.3, 0.6, 1.0))
    alone = final_latents(make(model.variant()), masked, (0.6,))
    # float32 rounding of other batch sizes over some twenty steps
    assert torch.allclose(together[1:2], alone, atol=1e-3)


def test_resampling_changes_the_result_and_one_sample_does_not_resample(model: DiffusionModel, masked: EditTask) -> None:
    once = make(model, jump_n_sample=1)
    before = model.unet_evaluations
    (plain,) = once.render(once.prepare(masked), (1.0,))
    assert model.unet_evaluations - before == 12
    more = make(model)
    assert not np.array_equal(plain, more.render(more.prepare(masked), (1.0,))[0])


def test_it_needs_a_mask_and_says_whose_it_used(model: DiffusionModel, task: EditTask, masked: EditTask) -> None:
    editor = make(model)
    with pytest.raises(MissingInput, match="repaint needs mask"):
        editor.prepare(task)
    state = editor.prepare(masked)
    assert masked.mask is not None
    assert editor.facts(state) == {"mask_from": "manifest", "mask_share": pytest.approx(masked.mask.mean())}
    assert np.array_equal(editor.pictures(state)["mask"], masked.mask)
    assert editor.fair_play().uses_mask
