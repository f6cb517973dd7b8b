"""Two runs side by side: differences that are known by hand, and what cannot be laid side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_specs import ALL_METRICS, PAIR_METRICS, SpecMaker, editor, metric
from fixtures_manifest import row, write_folder

from bench import api
from bench.analysis.compare import GAIN, VOLUME, Change, Comparison, compare
from bench.errors import RunError
from bench.scoring import read_scores
from bench.scoring.tables import write_table
from bench.store import Run
from bench.workers.crew import Options

Make = Callable[..., Run]
FADE, LOUD = editor("Fade"), editor("Fade", label="Fade", preset="loud")
ANCHORED = (editor("Unchanged", label="copy"), editor("Grey", label="regenerate"))


@pytest.fixture
def make(make_spec: SpecMaker, tmp_path: Path) -> Make:
    """A scored run over eight samples of eight pictures, unless `few`: three of two."""
    eight = write_folder(tmp_path / "eight", [row(i) for i in range(8)], pictures=8)

    def run(name: str, *editors: dict[str, Any], few: bool = False, **more: Any) -> Run:
        place = {} if few else {"manifest": {"path": str(eight)}}
        made = api.run(make_spec(*editors, **(place | more)), tmp_path / name, options=Options(executor="inline"))
        api.score(made)
        return made

    return run


def cell(found: Comparison, editor_: str, value: float, name: str) -> Change:
    (change,) = [each for each in found.cells if (each.editor, each.value, each.metric) == (editor_, value, name)]
    return change


def curve(found: Comparison, name: str) -> Change:
    (change,) = [each for each in found.curves if each.metric == name]
    return change


def shift(run: Run, by: Callable[[int], float], value: float = 0.5) -> None:
    """Add to the CLIP scores of the samples, by their number, at a knob value."""
    pairs = read_scores(run).pairs
    rows = pairs[(pairs["metric"] == "clip") & (pairs["value"] == value)].index
    pairs.loc[rows, "score"] += [by(number) for number in range(len(rows))]
    write_table(run, "pairs", pairs)


def test_a_run_beside_itself_is_equal(make: Make) -> None:
    run = make("a", FADE)
    found = compare(run, run)
    assert {each.word for each in found.cells} == {"equal"}
    assert (found.worst, found.settings, found.alone) == ((), (), ())
    assert curve(found, GAIN).p == 1


def test_a_shift_is_found_with_its_size_and_the_worst_samples(make: Make) -> None:
    one, two = make("a", FADE), make("b", FADE)
    shift(two, lambda number: -1.0 - number / 10)
    found = compare(one, two)
    change = cell(found, "Fade", 0.5, "clip")
    assert (change.difference, change.n) == (pytest.approx(-1.35), 8)
    assert change.low < -1.35 < change.high < 0
    assert change.p == 2 / 2**8, "all signs alike: one pattern of 256, and its mirror"
    assert change.p_holm == pytest.approx(3 * change.p), "three knob values of one metric"
    assert change.word == "worse"
    assert [each.word for each in found.cells].count("worse") == 1
    assert found.of("worse") == [change]
    assert [each.sample for each in found.worst] == [f"sample-{number}" for number in range(7, -1, -1)]
    assert (found.worst[0].before - found.worst[0].after) == pytest.approx(1.7)
    whole = curve(found, "clip")
    assert whole.difference == pytest.approx(-1.35 / 3)
    assert (math.isnan(whole.value), whole.p, whole.word) == (True, 2 / 2**8, "worse")
    assert curve(found, GAIN).difference < 0
    assert compare(two, one).of("better")[0].difference == pytest.approx(1.35)


def test_pictures_and_not_samples_have_signs(make: Make) -> None:
    """Three samples of two pictures: p cannot be below a half, and that is said."""
    one, two = make("a", FADE, few=True), make("b", FADE, few=True)
    shift(two, lambda number: -5.0)
    found = compare(one, two)
    assert cell(found, "Fade", 0.5, "clip").p == 0.5
    assert any("no p can pass" in note for note in found.notes)


def test_whole_curves_are_compared_in_the_box_of_the_first_runs_anchors(make: Make) -> None:
    one, two = make("a", FADE, *ANCHORED), make("b", LOUD, *ANCHORED)
    found = compare(one, two)
    volume, other = curve(found, VOLUME), curve(compare(two, one), VOLUME)
    assert volume.difference == pytest.approx(-other.difference)
    assert volume.difference != 0
    assert found.settings == ("Fade: gain 1.0 → 2.0",)
    assert {each.editor for each in found.cells} == {"Fade", "copy", "regenerate"}


def test_only_what_both_have_is_compared_and_the_rest_is_named(make: Make) -> None:
    one = make("a", FADE, editor("Several"), limit=5)
    two = make("b", editor("Fade", grid=[0.0, 1.0]), editor("Gaps"), seeds=[3, 4], metrics=[PAIR_METRICS[0]])
    found = compare(one, two)
    assert {(each.editor, each.value, each.metric, each.n) for each in found.cells} == {
        ("Fade", 0, "clip", 5),
        ("Fade", 1, "clip", 5),
    }
    said = " | ".join(found.alone)
    for words in (
        f"only {one.path} has metrics lpips",
        f"only {one.path} has Fade at 0.5",
        f"only {two.path} has samples sample-5",
    ):
        assert words in said
    assert "seeds 0 → 3, 4" in found.settings
    assert VOLUME not in {each.metric for each in found.curves}, "there are no anchors"


def test_an_editor_with_one_knob_value_has_no_curve(make: Make) -> None:
    runs = make("a", editor("Fade", grid=[0.5])), make("b", LOUD | {"grid": [0.5]})
    found = compare(*runs)
    assert found.curves == ()
    assert cell(found, "Fade", 0.5, "lpips").word == "worse"


def test_scores_on_one_side_only_have_no_test(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed = make("a", editor("FailsOnce"))
    (tmp_path / "healed").touch()
    whole = make("b", editor("FailsOnce"))
    change = cell(compare(failed, whole), "FailsOnce", 0.5, "clip")
    assert (change.strange, change.n, change.difference, math.isnan(change.p)) == ({"missing": 1}, 7, 0.0, True)
    shift(whole, lambda number: {2: math.nan, 3: math.inf}.get(number, 0.0))
    change = cell(compare(failed, whole), "FailsOnce", 0.5, "clip")
    assert (change.strange, change.word) == ({"missing": 1, "undefined": 1, "infinite": 1}, "")


def test_sets_have_a_difference_and_no_test(make: Make) -> None:
    found = compare(make("a", FADE, metrics=ALL_METRICS, few=True), make("b", LOUD, metrics=ALL_METRICS, few=True))
    change = cell(found, "Fade", 0.5, "fid")
    assert change.difference == change.second - change.first != 0
    assert (math.isnan(change.p), change.n) == (True, 0)


def test_sets_with_another_reference_are_left_out_and_told(make: Make) -> None:
    found = compare(make("a", FADE, metrics=ALL_METRICS, few=True), make("b", FADE, metrics=ALL_METRICS, few=True, limit=2))
    assert {each.metric for each in found.cells} == {"clip", "lpips"}
    assert any(note.startswith("fid is not the same number in both and not compared (reference.") for note in found.notes)


def test_other_manifests_and_other_metrics_are_refused_with_what_differs(make: Make) -> None:
    one = make("a", FADE)
    with pytest.raises(RunError, match=r"are of two manifests, .*: of the samples .*(changed|gone); run both on one"):
        compare(one, make("b", FADE, few=True))
    other = make("c", FADE, metrics=[PAIR_METRICS[0], metric("Distance", version="2")])
    with pytest.raises(RunError, match=r"not the same numbers: lpips \(version 1 and 2\); score both alike"):
        compare(one, other)
    with pytest.raises(RunError, match="the runs have no sample in common: of 1 and 1 none is in both"):
        compare(make("d", FADE, samples=["sample-1"]), make("e", FADE, samples=["sample-2"]))
    with pytest.raises(RunError, match="have no scores of the same editor, knob value and metric"):
        compare(one, make("f", editor("Several")))
