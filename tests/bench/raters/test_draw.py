from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from fake_specs import SpecMaker, editor
from fixtures_manifest import row, write_folder

from bench import api
from bench.errors import RunError, ScoreError
from bench.raters.draw import Draw, draw_study, read_values
from bench.raters.outlook import outlook
from bench.raters.study import StudyFolder
from bench.store import Run
from bench.workers.crew import Options

INLINE = Options(executor="inline")


@pytest.fixture
def run(make_spec: SpecMaker, tmp_path: Path) -> Run:
    """Two editors and an anchor on three samples, of which two share their picture; NeedsMask fails where there is no mask."""
    spec = make_spec(editor("Fade", grid=[0.2, 0.8]), editor("NeedsMask", grid=[0.5]), editor("Unchanged"))
    return api.run(spec, tmp_path / "run", options=INLINE, scorable=False)


AT = {"Fade": 0.8}


def test_items_are_pairs_of_edits_as_the_run_has_them(run: Run, tmp_path: Path) -> None:
    study = draw_study([run], tmp_path / "study", Draw(values=AT))
    folder = StudyFolder(tmp_path / "study")
    assert folder.read() == study
    assert [(item.sample_id, item.first.editor, item.first.value, item.second and item.second.editor) for item in study.real] == [
        ("sample-0", "Fade", 0.8, "NeedsMask"),
        ("sample-1", "Fade", 0.8, "NeedsMask"),
    ]
    assert study.left_out == {"Fade / NeedsMask": 1}, "a failure is counted, not shown"
    plan = run.plan
    unit = next(unit for unit in plan.units if plan.entries[unit.entry].label == "Fade" and unit.sample == 0)
    record = run.record(unit.key)
    assert record is not None
    shown = study.real[0].first.picture
    assert hashlib.sha256(folder.picture(shown)).hexdigest() == shown
    import io

    from PIL import Image

    picture = Image.open(io.BytesIO(folder.picture(shown)))
    assert np.array_equal(np.asarray(picture), run.read_edit(record, 1))
    assert picture.info == {}, "no metadata"
    assert study.real[0].target_text == "turn the horse on hill number 0 into a zebra", "the instruction, where there is one"


def test_gold_shows_the_truth_beside_that_of_another_sample(run: Run, tmp_path: Path) -> None:
    study = draw_study([run], tmp_path / "study", Draw(values=AT))
    truths = {info.id: run.sample(info).truth for info in run.plan.samples}
    folder = StudyFolder(tmp_path / "study")
    assert study.gold
    for item in study.gold:
        assert item.second is not None
        truth = truths[item.sample_id]
        assert truth is not None
        assert item.expected == "first"
        assert item.first.picture == folder.put(truth)
        assert item.second.picture in {
            folder.put(other) for name, other in truths.items() if name != item.sample_id and other is not None
        }


def test_the_seed_draws_the_same_study_again(run: Run, tmp_path: Path) -> None:
    one, again, other = (
        draw_study([run], tmp_path / name / "study", Draw(values=AT, seed=seed, samples=2, golds=0))
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert one == again
    assert one.items != other.items
    assert len({item.sample_id for item in (*one.items, *other.items)}) > 1


def test_operating_points_are_those_of_the_scores(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match=r"has no scores to choose a knob value of Fade by.*--value Fade="):
        draw_study([run], tmp_path / "unscored", Draw())
    api.score(run)
    study = draw_study([run], tmp_path / "study", Draw())
    assert {item.first.value for item in study.real} <= {0.2, 0.8}


def test_values_may_be_given_for_each_sample(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "values.csv"
    path.write_text("editor,sample_id,value\nFade,,0.2\nFade,sample-1,0.8\n")
    study = draw_study([run], tmp_path / "study", Draw(values=read_values(path)))
    assert {item.sample_id: item.first.value for item in study.real} == {"sample-0": 0.2, "sample-1": 0.8}
    path.write_text("editor,value\nFade,much\n")
    with pytest.raises(ScoreError, match=r"values\.csv, line 2"):
        read_values(path)
    with pytest.raises(ScoreError, match=r"Fade has no edits at 0\.5; it has them at 0\.2, 0\.8"):
        draw_study([run], tmp_path / "other", Draw(values={"Fade": 0.5}))


def test_one_editor_against_its_rivals_and_anchors_by_name(run: Run, tmp_path: Path) -> None:
    asked = Draw(values=AT, editors=("Fade", "NeedsMask", "Unchanged"), against="Unchanged")
    study = draw_study([run], tmp_path / "study", asked)
    pairs = {(item.first.editor, item.second.editor) for item in study.real if item.second}
    assert pairs == {("Fade", "Unchanged"), ("NeedsMask", "Unchanged")}
    with pytest.raises(RunError, match="no run has an editor 'Fad'; did you mean"):
        draw_study([run], tmp_path / "other", Draw(editors=("Fad", "Unchanged")))
    with pytest.raises(RunError, match="pairs need two editors"):
        draw_study([run], tmp_path / "other", Draw(editors=("Fade",)))


def test_ratings_show_one_edit(run: Run, tmp_path: Path) -> None:
    study = draw_study([run], tmp_path / "study", Draw(form="ratings", values=AT))
    assert [item.first.editor for item in study.real].count("Fade") == 3
    assert study.left_out == {"NeedsMask": 1}
    assert all(item.second is None and item.expected == "0" for item in study.gold)


def test_runs_are_compared_on_the_samples_they_share(run: Run, make_spec: SpecMaker, tmp_path: Path) -> None:
    other = api.run(
        make_spec(editor("Fade", grid=[0.8], params={"gain": 2.0}), limit=2), tmp_path / "loud", options=INLINE, scorable=False
    )
    study = draw_study([run, other], tmp_path / "study", Draw(values={"run/Fade": 0.8}, editors=("run/Fade", "loud/Fade")))
    assert {item.sample_id for item in study.real} == {"sample-0", "sample-1"}
    assert {item.first.editor for item in study.real} == {"run/Fade"}


def test_runs_on_different_samples_are_not_compared(run: Run, make_spec: SpecMaker, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "elsewhere", [row(0, target_text="something else")])
    spec = make_spec(editor("Fade", label="other", grid=[0.8]), manifest={"path": str(folder)})
    other = api.run(spec, tmp_path / "other", options=INLINE, scorable=False)
    with pytest.raises(RunError, match="sample 'sample-0' is not the same"):
        draw_study([run, other], tmp_path / "study", Draw(values=AT))


def test_a_study_is_never_drawn_over_another(run: Run, tmp_path: Path) -> None:
    draw_study([run], tmp_path / "study", Draw(values=AT))
    with pytest.raises(RunError, match="is there already"):
        draw_study([run], tmp_path / "study", Draw(values=AT))


def test_a_changed_picture_is_not_shown(run: Run, tmp_path: Path) -> None:
    study = draw_study([run], tmp_path / "study", Draw(values=AT))
    folder, name = StudyFolder(tmp_path / "study"), study.real[0].source
    (folder.pictures / f"{name}.png").write_bytes(b"other")
    with pytest.raises(RunError, match="was changed"):
        folder.picture(name)
    (folder.pictures / f"{name}.png").unlink()
    with pytest.raises(RunError, match="is gone"):
        folder.picture(name)


def test_the_outlook_says_what_can_be_shown(run: Run, tmp_path: Path) -> None:
    study = draw_study([run], tmp_path / "study", Draw(values=AT, votes=50))
    stated = {"margin": 0.4, "ties": 0.2, "rater_icc": 0.0, "source_icc": 0.0, "pilot": None}
    lines = "\n".join(outlook(study, **stated))  # type: ignore[arg-type]
    assert "2 pairs of 2 source pictures, 50 raters each" in lines
    assert "left out: Fade / NeedsMask on 1 samples" in lines
    assert "needs 19 raters" in lines, "38 votes, two from each rater"
    far = "\n".join(outlook(study, **(stated | {"source_icc": 0.2})))  # type: ignore[arg-type]
    assert "cannot be shown with 2 source pictures, however many vote" in far
