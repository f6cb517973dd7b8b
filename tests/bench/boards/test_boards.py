"""Boards from the runs to the numbers on them: what is merged, who is ranked with whom, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_specs import ALL_METRICS, PAIR_METRICS, editor, metric
from fixtures_manifest import row, write_folder

from bench import registry
from bench.analysis.comparisons import gains
from bench.boards.divisions import divisions
from bench.boards.entrants import read_entrants
from bench.boards.merge import merged
from bench.bundles.pack import pack
from bench.commands.report import report_data
from bench.errors import BoardError, BundleError, RunError
from bench.store import Run

RunMaker = Callable[..., Run]
FADE, LOUD = editor("Fade"), editor("Fade", label="loud", preset="loud")


def labels(*runs: Run) -> list[str]:
    return [entry.label for entry in merged(read_entrants([run.path for run in runs])).plan.entries]


def test_a_board_of_one_run_has_the_numbers_of_its_report(make_run: RunMaker) -> None:
    run = make_run("one", FADE, LOUD, editor("FailsOnce"))
    (division,) = divisions(merged(read_entrants([run.path])), "board")
    own, table = report_data(run).leaderboard, division.data.leaderboard
    same = [name for name in own.columns if name in table.columns]
    assert len(same) == len(own.columns)
    assert own.equals(table[same])


def test_editors_of_several_runs_stand_as_if_one_spec_had_named_them(make_run: RunMaker) -> None:
    apart = make_run("a", FADE), make_run("b", LOUD)
    together = make_run("both", FADE, LOUD)
    one = merged(read_entrants([run.path for run in apart]))
    assert sorted(unit.key for unit in one.plan.units) == sorted(unit.key for unit in together.plan.units)
    assert [entry.label for entry in one.plan.entries] == ["Fade", "loud"]
    (board,), own = divisions(one, "board"), report_data(together).leaderboard
    for name in (
        "editor",
        "rank",
        "rank_low",
        "rank_high",
        "clip",
        "one_minus_lpips",
        "one_minus_lpips_low",
        "fid",
        "done",
        "coverage",
    ):
        if name in own:
            assert board.data.leaderboard[name].tolist() == own[name].tolist(), name
    assert {label: entrant.name for label, entrant in one.runs.items()} == {"Fade": "a", "loud": "b"}


def test_the_order_of_samples_does_not_matter(make_run: RunMaker) -> None:
    turned = make_run("turned", LOUD, samples=["sample-2", "sample-0", "sample-1"])
    one = merged(read_entrants([make_run("plain", FADE).path, turned.path]))
    for unit in one.plan.units:
        assert unit.identity["sample_id"] == one.plan.samples[unit.sample].id


def test_one_label_for_two_editors_is_told_apart_by_the_runs(make_run: RunMaker) -> None:
    runs = make_run("a", FADE), make_run("b", editor("Fade", preset="loud")), make_run("c", LOUD)
    assert labels(*runs) == ["Fade (a)", "Fade (b)"], "loud of c is Fade of b, unit by unit"


def test_one_editor_in_two_runs_stands_once_and_it_is_said(make_run: RunMaker) -> None:
    whole = merged(read_entrants([make_run("a", FADE, LOUD).path, make_run("b", FADE).path]))
    assert [entry.label for entry in whole.plan.entries] == ["Fade", "loud"]
    assert whole.notes == ["Fade of b is Fade of a, unit by unit, and stands once"]


def test_anchors_are_those_of_the_first_run_that_has_them(make_run: RunMaker) -> None:
    runs = make_run("a", FADE, anchors=["copy"]), make_run("b", LOUD, anchors=["copy", "oracle"])
    whole = merged(read_entrants([run.path for run in runs]))
    assert [(entry.label, whole.runs[entry.label].name) for entry in whole.plan.entries if entry.anchor] == [
        ("copy", "a"),
        ("oracle", "b"),
    ]
    assert whole.notes == []


def test_two_runs_of_one_name_are_called_by_their_folders_too(make_run: RunMaker) -> None:
    runs = make_run("same", FADE, folder="x"), make_run("same", LOUD, folder="y")
    assert [entrant.name for entrant in read_entrants([run.path for run in runs])] == ["same in x", "same in y"]
    with pytest.raises(BoardError, match="is given twice"):
        read_entrants([runs[0].path, runs[0].path])


def test_all_that_runs_differ_in_is_said_at_once(make_run: RunMaker, tmp_path: Path) -> None:
    other = [metric("Alignment"), metric("Distance", version="2")]
    write_folder(tmp_path / "other", [row(0), row(1)])
    runs = [
        make_run("plain", FADE, metrics=PAIR_METRICS),
        make_run("other", LOUD, metrics=other, seeds=[0, 1], manifest={"path": str(tmp_path / "other")}),
        make_run("turned", LOUD, metrics=PAIR_METRICS, axes={"editability": "lpips", "fidelity": "clip"}),
    ]
    with pytest.raises(BoardError) as caught:
        merged(read_entrants([run.path for run in runs]))
    rows = {row["of"]: row for row in caught.value.differences}
    assert list(rows) == ["manifest", "samples", "seeds", "axes", "fingerprint of lpips"]
    assert rows["seeds"] == {"of": "seeds", "plain": "0", "other": "0, 1", "turned": "0"}
    assert rows["axes"]["turned"] == "lpips against clip"
    assert rows["samples"]["plain"].endswith("not in every run: sample-2")
    assert rows["manifest"]["plain"] == rows["manifest"]["turned"] != rows["manifest"]["other"]
    assert len({rows["fingerprint of lpips"][name] for name in ("plain", "other", "turned")}) == 2
    assert "manifest, samples, seeds, axes, fingerprint of lpips" in str(caught.value)


def test_a_metric_that_one_run_lacks_is_missing_there_and_no_difference(make_run: RunMaker) -> None:
    runs = make_run("a", FADE), make_run("b", LOUD, metrics=ALL_METRICS[:2])
    (division,) = divisions(merged(read_entrants([run.path for run in runs])), "board")
    fid = division.data.leaderboard.set_index("editor")["fid"]
    assert np.isfinite(fid["Fade"])
    assert np.isnan(fid["loud"])


def test_bundles_and_folders_stand_on_one_board(make_run: RunMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = make_run("here", FADE), make_run("there", LOUD)
    pack(there, tmp_path / "there.zip")
    monkeypatch.setattr(registry, "_from_file", lambda *_: pytest.fail("code of a run was imported"))
    both = merged(read_entrants([here.path, tmp_path / "there.zip"]))
    again = merged(read_entrants([here.path, there.path]))
    assert both.scores.pairs.equals(again.scores.pairs)
    assert [each.digest for each in read_entrants([tmp_path / "there.zip"])] == [
        each.digest for each in read_entrants([there.path])
    ]


def test_what_is_no_scored_run_or_an_altered_bundle_is_refused(make_run: RunMaker, tmp_path: Path) -> None:
    run = make_run("a", FADE)
    pack(run, tmp_path / "a.zip")
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(b'"cpu_count"', b'"cpu_cound"', 1))
    with pytest.raises(BundleError, match=r"environment\.json differs from its digest"):
        read_entrants([tmp_path / "a.zip"])
    with pytest.raises(RunError, match="is not a run folder"):
        read_entrants([tmp_path])
    for file in run.scores.glob("*.parquet"):
        file.unlink()
    with pytest.raises(BoardError, match="has no scores"):
        read_entrants([run.path])


def test_editors_that_see_more_stand_in_a_division_of_their_own(make_run: RunMaker, tmp_path: Path) -> None:
    run, masked = make_run("a", FADE, LOUD), make_run("b", editor("Masked"))
    found = divisions(merged(read_entrants([run.path, masked.path])), "board")
    assert [division.name for division in found] == ["best of 3 by none", "mask"]
    assert [division.data.leaderboard["editor"].tolist() for division in found] == [["Fade", "loud"], ["Masked"]]
    assert found[1].data.leaderboard["rank"].tolist() == [1.0]


def test_who_refuses_the_hard_samples_is_ranked_on_what_all_have(make_run: RunMaker) -> None:
    whole = merged(read_entrants([make_run("a", FADE).path, make_run("b", editor("FailsOnce", params={"gain": 0.5})).path]))
    (division,) = divisions(whole, "board")
    table = division.data.leaderboard.set_index("editor")
    assert table["clip_n"].to_dict() == {"Fade": 2, "FailsOnce": 2}
    assert table["edits_percent"].round().to_dict() == {"Fade": 100, "FailsOnce": 67}
    common = "on the 2 of 3 samples that all ranked editors have"
    lacks = "; rank 2 with the 1 it lacks counted as worst (CLIP score has no lower end, 1 − LPIPS has no lower end)"
    assert table["standing"].to_dict() == {"Fade": common, "FailsOnce": common + lacks}
    own = whole.scores.pairs
    rows = own[(own["editor"] == "Fade") & (own["metric"] == "lpips") & (own["value"] == table.loc["Fade", "value"])]
    assert table.loc["Fade", "one_minus_lpips"] == pytest.approx(1 - rows[rows["sample_id"] != "sample-0"]["score"].mean())


def test_an_editor_of_which_nothing_is_finished_is_listed_and_not_ranked(make_run: RunMaker) -> None:
    whole = merged(read_entrants([make_run("a", FADE, editor("WrongSize")).path]))
    found = divisions(whole, "board")
    assert [division.name for division in found] == ["best of 3 by none", "nothing finished, so that flags are not known"]
    (last,) = found[1].data.leaderboard.to_dict("records")
    assert (last["editor"], last["done"], last["failed"]) == ("WrongSize", 0, 3)
    assert np.isnan(last["rank"])
    assert "clip" not in last


def test_one_editor_with_one_knob_value_has_a_board(make_run: RunMaker) -> None:
    (division,) = divisions(merged(read_entrants([make_run("a", editor("Fade", grid=[0.5])).path])), "board")
    (only,) = division.data.leaderboard.to_dict("records")
    assert (only["rank"], only["rank_low"], only["rank_high"]) == (1, 1, 1)
    assert not len(division.tests)
    assert np.isnan(only["matched_gain"])


def test_categories_have_their_own_means_on_the_samples_of_the_leaderboard(make_run: RunMaker, tmp_path: Path) -> None:
    rows = [row(0, category="add"), row(1, category="remove"), row(2, category="remove", file_name="2.png")]
    write_folder(tmp_path / "kinds", rows)
    whole = merged(read_entrants([make_run("a", FADE, LOUD, manifest={"path": str(tmp_path / "kinds")}).path]))
    (division,) = divisions(whole, "board")
    table = division.categories.set_index(["category", "editor", "metric"])
    point = division.data.leaderboard.set_index("editor").loc["loud", "value"]
    own = whole.scores.pairs
    rows_ = own[(own["editor"] == "loud") & (own["value"] == point) & (own["metric"] == "lpips") & (own["category"] == "remove")]
    assert table.loc[("remove", "loud", "one_minus_lpips"), "mean"] == pytest.approx(1 - rows_["score"].mean())
    assert table.loc[("remove", "loud", "one_minus_lpips"), "n"] == 2
    assert table.loc[("add", "Fade", "clip"), "n"] == 1


def test_gains_are_over_the_editor_that_is_ranked_first(make_run: RunMaker) -> None:
    runs = make_run("a", FADE), make_run("b", LOUD)
    for paths in ([runs[0].path, runs[1].path], [runs[1].path, runs[0].path]):
        whole = merged(read_entrants(paths))
        (division,) = divisions(whole, "board")
        first, second = division.data.leaderboard.to_dict("records")
        assert np.isnan(first["matched_gain"])
        (gain,) = gains(whole.plan, whole.scores, whole.axes).to_dict("records")
        sign = -1 if gain["first"] == first["editor"] else 1
        assert second["matched_gain"] == sign * gain["gain"]
        assert sorted([second["matched_gain_low"], second["matched_gain_high"]]) == sorted(
            [sign * gain["low"], sign * gain["high"]]
        )


def test_a_run_without_scores_on_both_axes_is_listed_and_not_ranked(make_run: RunMaker) -> None:
    (division,) = divisions(merged(read_entrants([make_run("a", FADE, LOUD, metrics=[metric("Alignment")]).path])), "board")
    table = division.data.leaderboard
    assert table["rank"].isna().all()
    assert table["clip"].notna().all()
    assert set(table["standing"]) == {"not ranked: no scores on both axes"}


def test_anchors_alone_are_no_board(make_run: RunMaker) -> None:
    with pytest.raises(BoardError, match="anchors only"):
        merged(read_entrants([make_run("a", {"name": "copy"}).path]))
