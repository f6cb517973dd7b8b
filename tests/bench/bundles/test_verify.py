"""What verifying finds out, and what it says that it could not."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_specs import SpecMaker, editor, metric
from plan_files import changed_plan

from bench import api, registry
from bench.bundles.layout import LISTING, FileEntry, Listing, stored
from bench.bundles.pack import pack
from bench.bundles.verify import Verification, verify
from bench.store import Run
from bench.workers.crew import Options

PIXELS = [{"name": "l1"}, {"name": "mse"}]
AXES = {"editability": "l1", "fidelity": "mse"}
Etabench = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(make_spec: SpecMaker, tmp_path: Path) -> Run:
    """Editors that are code, and metrics that are registered and need no network."""
    spec = make_spec(editor("Fade"), editor("FailsOnce"), metrics=PIXELS, axes=AXES)
    made = api.run(spec, tmp_path / "run", options=Options(executor="inline"))
    api.score(made)
    return made


def forged(run: Run, change: Callable[[str, bytes], bytes | None], pictures: bool = True) -> Path:
    """A bundle whose files were changed before they were listed, as who wants to deceive would."""
    honest, target = run.path.with_name("honest.zip"), run.path.with_name("forged.zip")
    pack(run, honest, pictures=pictures)
    with zipfile.ZipFile(honest) as old, zipfile.ZipFile(target, "w") as new:
        files = {}
        for name in (name for name in old.namelist() if name != LISTING):
            if (data := change(name, old.read(name))) is not None:
                files[name] = FileEntry(hashlib.sha256(data).hexdigest(), len(data))
                new.writestr(stored(name), data)
        new.writestr(stored(LISTING), json.dumps(asdict(Listing("me", pictures, files))))
    return target


def in_table(name: str, change: Callable[[pd.DataFrame], Any]) -> Callable[[str, bytes], bytes]:
    def changed(member: str, data: bytes) -> bytes:
        if member != f"scores/{name}.parquet":
            return data
        table = pd.read_parquet(io.BytesIO(data))
        found, buffer = change(table), io.BytesIO()
        (table if found is None else found).to_parquet(buffer, index=False)
        return buffer.getvalue()

    return changed


def in_json(name: str, change: Callable[[Any], None]) -> Callable[[str, bytes], bytes]:
    def changed(member: str, data: bytes) -> bytes:
        if member != name:
            return data
        content = json.loads(data)
        change(content)
        return json.dumps(content).encode()

    return changed


def in_plan(change: Callable[[Any], None]) -> Callable[[str, bytes], bytes]:
    return lambda member, data: changed_plan(data, change) if member == "plan.parquet" else data


def told(found: Verification) -> dict[str, str]:
    return {check.what: check.verdict for check in found.checks}


def contradicted(found: Verification) -> str:
    assert found.exit_code == 1
    return "; ".join(f"{check.what}: {check.said}" for check in found.checks if check.verdict == "contradicts")


def test_an_honest_bundle_is_verified_by_scoring_it_again(run: Run, tmp_path: Path) -> None:
    pack(run, tmp_path / "a.zip", pictures=True)
    found = verify(tmp_path / "a.zip", units=100)
    said = {check.what: check.said for check in found.checks}
    assert found.exit_code == 0
    assert said["scores by l1"] == said["scores by mse"] == "15 of 15 recomputed"
    assert said["records"] == "6 units, 1 of them failed; 0 have none"
    unchecked = {what for what, verdict in told(found).items() if verdict == "unchecked"}
    assert unchecked == {"samples", "who made the edits"}


def test_no_code_that_the_bundle_names_is_imported(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(run, tmp_path / "a.zip", pictures=True)
    monkeypatch.setattr(registry, "_from_file", lambda *_: pytest.fail("its code was imported"))
    assert verify(tmp_path / "a.zip").exit_code == 0


def test_a_metric_that_is_code_is_not_run_and_leaves_the_bundle_unverified(make_spec: SpecMaker, tmp_path: Path) -> None:
    made = api.run(make_spec(), tmp_path / "run", options=Options(executor="inline"))
    api.score(made)
    pack(made, tmp_path / "a.zip", pictures=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_from_file", lambda *_: pytest.fail("its code was imported"))
        found = verify(tmp_path / "a.zip")
    assert found.exit_code == 2
    assert told(found)["scores by clip"] == "unchecked"
    assert told(found)["scores"] == "agrees"


def test_without_pictures_all_but_the_scores_themselves_is_checked(run: Run, tmp_path: Path) -> None:
    pack(run, tmp_path / "a.zip")
    found = verify(tmp_path / "a.zip")
    assert found.exit_code == 2
    assert {told(found)[what] for what in ("pictures", "scores by l1")} == {"unchecked"}
    assert {told(found)[what] for what in ("files", "plan", "records", "cards", "scores")} == {"agrees"}


@pytest.fixture
def of_sets(make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run with two metrics of sets beside those of edits, which are registered for the time of the test."""
    sets = [metric("ColourGap"), metric("ClassGap")]
    known = registry.metrics()
    monkeypatch.setattr(registry, "metrics", lambda: {**known, **{item["name"]: item["name"] for item in sets}})
    spec = make_spec(editor("Fade"), editor("FailsOnce"), metrics=[*PIXELS, *sets], axes=AXES)
    made = api.run(spec, tmp_path / "run", options=Options(executor="inline"))
    api.score(made)
    return made


def test_sets_are_scored_again_whole(of_sets: Run) -> None:
    found = verify(forged(of_sets, lambda _, data: data))
    checks = {check.what: check for check in found.checks}
    assert (checks["scores by fid"].verdict, checks["scores by fid"].said) == ("agrees", "4 of 6 recomputed")
    assert checks["scores by csfid"].verdict == "agrees"
    assert (checks["comparisons of sets"].verdict, found.exit_code) == ("unchecked", 0)


def test_a_score_of_a_set_that_was_made_up_is_found_by_who_draws_it(of_sets: Run) -> None:
    def better(table: pd.DataFrame) -> None:
        table.loc[(table["metric"] == "fid") & (table["editor"] == "Fade"), "score"] *= 0.5

    bundle = forged(of_sets, in_table("sets", better))
    said = [check.said for seed in range(4) for check in verify(bundle, draw=seed).checks if check.verdict == "contradicts"]
    assert len(said) == 4, "of three sets of each editor four are drawn, so that one of Fade's always is"
    assert all(" of 4 recomputed differ: Fade at " in each for each in said)


def test_a_set_whose_reference_cannot_be_had_is_not_checked(of_sets: Run) -> None:
    def elsewhere(name: str, data: bytes) -> bytes:
        elsewhere = b"\nreference: {kind: manifest, manifest: /etc}\n"
        return data.replace(b"\nreference: null\n", elsewhere) if name == "spec.yaml" else data

    def without(name: str, data: bytes) -> bytes | None:
        return None if name.endswith("truth.png") else data

    checks = {check.what: check for check in verify(forged(of_sets, elsewhere)).checks}
    assert checks["scores by fid"].said == "its reference is a manifest of its own, and none is opened"
    checks = {check.what: check for check in verify(forged_again(of_sets, without)).checks}
    assert checks["scores by fid"].verdict == "unchecked"
    pack(of_sets, of_sets.path.with_name("bare.zip"))
    checks = {check.what: check for check in verify(of_sets.path.with_name("bare.zip")).checks}
    assert (checks["scores by fid"].verdict, checks["scores by fid"].said) == ("unchecked", "there are no pictures to score")


def test_what_a_card_knows_of_a_judge_or_of_maps_is_no_part_of_its_fingerprint(run: Run) -> None:
    def told_more(cards: dict[str, Any]) -> None:
        next(iter(cards.values())).update(doubt="its judge was not tried", spatial=True)

    assert told(verify(forged(run, in_json("scores/cards.json", told_more), pictures=False)))["cards"] == "agrees"


def test_scores_that_were_made_up_are_found_and_the_worst_is_named(run: Run) -> None:
    def better(table: pd.DataFrame) -> None:
        mse = table["metric"] == "mse"
        table.loc[mse, "score"] *= 0.99
        table.loc[mse & (table["sample_id"] == "sample-0") & (table["editor"] == "Fade") & (table["value"] == 0.5), "score"] = 0.9

    found = verify(forged(run, in_table("pairs", better)), units=100)
    assert contradicted(found).startswith("scores by mse: 10 of 15 recomputed differ: Fade at 0.5 on sample-0 is ")
    assert told(found)["scores by l1"] == "agrees"


def test_rounding_of_another_device_is_no_contradiction(run: Run) -> None:
    def rounded(table: pd.DataFrame) -> None:
        table["score"] *= 1 + 1e-5

    assert verify(forged(run, in_table("pairs", rounded)), units=100).exit_code == 0


def test_a_score_that_was_struck_out_is_found(run: Run) -> None:
    def undefined(table: pd.DataFrame) -> None:
        table.loc[table["value"] == 1.0, "score"] = np.nan

    assert "recomputed differ" in contradicted(verify(forged(run, in_table("pairs", undefined)), units=100))
    gone = forged_again(run, in_table("pairs", lambda table: table[table["value"] != 1.0]))
    assert "5 of 15 recomputed differ, 5 of them not stated at all" in contradicted(verify(gone, units=100))


def forged_again(run: Run, change: Callable[[str, bytes], bytes | None], pictures: bool = True) -> Path:
    run.path.with_name("honest.zip").unlink()
    return forged(run, change, pictures)


@pytest.mark.parametrize("column", ["sample_id", "editor", "category", "source_id"])
def test_scores_that_are_filed_elsewhere_are_found(run: Run, column: str) -> None:
    def moved(table: pd.DataFrame) -> None:
        table[column] = table[column].map(
            lambda cell: "Fade" if column == "editor" else "sample-0" if column == "sample_id" else "other"
        )

    assert "scores: a score of" in contradicted(verify(forged(run, in_table("pairs", moved), pictures=False)))


def test_scores_outside_of_the_metrics_range_and_two_of_one_edit_are_found(run: Run) -> None:
    def outside(table: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([table, table.head(1)]).assign(score=-5.0)

    said = contradicted(verify(forged(run, in_table("pairs", outside), pictures=False)))
    assert "has scores outside of 0 to" in said
    assert "has two scores of one edit" in said


def test_scores_of_other_pictures_are_found(run: Run) -> None:
    said = contradicted(verify(forged(run, in_table("pairs", lambda table: table.assign(inputs="0" * 16)), pictures=False)))
    assert "30 are of other pictures than the records name" in said


def test_a_card_that_is_not_that_of_its_fingerprint_is_found(run: Run) -> None:
    def eased(cards: dict[str, Any]) -> None:
        next(iter(cards.values()))["masking"] = "background"

    assert contradicted(verify(forged(run, in_json("scores/cards.json", eased), pictures=False))).startswith("cards: ")


def test_a_plan_without_the_hard_samples_is_found(run: Run) -> None:
    def easier(plan: dict[str, Any]) -> None:
        plan["samples"][0]["units"] = []

    said = contradicted(verify(forged(run, in_plan(easier), pictures=False)))
    assert "not one unit for every editor, sample and seed" in said


def test_a_unit_whose_key_is_not_the_hash_of_its_identity_is_found(run: Run) -> None:
    def renamed(plan: dict[str, Any]) -> None:
        plan["settings"][0]["params"]["gain"] = 5.0

    assert "is not the hash of its identity" in contradicted(verify(forged(run, in_plan(renamed), pictures=False)))


def test_a_record_of_another_unit_is_found(run: Run) -> None:
    key = run.plan.units[0].key

    def other(record: dict[str, Any]) -> None:
        record["identity"]["seed"] = 7

    said = contradicted(verify(forged(run, in_json(f"units/{key}/record.json", other), pictures=False)))
    assert said == "records: 1 are not of a unit of the plan, or damaged"


def test_a_picture_that_was_exchanged_is_found_by_its_record(run: Run) -> None:
    def exchanged(name: str, data: bytes) -> bytes:
        return data + b"\0" if name.endswith("000.png") else data

    assert "differs from its record" in contradicted(verify(forged(run, exchanged)))


@pytest.mark.slow
def test_samples_of_a_manifest_that_comes_with_the_package_are_held_against_it(tmp_path: Path, make_spec: SpecMaker) -> None:
    spec = make_spec(editor("Fade"), metrics=PIXELS, axes=AXES, manifest={"name": "toybox-mini"}, limit=2)
    made = api.run(spec, tmp_path / "run", options=Options(executor="inline"))
    api.score(made)
    pack(made, tmp_path / "a.zip", pictures=True)
    assert {check.what: check.said for check in verify(tmp_path / "a.zip").checks}["samples"] == "2 of toybox-mini"

    def moved(plan: dict[str, Any]) -> None:
        plan["samples"][1]["source_id"] = "0" * 16

    assert "is not that of toybox-mini" in contradicted(verify(forged(made, in_plan(moved), pictures=False)))


def test_the_same_draw_looks_at_the_same_units(run: Run) -> None:
    def one_wrong(table: pd.DataFrame) -> None:
        table.loc[(table["sample_id"] == "sample-2") & (table["editor"] == "Fade") & (table["value"] == 1.0), "score"] = 0.5

    bundle = forged(run, in_table("pairs", one_wrong))
    codes = [verify(bundle, units=1, draw=seed).exit_code for seed in range(12)]
    assert set(codes) == {0, 1}
    assert codes == [verify(bundle, units=1, draw=seed).exit_code for seed in range(12)]


def test_the_command_tells_by_its_exit_code(run: Run, tmp_path: Path, etabench: Etabench) -> None:
    code, out, _ = etabench("pack", run.path, "--pictures")
    assert code == 0
    assert f"{run.path}.zip" in out.replace("\n", "")
    assert etabench("verify", f"{run.path}.zip")[0] == 0
    forgery = forged(run, in_table("pairs", lambda table: table.assign(score=table["score"] * 0.5)))
    code, out, err = etabench("verify", forgery, "--units", "100", "--draw", "5")
    assert code == 1
    assert "contradicts" in out
    assert "--draw 5 draws the same units again" in err
    (tmp_path / "no.zip").write_bytes(b"no")
    code, out, err = etabench("verify", tmp_path / "no.zip")
    assert (code, out) == (2, "")
    assert err.startswith("etabench: ")
    rows = json.loads(etabench("verify", f"{run.path}.zip", "--json")[1])
    assert {row["what"] for row in rows} >= {"files", "plan", "records", "samples", "cards", "scores", "pictures"}


def test_a_spec_that_this_version_does_not_know_cannot_be_checked(run: Run) -> None:
    found = verify(forged(run, lambda name, data: data + b"later_key: 1\n" if name == "spec.yaml" else data))
    assert found.exit_code == 2
    assert told(found)["spec"] == "unchecked"
