"""How long a run will take: the arithmetic, with clocks that tests set. Whether it is right of real editors is measured, not tested."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fake_specs import SpecMaker, editor

from bench import api, registry
from bench.commands.outlook import Forecast, outlooks
from bench.errors import ModelError
from bench.spec import Spec
from bench.store import Record, Run
from bench.workers import trial
from bench.workers.trial import Trial, extrapolated, try_editors


class Unit:
    """Takes `fixed` seconds, and for each of its steps those of its name; `spent` adds them up."""

    def __init__(self, fixed: float, **each: float) -> None:
        self.fixed, self.each = fixed, each
        self.spent = 0.0

    def __call__(self, steps: Mapping[str, int]) -> float:
        seconds = self.fixed + sum(self.each[name] * number for name, number in steps.items())
        self.spent += seconds
        return seconds


@pytest.mark.parametrize(
    ("unit", "whole"),
    [
        (Unit(0.5, steps=0.25), {"steps": 400}),
        (Unit(0.0, steps=0.4), {"steps": 25}),
        (Unit(3.0, steps=0.001), {"steps": 50}),
        (Unit(0.1, steps=0.3, fit=0.05, tune=0.01), {"steps": 25, "fit": 1000, "tune": 1500}),
        (Unit(0.1, steps=0.3, fit=0.5), {"steps": 3, "fit": 1000}),
    ],
)
def test_short_trials_tell_the_time_of_a_whole_unit(unit: Unit, whole: dict[str, int]) -> None:
    seconds, made = extrapolated(unit, whole, budget=2.0)
    assert seconds == pytest.approx(unit.fixed + sum(unit.each[name] * number for name, number in whole.items()))
    assert all(number <= whole[name] for name, number in made.items())
    smallest = unit.fixed + sum(5 * each for each in unit.each.values())
    assert unit.spent < smallest + len(whole) * (2 * 2.0 + 2 * smallest), "each number of steps takes a few times the budget"


def test_a_short_unit_is_made_whole() -> None:
    assert extrapolated(Unit(0.01, steps=0.01), {"steps": 25}, budget=2.0) == (pytest.approx(0.26), {"steps": 25})
    assert extrapolated(Unit(7.0), {}, budget=2.0)[0] == 7.0, "there is nothing to leave out"


def test_an_editor_that_is_quicker_with_more_steps_takes_what_its_trial_did() -> None:
    times = iter([2.0, 1.9, 1.8, 1.7])
    assert extrapolated(lambda steps: next(times), {"steps": 40}, budget=2.0) == (2.0, {"steps": 40})


def tried(spec: Spec, **more: Any) -> list[Trial]:
    plan, manifest = api.plan(spec)
    paced: Any = registry.load_editor(editor("Paced")["name"])
    return list(try_editors(spec, plan, manifest, range(len(plan.entries)), clock=lambda: paced.now, **more)[0].values())


@pytest.mark.parametrize("batch", [1, 2])
def test_an_editor_is_tried_with_fewer_steps_and_as_many_samples_as_in_the_run(make_spec: SpecMaker, batch: int) -> None:
    (found,) = tried(make_spec(editor("Paced", params={"steps": 400}), batch=batch))
    assert found.seconds == pytest.approx(3.0 + 0.25 * 400)
    assert found.basis == "8 of 400 steps on cpu"


def test_an_editor_without_steps_is_tried_whole(make_spec: SpecMaker) -> None:
    assert tried(make_spec(editor("Fade"))) == [Trial(0.0, "a whole unit on cpu")]


def test_what_cannot_be_tried_is_unknown_with_its_reason(make_spec: SpecMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = editor("Paced", params={"fails": True})
    (found,) = tried(make_spec(bad))
    assert math.isnan(found.seconds)
    assert found.basis == "the trial failed: not today"
    monkeypatch.setattr(trial, "PATIENCE", -1.0)
    (found,) = tried(make_spec(bad))
    assert "a unit takes more than" in found.basis, "told to stop, it raised"

    def absent(name: str) -> str:
        raise ModelError(f"no {name} here")

    monkeypatch.setattr(trial, "pick_device", absent)
    assert [each.basis for each in tried(make_spec(bad, editor("Fade")))] == ["no cpu here"] * 2


def test_nothing_of_a_trial_is_left(make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    tried(make_spec(editor("Paced", params={"steps": 400})))
    assert list((tmp_path / "scratch").glob("etabench-*")) == []


def test_a_forecast_is_what_is_left_to_do_and_the_beginning(make_spec: SpecMaker, tmp_path: Path) -> None:
    """Two of three units of NeedsMask can be made; Fade has been timed by a run already, in which each took a second."""
    plan, _ = api.plan(make_spec(editor("Fade"), editor("NeedsMask"), editor("Gaps")))
    run = Run.create(tmp_path / "run")
    first = next(unit for unit in plan.units if unit.entry == 0)
    nothing = tuple(first.identity["values"])
    run.commit(Record(first.key, "done", first.identity, absent=nothing, seconds={"prepare": 0.25, "render": 0.75}))
    looks = outlooks(plan, run, {0: Trial(50.0, "not needed"), 1: Trial(10.0, "a trial")})
    assert [look.seconds for look in looks[:2]] == [2.0, 20.0]
    assert [look.basis for look in looks] == ["1 made already", "a trial", "nothing is measured yet"]
    ahead = Forecast(looks, start=5.0)
    assert ahead.seconds == 27.0
    assert [look.editor for look in ahead.unknown] == ["Gaps"]
