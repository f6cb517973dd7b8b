"""How long a run will take: the arithmetic, with clocks that tests set. Whether it is right of real editors is measured, not tested."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_specs import SpecMaker, editor

from bench import api, registry
from bench.commands import outlook
from bench.commands.fetch import in_words
from bench.commands.outlook import Forecast, ahead, outlooks, room
from bench.errors import ModelError
from bench.spec import ModelRef, Spec
from bench.store import EditFile, Record, Run
from bench.workers import trial
from bench.workers.crew import Options
from bench.workers.trial import Trial, extrapolated, try_editors
from bench.workers.worker import Interrupted, Worker


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


def test_a_slow_editor_may_take_the_time_that_quick_ones_left(make_spec: SpecMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside twenty others it has 2 s of its own, and a trial of the fewest steps takes it 4."""
    edit = Worker._edit

    def stoppable(worker: Worker, *given: Any) -> Any:
        made = edit(worker, *given)
        if worker.stop():
            raise Interrupted
        return made

    monkeypatch.setattr(Worker, "_edit", stoppable)
    quick = [editor("Fade", label=f"quick{number}") for number in range(20)]
    spec = make_spec(*quick, editor("Paced", params={"steps": 400}))
    assert tried(spec)[-1].seconds == pytest.approx(3.0 + 0.25 * 400)
    monkeypatch.setattr(trial, "PATIENCE", 0.25)
    assert tried(spec)[-1].basis == "its trial, a few steps of one unit, did not end within 2 s", "there is an end to it"


def test_what_cannot_be_tried_is_unknown_with_its_reason(make_spec: SpecMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = editor("Paced", params={"fails": True})
    (found,) = tried(make_spec(bad))
    assert math.isnan(found.seconds)
    assert found.basis == "the trial failed: not today"
    monkeypatch.setattr(trial, "PATIENCE", -1.0)
    (found,) = tried(make_spec(bad))
    assert found.basis.startswith("its trial, a few steps of one unit, did not end within"), "told to stop, it raised"

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
    edits = tuple(EditFile(value, f"{place:03d}.png", "ab") for place, value in enumerate(plan.entries[0].values))
    run.commit(Record(first.key, "done", first.identity, edits=edits, seconds={"prepare": 0.25, "render": 0.75}))
    looks = outlooks(plan, run, {0: Trial(50.0, "not needed"), 1: Trial(10.0, "a trial")})
    assert [look.seconds for look in looks[:2]] == [2.0, 20.0]
    assert [look.basis for look in looks] == ["1 made already", "a trial", "nothing is measured yet"]
    ahead = Forecast(looks, start=5.0)
    assert ahead.seconds == 27.0
    assert [look.editor for look in ahead.unknown] == ["Gaps"]


def test_hours_and_gigabytes_are_told_before_a_run_of_many_edits(
    make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, run = make_spec(editor("Fade")), Run(tmp_path / "not" / "there yet")
    plan, manifest = api.plan(spec)
    look = outlook.Outlook("Fade", 3, 9, 0, 0, {}, 7200.0, "a trial")
    monkeypatch.setattr(outlook, "forecast", lambda *given: Forecast([look], 60.0))
    assert ahead(spec, plan, manifest, run, 1) == [], "few edits tell their time by themselves"
    monkeypatch.setattr(outlook, "WORTH_A_TRIAL", plan.edits)
    assert ahead(spec, plan, manifest, run, 1) == ["estimate: 2 h 01 min of one worker's time, for the edits"]
    sized = replace(plan, resolution=512)
    told = ahead(spec, sized, manifest, run, 1)
    most = in_words(plan.edits * 3 * 512**2)
    assert told[0].startswith(f"disk: at most {most} for the edits in {run.path}, ")
    assert told[0] == room(sized, run.path)
    assert ahead(spec.model_copy(update={"model": ModelRef(name="toybox")}), sized, manifest, run, 1) == []


def test_a_run_tells_them_first_and_a_caller_without_a_display_pays_for_no_trial(
    make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(outlook, "ahead", lambda spec, *given: asked.append(spec.name) or ["disk: some", "estimate: long"])
    lines: list[str] = []

    @contextmanager
    def progress(what: str, total: int, done: int = 0) -> Iterator[Any]:
        yield lambda steps=1, note="": lines.append(note)

    options = Options(executor="inline")
    api.run(make_spec(limit=1), tmp_path / "silent", options=options)
    assert asked == []
    api.run(make_spec(limit=1), tmp_path / "told", options=options, progress=progress)
    assert lines[:2] == ["disk: some", "estimate: long"]
    assert asked == ["test"]
