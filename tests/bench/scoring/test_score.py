from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_specs import ALL_METRICS, PAIR_METRICS, SpecMaker, editor, metric
from fixtures_manifest import row, write_folder

from bench import api, registry
from bench.commands.report import report_data
from bench.errors import EtabenchError, RegistryError, RunError, ScoreError, SpecError
from bench.scoring import Scores, open_metrics, read_scores
from bench.scoring.tables import PAIR_COLUMNS, SET_COLUMNS, check_unmixed, frame, read_table, write_table
from bench.spec import MetricSpec, ModelRef, Spec
from bench.store import Run
from bench.toybox.embedded import TOYBOX
from bench.workers.crew import Options
from metrics.base import MetricError

INLINE = Options(executor="inline")


def scored(spec: Spec, folder: Path) -> tuple[Run, Scores]:
    run = api.run(spec, folder, options=INLINE)
    return run, api.score(run)


def counter(name: str, attribute: str) -> Any:
    """A class attribute of a fake metric, as the registry sees its file."""
    return getattr(registry.load_metric(metric(name)["name"]), attribute)


def test_there_is_one_row_per_edit_and_metric_with_what_identifies_it(make_spec: SpecMaker, tmp_path: Path) -> None:
    _, scores = scored(make_spec(editor("Fade"), editor("Unchanged"), seeds=[0, 1]), tmp_path / "run")
    assert tuple(scores.pairs.columns) == PAIR_COLUMNS
    assert len(scores.pairs) == 2 * (3 * 2 * 3 + 3), "two metrics of three samples, two seeds, three values, and one anchor"
    assert not scores.pairs.duplicated(["sample_id", "editor", "value", "seed", "metric"]).any()
    assert set(scores.pairs["fingerprint"]) == set(scores.cards)
    shared = scores.pairs.groupby("sample_id")["source_id"].first()
    assert shared["sample-1"] == shared["sample-2"] != shared["sample-0"]
    copy = scores.pairs[(scores.pairs["editor"] == "Unchanged") & (scores.pairs["metric"] == "lpips")]
    assert (copy["score"] == 0).all()
    assert copy["knob"].isna().all()


def test_a_run_whose_editors_need_no_model_names_none(make_spec: SpecMaker, tmp_path: Path) -> None:
    run, scores = scored(make_spec(model=None, anchors=["copy"]), tmp_path / "run")
    assert run.spec.model is None
    assert run.plan.model == ""
    assert set(scores.pairs["editor"]) == {"Fade", "copy"}
    assert report_data(run).meta["model"] == "none"


def test_a_run_whose_editors_need_a_model_says_which_and_what_to_name(make_spec: SpecMaker, tmp_path: Path) -> None:
    spec = make_spec(editor("Fade"), {"name": "sdedit"}, model=None, anchors=["copy", "vae_round_trip"])
    with pytest.raises(SpecError, match=r"model: missing, and sdedit, vae_round_trip cannot do without; name toybox, "):
        api.run(spec, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("model", ["toybox", None])
def test_a_metric_takes_what_it_has_a_parameter_for(make_spec: SpecMaker, model: str | None) -> None:
    """A device only where it wants one, and on ToyBox, which a run without a model is on too, the embedded networks."""
    spec = make_spec(manifest={"name": "toybox-mini"}, model=model, metrics=[metric("Deviceless"), {"name": "lpips"}])
    opened = open_metrics(spec, "cpu")
    assert list(opened) == ["deviceless", "lpips"]
    elsewhere = spec.model_copy(update={"model": ModelRef(path="elsewhere"), "metrics": [MetricSpec(name="lpips")]})
    with pytest.raises(MetricError, match="alex"):
        open_metrics(elsewhere, "cpu")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"metrics": [{"name": "lpips", "params": {"net": "alexx"}}]}, "alexx"),
        ({"metrics": [{"name": "clip"}]}, "without weights it would be random"),
        (
            {"metrics": [metric("ColourGap")], "reference": {"kind": "toybox"}},
            "no class 'zebra' there; the manifest is not of ToyBox",
        ),
        ({"metrics": [metric("ColourGap")], "reference": {"kind": "manifest", "manifest": "./nowhere"}}, "nowhere"),
        (
            {"metrics": [{"name": "psnr"}], "reference": {"kind": "manifest", "manifest": "./nowhere"}},
            "nowhere: no such manifest",
        ),
        ({"metrics": [{"name": "psnr", "params": {"region": "nowhere"}}]}, "expected whole, background or edited, got 'nowhere'"),
    ],
)
def test_what_cannot_be_scored_is_found_before_any_edit(
    make_spec: SpecMaker, tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    with pytest.raises((MetricError, EtabenchError), match=message):
        api.run(make_spec(**more), tmp_path / "run", options=INLINE)
    assert not (tmp_path / "run").exists()
    run = api.run(make_spec(**more), tmp_path / "run", options=INLINE, scorable=False)
    assert len(list(run.units.iterdir())) == 3, "edits alone can be had"


def test_a_metric_by_class_wants_the_class_of_every_sample(make_spec: SpecMaker, manifest_folder: Path, tmp_path: Path) -> None:
    write_folder(manifest_folder, [row(0), row(1, target_class=None)])
    with pytest.raises(ScoreError, match=r"metric csfid needs a target_class of every sample; 1 have none \(first: sample-1\)"):
        api.run(make_spec(metrics=[metric("ClassGap")]), tmp_path / "run", options=INLINE)


def test_tables_on_disk_are_the_tables_returned(make_spec: SpecMaker, tmp_path: Path) -> None:
    run, scores = scored(make_spec(metrics=ALL_METRICS), tmp_path / "run")
    again = read_scores(run)
    pd.testing.assert_frame_equal(again.pairs, scores.pairs)
    pd.testing.assert_frame_equal(again.sets, scores.sets)
    assert again.cards == scores.cards


def test_only_what_is_new_is_scored(make_spec: SpecMaker, tmp_path: Path) -> None:
    run, first = scored(make_spec(limit=2, metrics=ALL_METRICS), tmp_path / "run")
    pairs, pictures = counter("Distance", "scored"), counter("ColourGap", "extracted")
    assert api.score(run).pairs.equals(first.pairs)
    assert counter("Distance", "scored") == pairs
    assert counter("ColourGap", "extracted") == pictures
    _, more = scored(make_spec(metrics=ALL_METRICS), run.path)
    assert counter("Distance", "scored") == pairs + 3, "three edits of the third sample"
    assert len(more.pairs) == len(first.pairs) * 3 // 2
    scored(make_spec(metrics=[metric("Distance", version="2")]), run.path)
    assert counter("Distance", "scored") == pairs + 3 + 9, "another fingerprint scores all edits anew"


def test_metrics_with_one_extractor_share_features(make_spec: SpecMaker, tmp_path: Path) -> None:
    before = counter("ColourGap", "extracted")
    run, _ = scored(make_spec(metrics=ALL_METRICS), tmp_path / "run")
    made = counter("ColourGap", "extracted") - before
    # Nine edits, but two samples share their picture, which the knob value 0 leaves as it is; three truths.
    assert made == 8 + 3
    assert len(list((run.scores / "features").iterdir())) == 1


def test_scores_of_metrics_that_left_the_spec_leave_the_table(make_spec: SpecMaker, tmp_path: Path) -> None:
    run, _ = scored(make_spec(), tmp_path / "run")
    _, fewer = scored(make_spec(metrics=PAIR_METRICS[:1]), run.path)
    assert set(fewer.pairs["metric"]) == {"clip"}
    assert set(fewer.cards) == set(fewer.pairs["fingerprint"])


def test_failed_units_have_no_rows(make_spec: SpecMaker, tmp_path: Path) -> None:
    _, scores = scored(make_spec(editor("FailsOnce")), tmp_path / "run")
    assert set(scores.pairs["sample_id"]) == {"sample-1", "sample-2"}


def test_undefined_scores_stay_undefined(make_spec: SpecMaker, tmp_path: Path) -> None:
    run, scores = scored(make_spec(metrics=[metric("Distance", undefined_on="number 1")]), tmp_path / "run")
    assert scores.pairs[scores.pairs["score"].isna()]["sample_id"].unique().tolist() == ["sample-1"]
    assert api.score(run).pairs["score"].isna().sum() == 3, "and are not tried again as if they were missing"


def test_sets_hold_one_edit_per_sample_of_the_smallest_seed(make_spec: SpecMaker, tmp_path: Path) -> None:
    spec = make_spec(editor("Fade"), editor("FailsOnce"), seeds=[1, 0], metrics=ALL_METRICS)
    _, scores = scored(spec, tmp_path / "run")
    assert tuple(scores.sets.columns) == SET_COLUMNS
    rows = scores.sets.set_index(["editor", "metric", "value"]).sort_index()
    assert rows.loc["Fade", "n"].eq(3).all()
    assert rows.loc["FailsOnce", "n"].eq(2).all()
    assert rows.loc[("Fade", "csfid"), "per_class"].eq(3.0).all()
    assert rows.loc[("Fade", "fid"), "per_class"].isna().all()
    alone = scored(make_spec(editor("Fade"), seeds=[0], metrics=ALL_METRICS), tmp_path / "alone")[1]
    assert alone.sets["score"].tolist() == rows.loc["Fade", "score"].tolist()


def test_a_set_below_the_metrics_minimum_is_undefined_with_its_n(make_spec: SpecMaker, tmp_path: Path) -> None:
    spec = make_spec(editor("Fade"), editor("FailsOnce"), metrics=[metric("ColourGap", min_samples=3)])
    scores = scored(spec, tmp_path / "run")[1].sets.groupby("editor")[["score", "n", "note"]].first()
    assert np.isfinite(scores.loc["Fade", "score"])
    assert np.isnan(scores.loc["FailsOnce", "score"])
    assert scores.loc["FailsOnce", "n"] == 2
    assert "n = 2 is fewer than the 3 it needs" in scores.loc["FailsOnce", "note"]


def test_another_reference_is_another_fingerprint(make_spec: SpecMaker, tmp_path: Path) -> None:
    run, truths = scored(make_spec(metrics=ALL_METRICS[2:3]), tmp_path / "run")
    _, sources = scored(make_spec(metrics=ALL_METRICS[2:3], reference={"kind": "sources"}), run.path)
    assert set(truths.sets["fingerprint"]).isdisjoint(sources.sets["fingerprint"])
    card = sources.cards[sources.sets["fingerprint"].iloc[0]]
    assert (card["reference"]["kind"], card["reference"]["n"]) == ("sources", 3)
    with pytest.raises(ScoreError, match=r"metric fid has 2 fingerprints in one table"):
        check_unmixed(pd.concat([truths.sets, sources.sets]))


def test_a_reference_that_is_lacking_is_said_so(make_spec: SpecMaker, manifest_folder: Path, tmp_path: Path) -> None:
    rows = (manifest_folder / "metadata.jsonl").read_text().replace('"truth_file_name": "1-truth.png", ', "")
    (manifest_folder / "metadata.jsonl").write_text(rows)
    with pytest.raises(ScoreError, match="add `reference:` to the spec"):
        scored(make_spec(metrics=ALL_METRICS[2:]), tmp_path / "run")
    with pytest.raises(ScoreError, match=r"reference truths: sample sample-1 has no truth; use another kind"):
        scored(make_spec(metrics=ALL_METRICS[2:], reference={"kind": "truths"}), tmp_path / "run")


def test_a_metric_that_is_there_twice_gets_its_parameters_into_its_name(make_spec: SpecMaker, tmp_path: Path) -> None:
    spec = make_spec(metrics=[metric("Distance"), metric("Distance", version="2")])
    assert scored(spec, tmp_path / "run")[1].pairs["metric"].unique().tolist() == ["lpips", "lpips[version=2]"]


def test_wrong_metrics_and_parameters_are_one_line_before_any_edit(make_spec: SpecMaker, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="unexpected keyword argument 'colour'; see `etabench list metrics`"):
        api.run(make_spec(metrics=[metric("Distance", colour="red")]), tmp_path / "run", options=INLINE)
    with pytest.raises(RegistryError, match="did you mean 'lpips'"):
        api.run(make_spec(metrics=[{"name": "lpipz"}]), tmp_path / "run", options=INLINE)


def test_a_metric_takes_the_embedded_networks_it_names(make_spec: SpecMaker) -> None:
    """ToyBox fills what a metric leaves open; another model fills nothing, and what the spec says stands."""
    toybox = make_spec(model={"name": "toybox"}, metrics=[{"name": "clip"}, {"name": "lpips", "params": {"resolution": 32}}])
    cards = {name: opened.card for name, opened in open_metrics(toybox, "cpu").items()}
    assert cards["clip"].network.startswith("open_clip local")
    assert cards["lpips"].resolution == "32x32"
    assert "resnet" in cards["lpips"].network.lower()
    given = make_spec(model={"name": "toybox"}, metrics=[metric("Looks", eye="mine"), metric("Looks")])
    assert [opened.eye for opened in open_metrics(given, "cpu").values()] == ["mine", f"folder:{TOYBOX / 'features'}"]
    with pytest.raises(ScoreError, match="'eye'"):
        open_metrics(make_spec(metrics=[metric("Looks")]), "cpu")


def test_a_unit_that_lacks_a_knob_value_shows_in_n(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = api.run(make_spec(metrics=ALL_METRICS), tmp_path / "run", options=INLINE)
    record_file = sorted(run.units.glob("*/record.json"))[0]
    content = json.loads(record_file.read_text())
    sample, lost = content["identity"]["sample_id"], content["edits"].pop(0)["value"]
    content["absent"] = [lost]
    record_file.write_text(json.dumps(content))
    scores = api.score(run)
    assert len(scores.pairs) == 2 * 8
    assert sample not in set(scores.pairs.loc[scores.pairs["value"] == lost, "sample_id"])
    sets = scores.sets[scores.sets["metric"] == "fid"].set_index("value")["n"]
    assert sets.to_dict() == {value: 2 if value == lost else 3 for value in (0.0, 0.5, 1.0)}


def test_a_lost_edit_is_an_error(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = api.run(make_spec(), tmp_path / "run", options=INLINE)
    next(run.units.glob("*/000.png")).unlink()
    with pytest.raises(RunError, match=r"000\.png is gone or differs"):
        api.score(run)


@pytest.mark.parametrize("name", ["pairs.parquet", "sets.parquet", "set_pairs.parquet", "cards.json"])
def test_a_damaged_table_is_named_and_made_anew(make_spec: SpecMaker, tmp_path: Path, name: str) -> None:
    run, before = scored(make_spec(metrics=ALL_METRICS), tmp_path / "run")
    whole = (run.scores / name).read_bytes()
    (run.scores / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ScoreError, match=rf"{name} .*; `etabench score .*run` makes it anew"):
        read_scores(run)
    api.score(run)
    assert read_scores(run).pairs.equals(before.pairs)
    assert (run.scores / name).read_bytes() == whole


@pytest.mark.parametrize("changes", [{"metric": 3}, {"fingerprint": None}, {"sample_id": b"a"}, {"unit": ["a"]}, {"knob": 1.5}])
def test_a_table_whose_texts_are_none_is_damaged(make_spec: SpecMaker, tmp_path: Path, changes: dict[str, object]) -> None:
    run, before = scored(make_spec(), tmp_path / "run")
    ((name, cell),) = changes.items()
    before.pairs.assign(**{name: [cell] * len(before.pairs)}).to_parquet(run.scores / "pairs.parquet")
    with pytest.raises(ScoreError, match=r"pairs\.parquet is damaged .*; `etabench score"):
        read_scores(run)
    assert len(api.score(run).pairs) == len(before.pairs), "it is made anew"


def test_a_score_without_its_card_has_no_direction_and_is_not_reported(make_spec: SpecMaker, tmp_path: Path) -> None:
    run, _ = scored(make_spec(), tmp_path / "run")
    (run.scores / "cards.json").write_text("{}")
    with pytest.raises(ScoreError, match=r"cards\.json lacks the card of \w+; `etabench score .*` makes it anew"):
        api.report(run)


def test_an_empty_table_keeps_its_columns_and_kinds(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run")
    write_table(run, "pairs", frame([], PAIR_COLUMNS))
    pairs = read_table(run, "pairs")
    assert tuple(pairs.columns) == PAIR_COLUMNS
    assert pairs["score"].dtype == np.float64


def test_texts_over_the_context_of_a_metric_are_counted_and_reported(tmp_path: Path) -> None:
    """ToyBox's judge reads few tokens; one of two samples has a text that is longer."""
    rows = [row(0), row(1, target_text="a dog in the snow " * 20)]
    folder = write_folder(tmp_path / "manifest", rows)
    spec = Spec.model_validate(
        {
            "name": "long",
            "manifest": {"path": str(folder)},
            "model": "toybox",
            "device": "cpu",
            "editors": [editor("Fade")],
            "metrics": ["clip"],
        }
    )
    run, scores = scored(spec, tmp_path / "run")
    (card,) = scores.cards.values()
    assert (card["texts"], card["texts_cut"]) == (2, 1)
    assert "clip reads 1 of 2 texts without their end: they exceed its context." in report_data(run).warnings
