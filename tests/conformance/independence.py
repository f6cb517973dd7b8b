"""A result depends on nothing but the unit: not on what came before, nor on what is in the batch beside it.

Each check computes on an editor of its own and compares with the sample alone on another, fresh one.
"""

from __future__ import annotations

import random

import numpy as np
import torch

from etabench_conformance.alone import alone
from etabench_conformance.case import Case, edit, levels_apart, same

LEVELS = 3
"""Of 255. Kernels of other batch sizes add in another order: about 1e-6 in a prediction, which some dozen denoising steps and
rounding to whole levels may turn into a level or two, and an optimisation into one more. A leak between batch-mates shows in tens.
"""


def same_after_other_samples(case: Case) -> None:
    """The edits of a sample are the same to the bit on a fresh editor and on one that edited other samples before."""
    used, values = case.make(), case.grid
    edit(used, case.task(1), values)
    again = edit(used, case.task(0), values)
    assert same(again, alone(case).pictures), "editing another sample first changed the result: something leaks"


def same_in_another_order(case: Case) -> None:
    """Two samples give the pictures of each alone, prepared the second first and with both states alive at once."""
    editor, values = case.make(), case.grid
    second, first = editor.prepare(case.task(1)), editor.prepare(case.task(0))
    pictures = [editor.render(second, values), editor.render(first, values)]
    assert same(pictures[1], alone(case, 0).pictures), "the first sample depends on the order"
    assert same(pictures[0], alone(case, 1).pictures), "the second sample depends on the order"


def same_in_a_batch_of_other_values(case: Case) -> None:
    """A knob value rendered alone is the one rendered among others, up to the rounding of batched kernels."""
    values, together = case.grid, alone(case).pictures
    editor = case.make()
    state = editor.prepare(case.task())
    for value, picture in zip(values, together, strict=True):
        apart = levels_apart(editor.render(state, (value,)), [picture])
        assert apart <= LEVELS, f"value {value:g} alone and in a batch are {apart} levels apart, expected {LEVELS} at most"
    assert same(editor.render(state, values), together), "rendering a state twice gives two results: render changes the state"


def same_in_a_batch_of_other_samples(case: Case) -> None:
    """``prepare_many`` and ``render_many`` give what single calls give, up to the rounding of batched kernels."""
    values, editor = case.grid, case.make()
    together = editor.render_many(editor.prepare_many([case.task(0), case.task(1)]), values)
    assert len(together) == 2
    for number, pictures in enumerate(together):
        apart = levels_apart(alone(case, number).pictures, pictures)
        assert apart <= LEVELS, f"sample {number} alone and in a batch are {apart} levels apart, expected {LEVELS} at most"


def another_seed_changes_it(case: Case) -> None:
    """Another seed gives another picture at some knob value, unless the editor declares itself deterministic."""
    editor, first = case.make(), alone(case)
    task = case.task(seed=first.task.seed + 1)
    unchanged = same(edit(editor, task, case.grid), first.pictures)
    if editor.deterministic:
        assert unchanged, "declared deterministic, but the seed changes the result"
    else:
        assert not unchanged, "the seed changes nothing: use task.seed, or declare the editor deterministic"


def the_global_generator_is_left_alone(case: Case) -> None:
    """No draw from the global random generators, and none of their state in the result."""

    def state() -> tuple[object, ...]:
        return (torch.random.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate())  # noqa: NPY002

    expected, editor = alone(case).pictures, case.make()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(98765)
        before = state()
        pictures = edit(editor, case.task(), case.grid)
        assert state() == before, "a global random generator was used: take noise from the task's seed"
    assert same(pictures, expected), "the result depends on the global random generator"
