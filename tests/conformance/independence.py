"""A result depends on nothing but the unit: not on what came before, nor on what is in the batch beside it."""

from __future__ import annotations

from etabench_conformance.case import Case, edit, levels_apart, same

LEVELS = 3
"""Of 255. Kernels of other batch sizes add in another order: about 1e-6 in a prediction, which some dozen denoising steps and
rounding to whole levels may turn into a level or two, and an optimisation into one more. A leak between batch-mates shows in tens.
"""


def same_after_other_samples(case: Case) -> None:
    """The edits of a sample are the same to the bit on a fresh editor and on one that edited other samples before."""
    task, values = case.task(0), case.grid
    alone = edit(case.make(), task, values)
    used = case.make()
    edit(used, case.task(1), values)
    assert same(edit(used, task, values), alone), "editing another sample first changed the result: something leaks"


def same_in_another_order(case: Case) -> None:
    """Two samples in either order give the same pictures, with both states alive at once."""
    values, first, second = case.grid, case.task(0), case.task(1)
    one, other = case.make(), case.make()
    forwards = [one.prepare(first), one.prepare(second)]
    backwards = [other.prepare(second), other.prepare(first)]
    a = [one.render(state, values) for state in forwards]
    b = [other.render(state, values) for state in backwards]
    assert same(a[0], b[1]), "the first sample depends on the order"
    assert same(a[1], b[0]), "the second sample depends on the order"


def same_in_a_batch_of_other_values(case: Case) -> None:
    """A knob value rendered alone is the one rendered among others, up to the rounding of batched kernels."""
    values = case.grid
    editor = case.make()
    state = editor.prepare(case.task())
    together = editor.render(state, values)
    for value, picture in zip(values, together, strict=True):
        apart = levels_apart(editor.render(state, (value,)), [picture])
        assert apart <= LEVELS, f"value {value:g} alone and in a batch are {apart} levels apart, expected {LEVELS} at most"
    assert same(editor.render(state, values), together), "rendering a state twice gives two results: render changes the state"


def same_in_a_batch_of_other_samples(case: Case) -> None:
    """``prepare_many`` and ``render_many`` give what single calls give, up to the rounding of batched kernels."""
    values, tasks = case.grid, [case.task(0), case.task(1)]
    editor = case.make()
    together = editor.render_many(editor.prepare_many(tasks), values)
    assert len(together) == len(tasks)
    for number, (task, pictures) in enumerate(zip(tasks, together, strict=True)):
        apart = levels_apart(edit(editor, task, values), pictures)
        assert apart <= LEVELS, f"sample {number} alone and in a batch are {apart} levels apart, expected {LEVELS} at most"


def another_seed_changes_it(case: Case) -> None:
    """Another seed gives another picture at some knob value, unless the editor declares itself deterministic."""
    editor, values = case.make(), case.grid
    one, other = (edit(editor, case.task(seed=seed), values) for seed in (1, 2))
    if editor.deterministic:
        assert same(one, other), "declared deterministic, but the seed changes the result"
    else:
        assert not same(one, other), "the seed changes nothing: use task.seed, or declare the editor deterministic"


def the_global_generator_is_left_alone(case: Case) -> None:
    """No draw from the global random generators, and none of their state in the result."""
    import random

    import numpy as np
    import torch

    def state() -> tuple[object, ...]:
        return (torch.random.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate())  # noqa: NPY002

    editor, task, values = case.make(), case.task(), case.grid
    before = state()
    one = edit(editor, task, values)
    assert state() == before, "a global random generator was used: take noise from the task's seed"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(98765)
        assert same(edit(editor, task, values), one), "the result depends on the global random generator"
