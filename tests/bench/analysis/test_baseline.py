from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from fake_specs import ALL_METRICS, SpecMaker, editor, metric

from bench import api
from bench.analysis.baseline import compare, write_baseline
from bench.errors import BaselineError
from bench.scoring import read_scores
from bench.scoring.tables import write_table
from bench.store import Run
from bench.workers.crew import Options

INLINE = Options(executor="inline")


@pytest.fixture
def run(make_spec: SpecMaker, tmp_path: Path) -> Run:
    run = api.run(make_spec(editor("Fade")), tmp_path / "run", options=INLINE)
    api.score(run)
    return run


@pytest.fixture
def baseline(run: Run, tmp_path: Path) -> Path:
    path = tmp_path / "baseline.json"
    write_baseline(run, path)
    return path


def change(run: Run, metric_name: str, by: float, *, value: float = 0.5, samples: int = 3) -> None:
    """Add `by` to the scores of a metric at one knob value on the first `samples` samples."""
    pairs = read_scores(run).pairs
    rows = pairs[(pairs["metric"] == metric_name) & (pairs["value"] == value)].index[:samples]
    pairs.loc[rows, "score"] += by
    write_table(run, "pairs", pairs)


def restore(run: Run, metric_name: str, score: float) -> None:
    """Give the first sample's score of a metric at 0.5 this value."""
    pairs = read_scores(run).pairs
    row = pairs[(pairs["metric"] == metric_name) & (pairs["value"] == 0.5)].index[0]
    pairs.loc[row, "score"] = score
    write_table(run, "pairs", pairs)


def test_a_run_does_not_differ_from_itself(run: Run, baseline: Path) -> None:
    verdict = compare(run, baseline)
    assert verdict.compared == 18
    assert verdict.regressions == verdict.improvements == []
    assert all(each.loss == 0 for each in verdict.differences)


@pytest.mark.parametrize(("name", "bad"), [("clip", -1.0), ("lpips", 1.0)])
def test_worse_beyond_tolerance_is_a_regression_and_better_is_not(run: Run, baseline: Path, name: str, bad: float) -> None:
    tolerance = json.loads(baseline.read_text())["tolerances"][name]["mean"]
    change(run, name, bad * tolerance * 1.01)
    (worst, *rest) = compare(run, baseline).regressions
    assert (worst.editor, worst.value, worst.metric, worst.sample) == ("Fade", 0.5, name, "")
    assert worst.loss == pytest.approx(1.01 * tolerance, rel=1e-6)  # sums of stored doubles
    assert rest == [], "single samples stay within their own, wider tolerance"
    change(run, name, -2.02 * bad * tolerance)
    verdict = compare(run, baseline)
    assert verdict.regressions == []
    assert [(each.metric, each.value, each.sample) for each in verdict.improvements] == [(name, 0.5, "")]


def test_within_tolerance_is_no_regression(run: Run, baseline: Path) -> None:
    change(run, "clip", -0.99 * json.loads(baseline.read_text())["tolerances"]["clip"]["mean"])
    assert compare(run, baseline).regressions == []


def test_one_ruined_sample_is_a_regression_by_itself(run: Run, baseline: Path) -> None:
    content = json.loads(baseline.read_text())
    content["tolerances"]["lpips"] = {"mean": 10.0, "worst": 0.1}
    baseline.write_text(json.dumps(content))
    change(run, "lpips", 0.2, samples=1)
    (found,) = compare(run, baseline).regressions
    assert (found.sample, found.tolerance) == ("sample-0", 0.1)


def test_tolerances_are_in_the_file_and_scale_with_the_spread(baseline: Path) -> None:
    tolerances = json.loads(baseline.read_text())["tolerances"]
    assert set(tolerances) == {"clip", "lpips"}
    for each in tolerances.values():
        assert each["worst"] == pytest.approx(10 * each["mean"], rel=1e-3)  # shares 1 and 0.1, rounded to nine decimals


def test_an_update_keeps_edited_tolerances_of_the_same_metric(run: Run, baseline: Path, make_spec: SpecMaker) -> None:
    content = json.loads(baseline.read_text())
    content["tolerances"]["clip"] = {"mean": 0.5, "worst": 5.0}
    content["tolerances"]["lpips"] = {"mean": 0.5, "worst": 5.0}
    baseline.write_text(json.dumps(content))
    write_baseline(run, baseline)
    assert json.loads(baseline.read_text())["tolerances"]["clip"] == {"mean": 0.5, "worst": 5.0}
    other = api.run(make_spec(metrics=[metric("Distance", version="2")]), run.path, options=INLINE)
    api.score(other)
    write_baseline(other, baseline)
    assert json.loads(baseline.read_text())["tolerances"]["lpips"] != {"mean": 0.5, "worst": 5.0}, "another fingerprint"


def test_a_baseline_is_the_same_bytes_twice(run: Run, baseline: Path, tmp_path: Path) -> None:
    write_baseline(run, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == baseline.read_bytes()


def test_another_manifest_means_nothing(baseline: Path, make_spec: SpecMaker, manifest_folder: Path, tmp_path: Path) -> None:
    rows = (manifest_folder / "metadata.jsonl").read_text()
    (manifest_folder / "metadata.jsonl").write_text(rows.replace("zebra", "giraffe"))
    other = api.run(make_spec(), tmp_path / "other", options=INLINE)
    api.score(other)
    with pytest.raises(BaselineError, match=r"is of manifest .*: scores cannot be compared"):
        compare(other, baseline)


def test_another_fingerprint_means_nothing(run: Run, baseline: Path, make_spec: SpecMaker) -> None:
    metrics = [metric("Alignment"), metric("Distance", version="2")]
    api.score(api.run(make_spec(metrics=metrics), run.path, options=INLINE))
    with pytest.raises(BaselineError, match=r"metric lpips has fingerprint .* they are not the same number"):
        compare(run, baseline)


def test_another_direction_means_nothing(run: Run, baseline: Path) -> None:
    content = json.loads(baseline.read_text())
    content["higher_is_better"]["clip"] = False
    baseline.write_text(json.dumps(content))
    with pytest.raises(BaselineError, match="higher_is_better of clip is False, its card says True; mend the file"):
        compare(run, baseline)


def test_missing_units_mean_nothing(run: Run, baseline: Path, make_spec: SpecMaker) -> None:
    api.score(api.run(make_spec(limit=2), run.path, options=INLINE))
    with pytest.raises(BaselineError, match=r"lacks 6 of 18 scores .*first: clip of Fade at 0, sample sample-2, seed 0"):
        compare(run, baseline)


def test_a_score_that_became_undefined_or_defined_is_a_regression_whatever_the_tolerance(run: Run, tmp_path: Path) -> None:
    defined, undefined = tmp_path / "defined.json", tmp_path / "undefined.json"
    write_baseline(run, defined)
    change(run, "clip", math.nan, samples=1)
    write_baseline(run, undefined)
    (lost,) = compare(run, defined).regressions
    assert (lost.sample, lost.metric, lost.loss) == ("sample-0", "clip", math.inf)
    assert math.isnan(lost.after)
    same = compare(run, undefined)
    assert (same.regressions, same.compared, same.undefined) == ([], 18, 1)
    restore(run, "clip", 12.0)
    (found,) = compare(run, undefined).regressions
    assert (found.sample, found.loss) == ("sample-0", math.inf)
    assert math.isnan(found.before)


def test_infinite_scores_are_written_read_and_compared(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    change(run, "clip", math.inf, samples=1)
    write_baseline(run, path)
    assert sum(row[-1] == "inf" for row in json.loads(path.read_text())["scores"]) == 1
    assert compare(run, path).regressions == []
    restore(run, "clip", 50.0)
    (worse,) = compare(run, path).regressions
    assert (worse.sample, worse.before, worse.after, worse.loss) == ("sample-0", math.inf, 50.0, math.inf)
    write_baseline(run, path)
    restore(run, "clip", math.inf)
    verdict = compare(run, path)
    assert verdict.regressions == []
    assert verdict.improvements[0].loss == -math.inf


@pytest.mark.parametrize("by", [5.0, -5.0])
def test_without_a_direction_every_move_is_a_regression(run: Run, baseline: Path, by: float) -> None:
    content = json.loads(baseline.read_text())
    content["higher_is_better"]["clip"] = None
    baseline.write_text(json.dumps(content))
    change(run, "clip", by)
    assert {each.metric for each in compare(run, baseline).regressions} == {"clip"}


def test_set_metrics_are_part_of_the_comparison(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = api.run(make_spec(editor("Fade"), metrics=ALL_METRICS), tmp_path / "run", options=INLINE)
    api.score(run)
    path = tmp_path / "b.json"
    assert write_baseline(run, path) == 18 + 6
    assert compare(run, path).compared == 18 + 6
    scores = read_scores(run)
    sets = scores.sets
    write_table(run, "sets", sets.assign(score=sets["score"] * 10))
    found = compare(run, path).regressions
    assert {each.metric for each in found} == {"fid", "csfid"}
    assert all(each.sample == "" and each.after == pytest.approx(10 * each.before) for each in found)
    write_table(run, "sets", sets[sets["metric"] != "fid"])
    with pytest.raises(BaselineError, match=r"lacks 3 of 6 scores .*first: fid of Fade at 0\); run and score it fully"):
        compare(run, path)
    write_table(run, "sets", sets.assign(fingerprint="other"))
    run.write_json("scores/cards.json", scores.cards | {"other": {"name": "fid", "higher_is_better": False}})
    with pytest.raises(BaselineError, match=r"metric (fid|csfid) has fingerprint .*: they are not the same number"):
        compare(run, path)


def test_set_metrics_that_a_baseline_does_not_have_are_named(make_spec: SpecMaker, run: Run, baseline: Path) -> None:
    assert compare(run, baseline).unchecked == ()
    api.score(api.run(make_spec(editor("Fade"), metrics=ALL_METRICS), run.path, options=INLINE))
    assert compare(run, baseline).unchecked == ("csfid", "fid")


def test_new_editors_are_counted_not_judged(run: Run, baseline: Path, make_spec: SpecMaker) -> None:
    more = api.run(make_spec(editor("Fade"), editor("Unchanged")), run.path, options=INLINE)
    api.score(more)
    verdict = compare(more, baseline)
    assert verdict.extra == 6
    assert {each.editor for each in verdict.differences} == {"Fade"}


def test_an_unfinished_run_gives_no_baseline(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = api.run(make_spec(editor("FailsOnce")), tmp_path / "run", options=INLINE)
    api.score(run)
    with pytest.raises(BaselineError, match="1 of 3 units are not done"):
        write_baseline(run, tmp_path / "b.json")
    assert not (tmp_path / "b.json").exists()


def refused(run: Run, path: Path, words: str) -> None:
    """The baseline is refused in one line with these words, by a comparison and by an update."""
    for use in (compare, write_baseline):
        with pytest.raises(BaselineError, match=words) as caught:
            use(run, path)
        assert "\n" not in str(caught.value)


def test_what_is_no_baseline_is_one_line(run: Run, baseline: Path) -> None:
    for text in ("", "{", "[]", "null", '""', '{"schema": 1}', "[" * 100_000, '{"schema": NaN}', "\xff\xfe"):
        baseline.write_text(text, encoding="latin-1")
        refused(run, baseline, r"not a baseline: .*; mend it, or delete it and write it anew with --update")


def test_every_key_of_a_baseline_has_its_shape(run: Run, baseline: Path) -> None:
    whole = json.loads(baseline.read_text())
    for key, value, words in (
        ("schema", 2, r"schema: is 2, this version reads 1"),
        ("manifest_hash", None, r"manifest_hash: expected a string, got nothing"),
        ("model", [], r"model: expected a string"),
        ("fingerprints", {"clip": 1}, r"fingerprints\.clip: expected a string"),
        (
            "higher_is_better",
            whole["higher_is_better"] | {"clip": "no"},
            r"higher_is_better\.clip: expected true or false, got 'no'",
        ),
        ("tolerances", [], r"tolerances: expected a mapping"),
        ("scores", [], r"scores: empty; give at least one"),
        ("sets", {}, r"sets\.fingerprints: missing"),
        ("score", 0, r"score: unknown key; did you mean 'scores'\?"),
    ):
        baseline.write_text(json.dumps(whole | {key: value}))
        refused(run, baseline, words)


def test_every_row_of_a_baseline_has_its_cells(run: Run, baseline: Path) -> None:
    whole = json.loads(baseline.read_text())
    cells = [(0, 1), (1, None), (2, "0.5"), (2, True), (3, 0.5), (3, "0"), (4, 7), (5, "nan"), (5, True), (5, [])]
    good = whole["scores"][3]
    rows = [([*good[:place], cell, *good[place + 1 :]], rf"scores\[3\]\[{place}\]: ") for place, cell in cells]
    rows += [(row, r"scores\[3\]") for row in ([], {}, None, "row", good[:5], [*good, 1])]
    for row, words in rows:
        baseline.write_text(json.dumps(whole | {"scores": [*whole["scores"][:3], row, *whole["scores"][4:]]}))
        refused(run, baseline, words)
    baseline.write_text(json.dumps(whole | {"scores": [*whole["scores"], [*good[:5], 1e9]]}))
    refused(run, baseline, r"scores: \['sample-\d', 'Fade', .*\] is there 2 times")


def test_the_parts_of_a_baseline_name_the_same_metrics(run: Run, baseline: Path) -> None:
    whole = json.loads(baseline.read_text())
    for part in ("fingerprints", "higher_is_better", "tolerances"):
        baseline.write_text(json.dumps(whole | {part: {"lpips": whole[part]["lpips"]}}))
        refused(run, baseline, r"and fingerprints do not name the same metrics: clip")
    baseline.write_text(json.dumps(whole | {"scores": [row for row in whole["scores"] if row[4] != "clip"]}))
    refused(run, baseline, r"scores and fingerprints do not name the same metrics: clip")


def test_tolerances_must_be_positive_numbers(run: Run, baseline: Path) -> None:
    whole = json.loads(baseline.read_text())
    for bad in (0, -1.0, "small", None, True, math.inf):
        tolerances = whole["tolerances"] | {"clip": {"mean": bad, "worst": 1.0}}
        baseline.write_text(json.dumps(whole | {"tolerances": tolerances}))
        refused(run, baseline, r"not a baseline: .*(tolerances\.clip\.mean: |Infinity is no JSON)")


def test_a_score_that_no_number_holds_is_refused(run: Run, baseline: Path) -> None:
    whole = json.loads(baseline.read_text())
    good = whole["scores"][0]
    baseline.write_text(json.dumps(whole | {"scores": [[*good[:5], 10**400], *whole["scores"][1:]]}))
    refused(run, baseline, r"scores\[0\]\[5\]: expected a number")


def test_an_absent_baseline_says_how_to_get_one(run: Run, tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match=r"no baseline at .*--update` writes one"):
        compare(run, tmp_path / "none.json")


def test_differences_come_worst_first(run: Run, baseline: Path) -> None:
    change(run, "lpips", 0.9, samples=1)
    losses = pd.Series([each.loss / each.tolerance for each in compare(run, baseline).differences])
    assert losses.is_monotonic_decreasing
