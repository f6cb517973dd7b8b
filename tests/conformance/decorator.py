"""The decorator that turns the checks into tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pytest

from etabench_conformance import failing, hygiene, independence, knob, running
from etabench_conformance.case import Case, Folder, Given

CHECKS: tuple[Callable[[Case], None], ...] = (
    independence.same_after_other_samples,
    independence.same_in_another_order,
    independence.same_in_a_batch_of_other_values,
    independence.same_in_a_batch_of_other_samples,
    independence.another_seed_changes_it,
    independence.the_global_generator_is_left_alone,
    hygiene.the_model_is_bit_identical_afterwards,
    hygiene.inputs_are_untouched,
    hygiene.pictures_have_the_size_of_the_source,
    hygiene.values_out_of_bounds_are_refused,
    hygiene.cost_is_counted,
    hygiene.facts_and_pictures_can_be_recorded,
    failing.stops_between_steps,
    failing.nan_is_a_typed_failure,
    knob.more_is_further_from_the_source,
    knob.zero_is_what_it_declares,
    running.same_after_a_kill_and_by_two_workers,
)
"""Every check; each takes a case and raises AssertionError with what is wrong."""


def conformance(
    editor: str,
    *,
    preset: str = "",
    params: Given | None = None,
    knob_params: Given | None = None,
    model: Folder | None = None,
    values: Sequence[float] | None = None,
    skip: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., None]], pytest.MarkDecorator]:
    """Parametrise a test over every check of ``editor``; the test gets ``check`` and calls it.

    ``editor`` is a registered name, ``module:Class`` or ``path/to/file.py:Class``. ``skip`` maps the name of a check that cannot
    apply to the reason, which pytest shows. See ``Case`` for the rest.
    """
    case = Case(editor, preset, params or {}, knob_params or {}, model, values)
    reasons = skip or {}
    unknown = set(reasons) - {check.__name__ for check in CHECKS}
    if unknown:
        raise ValueError(f"skip: no check called {', '.join(sorted(unknown))}")
    chosen = [
        pytest.param(
            partial(check, case),
            id=check.__name__,
            marks=[pytest.mark.skip(reason=reasons[check.__name__])] if check.__name__ in reasons else [],
        )
        for check in CHECKS
    ]
    return pytest.mark.parametrize("check", chosen)
