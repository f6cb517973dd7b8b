"""From runs to a baseline, and a run held against it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from fake_specs import ALL_METRICS, SpecMaker, editor, metric

from bench import api, baselines
from bench.analysis.baseline import measure, write_baseline
from bench.analysis.baseline_file import read_baseline
from bench.analysis.check import Verdict, check
from bench.errors import BaselineError
from bench.scoring import read_scores
from bench.scoring.tables import write_table
from bench.store import Run
from bench.workers.crew import Options

INLINE = Options(executor="inline")
FADE = editor("Fade")
"""Its noise is the seed's."""


def made(make_spec: SpecMaker, folder: Path, *editors: dict[str, object], **more: object) -> Run:
    run = api.run(make_spec(*(editors or (editor("Fade"),)), **more), folder, options=INLINE)
    api.score(run)
    return run


@pytest.fixture
def run(make_spec: SpecMaker, tmp_path: Path) -> Run:
    return made(make_spec, tmp_path / "run")


@pytest.fixture
def baseline(run: Run, tmp_path: Path) -> Path:
    path = tmp_path / "baseline.json"
    write_baseline([run], {}, path)
    return path


def held(run: Run, path: Path) -> Verdict:
    return check(run, read_baseline(path), str(path))


def change(run: Run, metric_name: str, by: float, *, value: float = 0.5, samples: int = 3) -> None:
    """Add `by` to the scores of a metric at one knob value on the first `samples` samples."""
    pairs = read_scores(run).pairs
    rows = pairs[(pairs["metric"] == metric_name) & (pairs["value"] == value)].index[:samples]
    pairs.loc[rows, "score"] += by
    write_table(run, "pairs", pairs)


def test_a_run_does_not_differ_from_itself(run: Run, baseline: Path) -> None:
    verdict = held(run, baseline)
    assert (len(verdict.outcomes), verdict.exit_code, verdict.notes, verdict.unchecked) == (6, 0, (), ())
    assert {each.word for each in verdict.outcomes} == {"unchanged"}
    assert verdict.how.startswith("seed 0 on cpu float32, as in the baseline")


@pytest.mark.parametrize(("name", "bad"), [("clip", -1.0), ("lpips", 1.0)])
def test_a_loss_in_the_tables_is_found(run: Run, baseline: Path, name: str, bad: float) -> None:
    change(run, name, 20 * bad, samples=1)
    (worst,) = held(run, baseline).of("regressed")
    assert (worst.editor, worst.value, worst.metric, worst.n) == ("Fade", 0.5, name, 3)
    assert worst.worst[0][0] == "sample-0"
    assert worst.loss == pytest.approx(20 / 3, rel=1e-4)  # the file keeps seven digits


def test_a_score_that_became_undefined_is_not_comparable(run: Run, baseline: Path) -> None:
    change(run, "clip", math.nan, samples=1)
    verdict = held(run, baseline)
    assert [(each.metric, each.value) for each in verdict.of("not comparable")] == [("clip", 0.5)]
    assert verdict.exit_code == 2


def test_set_metrics_take_part(make_spec: SpecMaker, tmp_path: Path) -> None:
    run, path = made(make_spec, tmp_path / "run", metrics=ALL_METRICS), tmp_path / "b.json"
    assert set(write_baseline([run], {}, path).sets) == {
        ("Fade", value, name) for value in (0, 0.5, 1) for name in ("fid", "csfid")
    }
    assert len(held(run, path).outcomes) == 6 + 6
    scores = read_scores(run)
    write_table(run, "sets", scores.sets.assign(score=scores.sets["score"] * 10))
    assert {each.metric for each in held(run, path).of("regressed")} == {"fid", "csfid"}
    write_table(run, "sets", scores.sets[scores.sets["metric"] != "fid"])
    assert {(each.metric, each.reason) for each in held(run, path).of("not comparable")} == {("fid", "1 of 1 scores are missing")}
    write_table(run, "sets", scores.sets.assign(fingerprint="other"))
    run.write_json("scores/cards.json", scores.cards | {"other": {"name": "fid", "higher_is_better": False}})
    with pytest.raises(BaselineError, match=r"metric (fid|csfid) has fingerprint .*: they are not the same number"):
        held(run, path)


def test_what_the_baseline_does_not_have_is_named(make_spec: SpecMaker, run: Run, baseline: Path) -> None:
    more = made(make_spec, run.path, editor("Fade"), editor("Unchanged"), metrics=ALL_METRICS)
    verdict = held(more, baseline)
    assert verdict.unchecked[:2] == ("csfid", "fid")
    assert "Unchanged at 0" in verdict.unchecked
    assert {each.editor for each in verdict.outcomes} == {"Fade"}


def test_another_manifest_means_nothing(baseline: Path, make_spec: SpecMaker, manifest_folder: Path, tmp_path: Path) -> None:
    rows = (manifest_folder / "metadata.jsonl").read_text()
    (manifest_folder / "metadata.jsonl").write_text(rows.replace("zebra", "giraffe"))
    with pytest.raises(BaselineError, match=r"is of manifest .*: scores cannot be compared"):
        held(made(make_spec, tmp_path / "other"), baseline)


def test_another_fingerprint_means_nothing(run: Run, baseline: Path, make_spec: SpecMaker) -> None:
    made(make_spec, run.path, metrics=[metric("Alignment"), metric("Distance", version="2")])
    with pytest.raises(BaselineError, match=r"metric lpips has fingerprint .* they are not the same number"):
        held(Run(run.path), baseline)


def test_another_direction_means_nothing(run: Run, baseline: Path) -> None:
    text = baseline.read_text()
    baseline.write_text(text.replace('"clip": true', '"clip": false'))
    with pytest.raises(BaselineError, match="higher_is_better of clip is False, its card says True; mend the file"):
        held(run, baseline)
    baseline.write_text(text.replace('"clip": true', '"clip": null'))
    change(run, "clip", 5.0)
    assert {each.metric for each in held(run, baseline).of("regressed")} == {"clip"}


def test_a_run_with_fewer_samples_or_failures_says_what_is_missing(run: Run, baseline: Path, make_spec: SpecMaker) -> None:
    verdict = held(made(make_spec, run.path, limit=2), baseline)
    assert (verdict.exit_code, len(verdict.of("not comparable"))) == (2, 6)
    assert {each.reason for each in verdict.outcomes} == {"1 of 3 scores are missing (first: sample sample-2)"}


def test_an_editor_that_fails_on_a_sample_is_not_comparable(
    make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "healed").touch()
    whole = made(make_spec, tmp_path / "whole", editor("FailsOnce"))
    write_baseline([whole], {}, tmp_path / "b.json")
    (tmp_path / "healed").unlink()
    verdict = held(made(make_spec, tmp_path / "failed", editor("FailsOnce")), tmp_path / "b.json")
    assert verdict.exit_code == 2
    assert verdict.outcomes[0].reason == "1 of 3 scores are missing (first: sample sample-0)"


def test_an_unfinished_run_gives_no_baseline(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = made(make_spec, tmp_path / "run", editor("FailsOnce"))
    with pytest.raises(BaselineError, match="1 of 3 units are not done"):
        write_baseline([run], {}, tmp_path / "b.json")
    assert not (tmp_path / "b.json").exists()


def test_draws_have_other_seeds_and_repeats_the_same(make_spec: SpecMaker, tmp_path: Path) -> None:
    runs = [made(make_spec, tmp_path / str(seeds), FADE, seeds=seeds) for seeds in ([0, 1], [2, 3])]
    again = made(make_spec, tmp_path / "again", FADE, seeds=[0, 1], batch=2)
    found = measure(runs, {"batches of 2": again})
    assert (found.draws, found.repeats, found.device) == (((0, 1), (2, 3)), ("batches of 2",), "cpu float32")
    cell = found.pairs["Fade", 0.5, "clip"]
    own = read_scores(runs[0]).pairs
    own = own[(own["metric"] == "clip") & (own["value"] == 0.5) & (own["sample_id"] == "sample-1")]["score"]
    assert (cell.shape, len(own)) == ((3, 3), 2)
    assert cell[0, 1] == pytest.approx(own.mean()), "a sample has the mean of its seeds"
    assert not (cell[0] == cell[1]).any()
    assert (cell[0] == cell[2]).all()
    with pytest.raises(BaselineError, match=r"has the seeds \[2, 3\], a repeat has those of the first: \[0, 1\]"):
        measure(runs[:1], {"other": runs[1]})
    with pytest.raises(BaselineError, match="two of the 2 runs have the same seeds"):
        measure([runs[0], again], {})


def test_runs_of_two_specs_are_no_baseline(make_spec: SpecMaker, run: Run, tmp_path: Path) -> None:
    for more, words in (({"limit": 2}, "samples"), ({"metrics": [metric("Alignment")]}, "metrics")):
        other = made(make_spec, tmp_path / words, seeds=[5], **more)
        with pytest.raises(BaselineError, match=f"differ in {words}: a baseline is of one spec on one class of devices"):
            measure([run, other], {})


def test_a_spec_is_run_with_draws_and_repeats_and_continued(spec_file: object, tmp_path: Path) -> None:
    path, folder = spec_file(FADE), tmp_path / "runs"  # type: ignore[operator]
    found = baselines.baseline(path, tmp_path / "b.json", folder, seeds=3, repeats=1, options=INLINE)
    assert (found.draws, found.repeats) == (((0,), (1,), (2,)), ("batches of 4",))
    assert sorted(each.name for each in folder.iterdir()) == ["draw-1", "draw-2", "draw-3", "repeat-1"]
    assert Run(folder / "repeat-1").spec.batch == 4
    before = {file: file.stat().st_mtime_ns for file in folder.glob("*/units/*/record.json")}
    baselines.baseline(path, tmp_path / "c.json", folder, seeds=3, repeats=1, options=INLINE)
    assert {file: file.stat().st_mtime_ns for file in folder.glob("*/units/*/record.json")} == before
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "c.json").read_bytes()
    assert held(Run(folder / "draw-2"), tmp_path / "b.json").exit_code == 0


def test_other_versions_and_models_are_noted(run: Run, baseline: Path) -> None:
    text = baseline.read_text()
    version = read_baseline(baseline).packages["numpy"]
    baseline.write_text(text.replace(f'"numpy": "{version}"', '"numpy": "1.0"').replace('"model": ""', '"model": "abcdef"'))
    notes = held(run, baseline).notes
    assert notes == ("model none, the baseline is of abcdef", f"versions since the baseline: numpy 1.0 → {version}")
