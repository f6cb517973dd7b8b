from __future__ import annotations

import pytest
import torch

from editors import DiffusionModel
from editors.task import Cancelled, NotFinite

FINE, BAD = torch.zeros(2), torch.tensor([0.0, float("nan")])


def test_what_is_guarded_together_is_looked_at_at_the_end_and_the_first_is_named(model: DiffusionModel) -> None:
    reached = []
    with pytest.raises(NotFinite, match=r"at second$"), model.guarded_together():
        model.guard(FINE, "first")
        with model.guarded_together():  # a part of the outer one
            model.guard(BAD, "second")
        model.variant().guard(BAD, "third")
        reached.append("the end")
    assert reached == ["the end"]
    with pytest.raises(NotFinite, match=r"at once$"):
        model.guard(BAD, "once")


def test_an_error_within_is_the_one_that_is_told_and_nothing_of_it_stays(model: DiffusionModel) -> None:
    with pytest.raises(ZeroDivisionError), model.guarded_together():
        model.guard(BAD, "before")
        raise ZeroDivisionError
    with model.guarded_together():
        model.guard(FINE, "after")


def test_a_stop_is_asked_for_at_once(model: DiffusionModel) -> None:
    model.cancelled = lambda: True
    try:
        with pytest.raises(Cancelled, match="at a step"), model.guarded_together():
            model.guard(FINE, "a step")
    finally:
        model.cancelled = lambda: False


def test_a_number_is_guarded_and_names_what_was_not_finite_before_it(model: DiffusionModel) -> None:
    assert model.number(torch.tensor(0.5, requires_grad=True), "loss") == 0.5
    with pytest.raises(NotFinite, match=r"at loss$"):
        model.number(torch.tensor(float("inf")), "loss")
    with pytest.raises(NotFinite, match=r"at prediction$"), model.guarded_together():
        model.guard(BAD, "prediction")
        model.number(torch.tensor(float("nan")), "loss")
