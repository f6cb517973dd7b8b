"""Whole runs at a URL are what they are in a folder, whoever makes them and wherever."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from fake_specs import ALL_METRICS, SpecMaker, editor
from s3_server import s3_server

from bench import api
from bench.commands.status import Watched
from bench.scoring import read_scores
from bench.store import Run
from bench.workers.crew import Options

INLINE = Options(executor="inline")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Go to the machine of that name."""
    return lambda name: monkeypatch.setenv("ETABENCH_SCRATCH", str(tmp_path / name))


def made(run: Run) -> dict[str, tuple[object, ...]]:
    records = {unit.key: run.record(unit.key) for unit in run.plan.units}
    return {key: (record.status, *(edit.sha256 for edit in record.edits)) for key, record in records.items() if record}


def test_a_run_in_a_bucket_is_the_run_in_a_folder(
    make_spec: SpecMaker, tmp_path: Path, bucket: str, on: Callable[[str], None]
) -> None:
    """Two processes make it on one machine, another scores it, a third reports on it."""
    spec = make_spec(editor("Fade"), editor("Crashes"), metrics=ALL_METRICS, reference={"kind": "sources"})
    alone = api.run(spec, tmp_path / "alone", options=INLINE)
    scores = api.score(alone)
    url = f"{bucket}/whole"
    on("one")
    run = api.run(spec, url, options=Options(executor="local", workers=2))
    assert made(run) == made(alone)
    on("two")
    opened = Run.open(url)
    found = Watched(opened).look()
    assert (found.done, found.failed, found.left, found.gone) == (5, {"ZeroDivisionError": 1}, 0, 2)
    assert not any(path.is_dir() for path in opened.units.glob("*") if (path / "000.png").exists()), "no picture was needed"
    theirs = api.score(url)
    pd.testing.assert_frame_equal(theirs.pairs, scores.pairs, check_exact=True)
    pd.testing.assert_frame_equal(theirs.sets, scores.sets, check_exact=True)
    on("three")
    pd.testing.assert_frame_equal(read_scores(Run.open(url)).pairs, scores.pairs, check_exact=True)
    page = api.report(url)
    assert page.is_file()
    assert page.is_relative_to(tmp_path / "three")


def test_failed_units_are_tried_again_and_the_rest_is_kept(
    make_spec: SpecMaker, tmp_path: Path, bucket: str, on: Callable[[str], None]
) -> None:
    url, spec = f"{bucket}/again", make_spec(editor("Fade"), editor("Crashes"))
    on("one")
    first = api.run(spec, url, options=INLINE)
    marks = dict(first.mirror.marks(anew=True))  # type: ignore[union-attr]
    on("two")
    again = api.run(spec, url, options=INLINE)
    now = again.mirror.marks(anew=True)  # type: ignore[union-attr]
    assert {key for key in marks if now[key].modified == marks[key].modified and marks[key].status == "done"} == {
        key for key, mark in marks.items() if mark.status == "done"
    }
    assert sum(mark.status == "failed" for mark in now.values()) == 1
    assert made(again) == made(first)


def test_damage_in_the_bucket_is_named_by_the_scoring_and_mended_by_the_run(
    make_spec: SpecMaker, tmp_path: Path, bucket: str, on: Callable[[str], None]
) -> None:
    from bench.errors import RunError

    url, spec = f"{bucket}/worn", make_spec(editor("Fade"))
    on("one")
    run = api.run(spec, url, options=INLINE)
    key = run.plan.units[0].key
    before = run.record(key)
    run.mirror.objects.put({f"units/{key}/000.png": b"\x89PNG other"})  # type: ignore[union-attr]
    on("two")
    with pytest.raises(RunError, match=rf"is gone or differs from its record .*--out {url}"):
        api.score(url)
    api.run(spec, url, options=INLINE)
    on("three")
    api.score(url)
    after = Run.open(url).record(key)
    assert before is not None
    assert after is not None
    assert after.edits == before.edits


def test_workers_elsewhere_need_no_manifest_and_chains_find_their_sources(
    make_spec: SpecMaker, manifest_folder: Path, bucket: str, on: Callable[[str], None]
) -> None:
    """What a worker needs beside its editors lies in the bucket."""
    import shutil

    from bench.workers.drain import drain

    url, spec = f"{bucket}/samples", make_spec(editor("Fade"), editor("Negative"))
    on("one")
    run = api.run(spec, url, options=INLINE)
    expected = made(run)
    for key in expected:
        run.discard(key)
    shutil.rmtree(manifest_folder)
    on("two")
    drain(url)
    assert made(Run.open(url)) == expected


def test_the_commands_take_a_url(
    spec_file: Callable[..., Path], etabench: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETABENCH_SCRATCH", "")
    url, scratch = f"file://{tmp_path}/store/run", tmp_path / "scratch"
    code, out, err = etabench("run", spec_file(), "--out", url, "--scratch", scratch, "--executor", "inline", "--no-score")
    assert (code, out) == (0, f"edits in {url}; `etabench score {url}` scores them\n"), err
    code, out, err = etabench("score", url)
    assert (code, out) == (0, f"18 pair scores and 0 set scores in {url}/scores\n"), err
    code, out, err = etabench("status", url, "--json")
    assert json.loads(out)["done"] == 3, err
    code, out, err = etabench("report", url)
    assert code == 0, err
    assert (tmp_path / "store" / "run" / "plan.parquet").is_file()
    assert list(scratch.iterdir())
    code, _, err = etabench("run", spec_file(), "--out", "nowhere://bucket/run")
    assert code == 2
    assert "nowhere://bucket/run is no place for a run" in err
