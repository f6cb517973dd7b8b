"""Swaps of two editors. That an editor does not differ from itself is tested where differences are made (test_differences.py)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fake_specs import PAIR_METRICS, SpecMaker, editor, metric
from fixtures_manifest import row, write_folder
from made_scores import AXES, curves_as_scores, entry, plan_of

from bench import api
from bench.analysis.differences import differences
from bench.scoring import read_scores, swaps
from bench.scoring.axes import Axes
from bench.scoring.swaps import Ring, outcome, signs
from bench.scoring.tables import PAIR_COLUMNS, frame
from bench.toybox import embedded
from bench.workers.crew import Options
from metrics.base import FeatureSet
from metrics.frechet import FrechetDistance
from metrics.kid import KID
from metrics.toolbox.two_sample import Values

TWO = plan_of(entry("a"), entry("b"), samples=4)
CLIP = {"a": np.arange(12.0).reshape(4, 3), "b": 100 + np.arange(12.0).reshape(4, 3)}
LPIPS = {"a": np.full((4, 3), 0.5), "b": np.full((4, 3), 0.5)}


def test_a_swapped_picture_gives_both_its_edits_to_the_other() -> None:
    """Two pictures with two samples each, so two patterns: nothing swapped, and one picture swapped."""
    duel = Ring(TWO, curves_as_scores(TWO, CLIP, LPIPS).pairs, AXES).duel("a", "b")
    assert sorted(duel.kept.tolist()) == [[False, True], [True, True]] or sorted(duel.kept.tolist()) == [
        [True, False],
        [True, True],
    ]
    swapped = int((~duel.kept).any(axis=1).argmax())
    first, second = duel.means("clip")
    gone = duel.clusters == int((~duel.kept[swapped]).argmax())
    assert first[0].tolist() == CLIP["a"].mean(axis=0).tolist()
    assert first[swapped].tolist() == np.where(gone[:, None], CLIP["b"], CLIP["a"]).mean(axis=0).tolist()
    assert second[swapped].tolist() == np.where(gone[:, None], CLIP["a"], CLIP["b"]).mean(axis=0).tolist()
    assert [at[0] for at in duel.chosen] == [2, 2], "LPIPS is the same everywhere, and CLIP rises"
    assert duel.turned.tolist() == [1.0, 0.0]


def test_knob_values_take_places_by_rank() -> None:
    plan = plan_of(entry("a", (0.1, 0.2, 0.3, 0.4, 0.5)), entry("b"), entry("c", (0.5,)), samples=4)
    tables = {each.label: np.zeros((4, len(each.values))) for each in plan.entries}
    ring = Ring(plan, curves_as_scores(plan, tables, tables).pairs, AXES)
    assert [places.tolist() for places in ring.duel("a", "b").places] == [[0, 0, 1, 2, 2], [0, 2, 4]]
    assert [places.tolist() for places in ring.duel("a", "c").places] == [[0, 0, 0, 0, 0], [2]]


def test_a_sample_that_lacks_an_edit_of_either_is_not_compared() -> None:
    scores = curves_as_scores(TWO, CLIP, LPIPS)
    lost = (scores.pairs["editor"] == "b") & (scores.pairs["sample_id"] == "s1") & (scores.pairs["value"] == 1.0)
    duel = Ring(TWO, scores.pairs[~lost], AXES).duel("a", "b")
    assert duel.samples.tolist() == [0, 2, 3]
    never = scores.pairs[(scores.pairs["editor"] == "a") | (scores.pairs["value"] < 1.0)]
    assert Ring(TWO, never, AXES).duel("a", "b").samples.tolist() == [0, 1, 2, 3], "a knob value that nobody has is no gap"
    assert Ring(TWO, scores.pairs[:0], AXES).duel("a", "b").samples.tolist() == []


def test_sets_without_scores_of_single_edits_are_compared_on_their_edits() -> None:
    edits = [(e, s, value) for e in range(2) for s in range(4) for value in (0.0, 0.5, 1.0) if (e, s) != (1, 2)]
    duel = Ring(TWO, frame([], PAIR_COLUMNS), AXES, edits).duel("a", "b")
    assert duel.samples.tolist() == [0, 1, 3]
    assert duel.values == (0.5, 0.5), "the middle of the grid, and nothing is chosen"
    assert not np.any([at != 1 for at in duel.chosen])


@pytest.mark.slow
def test_a_set_metric_that_is_a_mean_is_tested_as_that_mean(make_spec: SpecMaker, tmp_path: Path) -> None:
    """The sets that swaps compare are those whose means the test of a pair metric compares, points chosen anew included."""
    folder = write_folder(tmp_path / "eight", [row(i) for i in range(8)], pictures=8)
    metrics = [metric("Chance"), PAIR_METRICS[1], metric("Brightness"), metric("SetBrightness")]
    about = {"metrics": metrics, "manifest": {"path": str(folder)}, "axes": {"editability": "chance"}}
    spec = make_spec(editor("Fade"), editor("Fade", label="loud", preset="loud"), **about)
    run = api.run(spec, tmp_path / "run", options=Options(executor="inline"))
    scores = api.score(run)
    axes = Axes.of(spec.axes, scores)
    table = differences(run.plan, scores, axes).set_index("metric")
    single, of_sets = table.loc["brightness"], table.loc["set_brightness"]
    # float32 means against float64.
    assert of_sets["difference"] == pytest.approx(single["difference"], abs=1e-6)
    assert (of_sets["p"], of_sets["p_least"], of_sets["n"]) == (single["p"], single["p_least"], single["n"])
    assert of_sets["p_least"] == 1 / 128
    duel = Ring(run.plan, scores.pairs, axes).duel("Fade", "loud")
    assert max(len(np.unique(at)) for at in duel.chosen) > 1, "swaps choose other points"


@pytest.mark.slow
def test_a_table_of_tests_at_fixed_points_is_no_longer_known(make_spec: SpecMaker, tmp_path: Path) -> None:
    spec = make_spec(editor("Fade"), editor("Fade", label="loud", preset="loud"), metrics=[*PAIR_METRICS, metric("ColourGap")])
    run = api.run(spec, tmp_path / "run", options=Options(executor="inline"))
    before = api.score(run)
    assert len(before.set_pairs) == 1
    before.set_pairs.drop(columns=["axes", "p_least"]).to_parquet(run.scores / "set_pairs.parquet")
    found = read_scores(run)
    assert found.set_pairs.empty
    assert len(api.score(run).set_pairs) == 1


def swapped(values: Values, cases: int) -> swaps.Tested:
    """The swap test of a metric of sets: its rows are the edits of one editor and then those of the other, cases in one order."""
    kept = signs(cases, most=1000) > 0
    first, second = np.split(values(np.concatenate([np.hstack([kept, ~kept]), np.hstack([~kept, kept])])), 2)
    return outcome(first - second, 2 * kept.mean(axis=1) - 1)


def test_swaps_by_hand() -> None:
    """Differences by case 3, 2, 1: of the 8 swaps, sums 6 (twice, with its mirror image) reach 6. p = 2/8."""
    rows = np.array([3.0, 2.0, 1.0, 0.0, 0.0, 0.0])
    found = swapped(lambda masks: (masks @ rows) / masks.sum(axis=1), 3)
    assert (found.difference, found.p, found.least) == (2, 0.25, 0.25)


def test_equal_editors_have_p_one_whatever_the_rounding() -> None:
    rows = np.tile(np.random.default_rng(0).standard_normal(9) / 3, 2)
    assert swapped(lambda masks: (masks @ rows) / masks.sum(axis=1), 9).p == 1


def test_p_values_of_a_set_metric_are_uniform_where_the_editors_are_exchangeable() -> None:
    kid, found = KID(embedded.network("features")), []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        cases = rng.standard_normal((10, 12))  # what both editors share of a case
        pool = FeatureSet(np.concatenate([cases, cases]) + 0.5 * rng.standard_normal((20, 12)), [None] * 20)
        found.append(swapped(partial(kid.values, pool, FeatureSet(rng.random((20, 12)), [None] * 20)), 10).p)
    # Kolmogorov's bound at 1 % for 120 draws is 1.63 / sqrt(120) = 0.149; p values come in steps of 1/512.
    assert np.abs(np.sort(found) - (np.arange(120) + 0.5) / 120).max() < 0.16


@pytest.mark.parametrize("kind", [FrechetDistance, KID])
def test_a_real_difference_of_sets_is_found(kind: type[FrechetDistance] | type[KID]) -> None:
    rng, distance = np.random.default_rng(1), kind(embedded.network("features"))
    near, far = rng.standard_normal((30, 12)), rng.standard_normal((30, 12)) + 0.7
    pool = FeatureSet(np.concatenate([far, near]), [None] * 60)
    found = swapped(partial(distance.values, pool, FeatureSet(rng.standard_normal((50, 12)), [None] * 50)), 30)
    assert found.difference > 0
    assert found.p == found.least, "no swap is as far apart as the editors are"
