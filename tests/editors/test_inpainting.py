"""What the inpainting editors have in common, each on a tiny checkpoint of its architecture."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn import draw, weights_of

from editors import Cancelled, DiffusionModel, EditTask, Image, MissingInput, NotFinite
from editors.brushnet import BrushNet
from editors.controlnet_inpaint import ControlNetInpaint
from editors.inpainting import Conditioned, Inpainter, paste_background
from editors.powerpaint import PowerPaint
from editors.sd_inpaint import SDInpaint

STEPS = 5
GRID = (0.4, 1.0)
Make = Callable[..., Inpainter]

KINDS: dict[str, tuple[type[Inpainter], str, dict[str, str]]] = {
    "sd_inpaint-4": (SDInpaint, "tiny_folder", {}),
    "sd_inpaint-9": (SDInpaint, "inpainting_folder", {}),
    "controlnet_inpaint": (ControlNetInpaint, "tiny_folder", {"controlnet": "controlnet_folder"}),
    "controlnet_inpaint-9": (ControlNetInpaint, "inpainting_folder", {"controlnet": "controlnet_folder"}),
    "brushnet": (BrushNet, "tiny_folder", {"brushnet": "brushnet_folder"}),
    "powerpaint": (PowerPaint, "powerpaint_folder", {}),
}


_load = cache(DiffusionModel.load)


@pytest.fixture(params=list(KINDS))
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    cls, folder, networks = KINDS[request.param]
    base: Path = request.getfixturevalue(folder)
    beside = {name: str(request.getfixturevalue(fixture)) for name, fixture in networks.items()}

    def made(model: DiffusionModel | None = None, **params: Any) -> Inpainter:
        return cls(model or _load(base), cls.resolve("", {"steps": STEPS, **beside, **params}))

    yield made
    _load(base).cancelled = lambda: False


def edits(editor: Inpainter, task: EditTask, values: tuple[float, ...] = GRID) -> list[Image]:
    return editor.render(editor.prepare(task), values)


def gap(a: Image, b: Image) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def test_a_unit_gives_its_pictures_whatever_was_made_before_and_the_seed_and_the_text_matter(
    make: Make, masked: EditTask
) -> None:
    first = make()
    state = torch.get_rng_state()
    pictures = edits(first, masked)
    other = replace(masked, image=draw(7), target_text="a red ball", seed=3)
    different = edits(first, other)
    again = edits(make(), masked)
    assert all(np.array_equal(a, b) for a, b in zip(pictures, again, strict=True))
    assert [p.shape for p in pictures] == [masked.image.shape] * 2
    assert not np.array_equal(pictures[0], different[0])
    assert not np.array_equal(pictures[1], edits(first, replace(masked, seed=masked.seed + 1))[1])
    assert not np.array_equal(pictures[1], edits(first, replace(masked, target_text="red"))[1])
    assert torch.equal(state, torch.get_rng_state())


def test_values_in_one_batch_are_those_made_alone_and_nothing_is_left_behind(make: Make, masked: EditTask) -> None:
    editor = make()
    before = weights_of(editor.model)
    state = editor.prepare(masked)
    together = editor.render(state, (1.0, 0.4, 0.0))
    for value, picture in zip((1.0, 0.4, 0.0), together, strict=True):
        # rounding of another batch size may move a value across the border of two grey levels
        assert gap(editor.render(state, (value,))[0], picture) <= 1
    after = weights_of(editor.model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in editor.model.unet.modules())


def test_strength_zero_is_the_round_trip_and_more_steps_cost_more(make: Make, masked: EditTask) -> None:
    editor = make()
    state = editor.prepare(masked)
    before = editor.model.unet_evaluations
    assert np.array_equal(editor.render(state, (0.0,))[0], editor.model.decode(state.x0)[0])
    assert editor.model.unet_evaluations == before
    editor.render(state, (0.4, 1.0))
    assert editor.model.unet_evaluations - before == 2 * (2 + 5)


def test_the_whole_strength_starts_from_plain_noise(make: Make, masked: EditTask) -> None:
    """Where the background is not blended back, only what the network is told of the picture can show in the result."""
    editor = make()
    state = editor.prepare(masked)
    elsewhere = replace(state, x0=torch.zeros_like(state.x0))
    same = np.array_equal(editor.render(state, (1.0,))[0], editor.render(elsewhere, (1.0,))[0])
    assert same == (not editor.blends)
    assert not np.array_equal(editor.render(state, (0.8,))[0], editor.render(elsewhere, (0.8,))[0])


def test_pictures_that_are_not_square_keep_their_size(make: Make, masked: EditTask) -> None:
    assert masked.mask is not None
    wide = replace(masked, image=np.ascontiguousarray(masked.image[:48]), mask=masked.mask[:48])
    assert [p.shape for p in edits(make(), wide)] == [(48, 64, 3)] * 2


def test_it_stops_when_told_and_names_nan(make: Make, masked: EditTask) -> None:
    editor = make()
    editor.model.cancelled = lambda: True
    with pytest.raises(Cancelled):
        editor.prepare(masked)
    editor.model.cancelled = lambda: False
    broken = copy.deepcopy(editor.model.unet)
    broken.register_forward_hook(lambda _m, _given, output: type(output)(sample=output.sample * float("nan")))
    with pytest.raises(NotFinite):
        edits(make(editor.model.variant(unet=broken)), masked)


def test_without_a_mask_it_says_what_is_missing(make: Make, task: EditTask) -> None:
    with pytest.raises(MissingInput, match="needs mask"):
        make().prepare(task)
    assert make().fair_play().uses_mask


def test_facts_and_pictures_tell_what_was_done(make: Make, masked: EditTask) -> None:
    editor = make(paste="hard")
    state = editor.prepare(masked)
    facts = editor.facts(state)
    assert facts["paste"] == "hard"
    assert facts["mask_share"] == pytest.approx(32 * 20 / 64**2)
    assert np.array_equal(editor.pictures(state)["mask"], masked.mask)
    assert facts["background"] == ("blended after every step" if editor.blends else "seen by the network")


def test_pasting_by_policy() -> None:
    source, edit = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 200, np.uint8)
    mask = np.zeros((64, 64), dtype=bool)
    mask[:, 32:] = True
    assert paste_background(edit, source, mask, "none") is edit
    hard = paste_background(edit, source, mask, "hard")
    assert (hard[mask] == 200).all()
    assert (hard[~mask] == 0).all()
    soft = paste_background(edit, source, mask, "feathered")
    assert (soft[:, :21] == 0).all()
    assert (soft[:, 43:] == 200).all()
    row = soft[10, 21:43, 0].astype(int)
    assert (np.diff(row) >= 0).all()
    assert row[10] < 100 < row[11]  # half of 200 lies between the two pixels at the edge
    assert row[10] + row[11] == pytest.approx(200, abs=1)
    assert source.max() == 0


def test_a_conditioned_network_passes_the_condition_to_every_item() -> None:
    seen = {}

    class Network:
        dtype, config = torch.float64, None

        def __call__(self, x: torch.Tensor, timesteps: torch.Tensor, encoder_hidden_states: torch.Tensor, added: int) -> str:
            seen.update(x=x, added=added)
            return "answer"

    extra = torch.arange(4.0).view(1, 1, 2, 2)
    conditioned = Conditioned(Network(), extra, lambda x, _t, _c: {"added": x.shape[1]})
    x = torch.zeros(3, 2, 2, 2, dtype=torch.float64)
    assert conditioned(x, torch.zeros(3), encoder_hidden_states=torch.zeros(3, 1, 1)) == "answer"
    assert seen["added"] == 2
    assert torch.equal(seen["x"][:, 2:], extra.double().expand(3, -1, -1, -1))
