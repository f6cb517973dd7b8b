"""Packed units are the units that they were, whenever a packing is killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fake_specs import SpecMaker, editor

from bench import api
from bench.bundles.pack import pack
from bench.commands.export import export_run
from bench.commands.report import report_data
from bench.commands.status import Watched
from bench.errors import RunError
from bench.scoring import read_scores
from bench.store import Record, Run, packing, shards
from bench.store.packing import pack_units
from bench.store.shards import Place
from bench.workers.crew import Options

ROOT = Path(__file__).parents[3]
INLINE = Options(executor="inline")


@pytest.fixture
def run(make_spec: SpecMaker, tmp_path: Path) -> Run:
    """Edits, pictures beside them, anchors, and a unit that failed."""
    spec = make_spec(editor("Fade"), editor("FailsOnce"), anchors=["copy", "oracle"], seeds=[0, 1])
    return api.run(spec, tmp_path / "run", options=INLINE)


def folders(run: Run) -> set[str]:
    return set(run.kept.loose())


def content(run: Run) -> dict[str, tuple[Record, dict[str, bytes]]]:
    """Every unit with a record, and its pictures."""
    found = {}
    for unit in run.plan.units:
        if (record := run.record(unit.key)) is not None:
            names = [edit.file for edit in record.edits] + list(record.pictures.values())
            found[unit.key] = record, {name: run.kept.read(unit.key, name) for name in names}
    return found


def test_packed_units_are_what_they_were(run: Run) -> None:
    before, failed = content(run), {key for key, (record, _) in content(run).items() if record.status == "failed"}
    packed = pack_units(run)
    assert (packed.units, packed.shards, packed.left) == (len(before) - len(failed), 1, 0)
    assert folders(run) == failed, "they are tried again, and shards are not written to again"
    for reader in (run, Run.open(run.path)):
        assert content(reader) == before
        assert list(reader.records(before)) == [record for record, _ in before.values()]
    assert str(pack_units(run)) == "0 finished units were packed into 0 shards of 0 MB"


def test_other_commands_read_packed_units(run: Run, tmp_path: Path) -> None:
    api.score(run)
    loose, packed = run, Run.open(shutil.copytree(run.path, tmp_path / "packed"))
    pack_units(packed)
    for each in (loose, packed):
        export_run(each, each.path.with_name(f"{each.path.name}-export"))
        export_run(each, each.path.with_name(f"{each.path.name}-links"), link=True)
        pack(each, each.path.with_name(f"{each.path.name}.zip"), pictures=True)
    for name in ("export", "links"):
        found = [
            {p.relative_to(f): p.read_bytes() for p in f.rglob("*.png")}
            for f in (tmp_path / f"run-{name}", tmp_path / f"packed-{name}")
        ]
        assert found[0] == found[1]
        assert found[0]
    assert (tmp_path / "run.zip").read_bytes() == (tmp_path / "packed.zip").read_bytes()
    now, then = Watched(packed).look(), Watched(loose).look()
    assert (now.done, now.failed, now.left) == (then.done, then.failed, then.left)
    (packed.scores / "pairs.parquet").unlink()
    assert api.score(packed).pairs.equals(read_scores(loose).pairs)
    rows = [[[edit.read_bytes() for _, edit in row.edits] for row in sample.rows] for sample in report_data(packed).gallery]
    assert rows == [
        [[edit.read_bytes() for _, edit in row.edits] for row in sample.rows] for sample in report_data(loose).gallery
    ]


def test_a_packed_run_is_continued(run: Run, make_spec: SpecMaker) -> None:
    pack_units(run)
    before, failed = content(run), folders(run)
    shard = run.kept.shards.path(1)
    written = shard.stat().st_mtime_ns
    spec = make_spec(editor("Fade"), editor("FailsOnce"), anchors=["copy", "oracle"], seeds=[0, 1, 2])
    again = api.run(spec, run.path, options=INLINE)
    assert shard.stat().st_mtime_ns == written
    after = content(again)
    assert {key: after[key] for key in before.keys() - failed} == {key: before[key] for key in before.keys() - failed}
    assert len(after) == len(again.plan.units) > len(before)


def test_pictures_that_are_the_sample_s_are_stored_once(run: Run, make_spec: SpecMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The edits of anchors, and of editors that leave the source as it is."""
    copies: dict[bytes, list[Path]] = {}
    for path in (run.path / "samples").glob("*/*.png"):
        copies.setdefault(path.read_bytes(), []).append(path)
    same = [path for path in run.units.glob("*/*.png") if path.read_bytes() in copies]
    anchors = sum(run.plan.entries[unit.entry].anchor for unit in run.plan.units)
    assert len(same) > anchors == 2 * len(run.plan.samples)
    assert all(any(path.samefile(copy) for copy in copies[path.read_bytes()]) for path in same)
    before = content(run)
    pack_units(run)
    shard = run.kept.shards.path(1).read_bytes()
    assert max(map(shard.count, copies)) == 1, "in a row group too"

    def no_links(*names: object) -> None:
        raise OSError("not on this file system")

    monkeypatch.setattr(os, "link", no_links)
    spec = make_spec(editor("Fade"), editor("FailsOnce"), anchors=["copy", "oracle"], seeds=[0, 1])
    again = api.run(spec, run.path.with_name("again"), options=INLINE)
    found = content(again)
    assert {key: files for key, (_, files) in found.items()} == {key: files for key, (_, files) in before.items()}
    assert all(path.stat().st_nlink == 1 for path in again.units.glob("*/*.png"))


def test_what_is_damaged_under_two_names_is_made_anew_under_both(run: Run, make_spec: SpecMaker) -> None:
    before, info = content(run), run.plan.samples[0]
    source = run.keep(info)["source"]
    pristine = source.read_bytes()
    source.write_bytes(pristine[:-9])
    spec = make_spec(editor("Fade"), editor("FailsOnce"), anchors=["copy", "oracle"], seeds=[0, 1])
    again = api.run(spec, run.path, options=INLINE)
    assert {key: files for key, (_, files) in content(again).items()} == {key: files for key, (_, files) in before.items()}
    assert again.keep(info)["source"].read_bytes() == pristine


def test_datasets_see_pictures(run: Run) -> None:
    from PIL.Image import Image

    datasets = pytest.importorskip("datasets")
    pack_units(run)
    shard = run.kept.shards.path(1)
    rows = datasets.Dataset.from_parquet(str(shard), cache_dir=str(run.path / "cache"))
    assert isinstance(rows[0]["image"], Image)
    edits = [(row["unit"], row["value"], row["file"]) for row in rows if row["value"] is not None]
    assert edits == [
        (unit.key, edit.value, edit.file)
        for unit in run.plan.units
        if (record := run.record(unit.key)) and record.status == "done"
        for edit in record.edits
    ]


def test_a_unit_that_is_no_longer_what_was_committed_stays_where_it_is(run: Run) -> None:
    first, second, third, *rest = [unit.key for unit in run.plan.units if unit.entry == 0]
    (run.units / first / "001.png").write_bytes(b"other")
    (run.units / second / "noise.png").unlink()
    (run.units / third / "notes.txt").write_text("look at this one again")
    assert pack_units(run).left == 3
    assert {first, second, third} <= folders(run)
    assert not folders(run) & set(rest)


def test_a_packed_unit_that_is_damaged_is_made_anew(run: Run, make_spec: SpecMaker) -> None:
    before = content(run)
    pack_units(run)
    shard = run.kept.shards.path(1)
    data = bytearray(shard.read_bytes())
    key = run.plan.units[0].key
    edit = before[key][1]["000.png"]
    assert data.count(edit) == 1
    data[data.index(edit) + len(edit) // 2] ^= 1
    shard.write_bytes(data)
    fresh = Run.open(run.path)
    record = fresh.record(key)
    assert record is not None
    assert fresh.damaged(record) == shard
    spec = make_spec(editor("Fade"), editor("FailsOnce"), anchors=["copy", "oracle"], seeds=[0, 1])
    again = api.run(spec, run.path, options=INLINE)
    pictures = {name: files for name, (_, files) in content(again).items()}
    assert pictures == {name: files for name, (_, files) in before.items()}
    assert key in folders(again)
    assert again.kept.shards.place(key) is None, "the unit in the shard counts no more"


def test_shards_and_groups_have_a_size(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(run)
    monkeypatch.setattr(packing, "SHARD_BYTES", 40_000)
    monkeypatch.setattr(packing, "GROUP_ROWS", 10)
    packed = pack_units(run)
    assert packed.shards == len(run.kept.shards.numbers()) > 2
    groups = [pq.ParquetFile(run.kept.shards.path(number)).num_row_groups for number in run.kept.shards.numbers()]
    assert max(groups) > 1
    assert content(Run.open(run.path)) == before


def test_an_index_that_is_gone_or_damaged_is_what_the_shard_says(run: Run) -> None:
    before = content(run)
    pack_units(run)
    index = run.kept.shards.path(1).with_suffix(".index")
    for damage in (b"", index.read_bytes()[:100], None):
        index.write_bytes(damage) if damage is not None else index.unlink()
        assert content(Run.open(run.path)) == before


def test_a_stranger_s_shard_is_looked_at_before_it_is_read(run: Run, tmp_path: Path) -> None:
    before, failed = content(run), folders(run)
    pack_units(run)
    left = {key: before[key] for key in folders(run)}
    shard = run.kept.shards.path(1)
    index = shard.with_suffix(".index")
    kept = shard.read_bytes(), index.read_bytes()
    key = next(iter(failed - left.keys()))
    for shifted in (Place(1, 99, 0, 1), Place(1, 0, 10**6, 5), Place(1, 0, 0, 10**6)):
        shards.write_index(shard, {key: shifted})
        assert content(Run.open(run.path)).keys() <= before.keys()
    pq.write_table(pq.read_table(shard).drop_columns("record"), shard)
    assert content(Run.open(run.path)) == left
    index.unlink()
    assert content(Run.open(run.path)) == left
    shard.unlink()
    (tmp_path / "elsewhere.parquet").write_bytes(kept[0])
    shard.symlink_to(tmp_path / "elsewhere.parquet")
    with pytest.raises(RunError, match="leads out of"):
        content(Run.open(run.path))


def test_of_a_unit_in_both_forms_one_counts_and_packing_again_removes_its_folder(run: Run, tmp_path: Path) -> None:
    before = content(run)
    shutil.copytree(run.units, tmp_path / "units")
    pack_units(run)
    shutil.rmtree(run.units)
    shutil.copytree(tmp_path / "units", run.units)
    assert content(Run.open(run.path)) == before
    assert Watched(run).look().done == sum(record.status == "done" for record, _ in before.values())
    packed = pack_units(run)
    assert packed.units == 0, "they are in a shard already"
    assert {before[key][0].status for key in folders(run)} == {"failed"}
    assert content(run) == before


def test_who_is_at_work_meanwhile_finds_everything(run: Run) -> None:
    """A reader took a record from a folder that goes before it reads the pictures; another holds what it knew of the shards."""
    reader, before = Run.open(run.path), content(run)
    key = next(key for key, (record, _) in before.items() if record.status == "done")
    record = reader.record(key)
    assert record is not None
    pack_units(run)
    assert reader.edit_bytes(record, 0) == before[key][1][record.edits[0].file]
    reader.commit(record, before[key][1])
    assert key not in folders(run), "the first of two commits wins, packed or not"
    reader.discard(key)
    assert run.record(key) is None
    run.commit(record, before[key][1])
    pack_units(run)
    assert content(reader) == before


def test_records_that_say_less_than_ours_are_packed_too(run: Run) -> None:
    """Nothing but the key is certain of an identity that somebody else wrote."""
    keys = [f"{number:024x}" for number in range(4)]
    for key, identity in zip(
        keys, ({}, {"seed": 2**70}, {"seed": True, "sample_id": 3}, {"sample_id": "half \ud800"}), strict=True
    ):
        run.commit(Record(key, "done", identity))
    before = [run.record(key) for key in keys]
    assert pack_units(run).left == 0
    assert [run.kept.shards.place(key) is not None for key in keys] == [True] * 4
    assert [run.record(key) for key in keys] == before


def test_two_packings_do_not_meet(run: Run) -> None:
    with run.kept.shards.locked(0.0), pytest.raises(RunError, match="is being written to by another command"):
        pack_units(run, patience=0.0)
    assert pack_units(run).units


@pytest.mark.parametrize("most", [0, 4, 100])
def test_a_large_run_packs_by_itself(make_spec: SpecMaker, tmp_path: Path, most: int) -> None:
    run = api.run(make_spec(seeds=[0, 1, 2], pack_above=most), tmp_path / "run", options=INLINE)
    assert len(run.kept.shards.keys()) == {0: 0, 4: 5, 100: 0}[most]
    assert all(run.record(unit.key) for unit in run.plan.units)


KILLED = """
import os, sys
from pathlib import Path
from bench.store import Run, packing, units, shards
packing.SHARD_BYTES, at, steps = 40_000, int(sys.argv[2]), 0

def counted(work):
    def step(*given, **named):
        global steps
        for after in (False, True):
            steps += 1
            if steps == at:
                os.kill(os.getpid(), 9)
            if not after:
                found = work(*given, **named)
        return found
    return step

for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "rename"), (os, "rmdir"), (os, "unlink")):
    setattr(owner, name, counted(getattr(owner, name)))
packing.pack_units(Run.open(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_packing_that_is_killed_loses_nothing_and_doubles_nothing(run: Run, tmp_path: Path) -> None:
    """At the steps that leave another state on the disk, and whether before or after them."""
    before, done = content(run), {key for key, (record, _) in content(run).items() if record.status == "done"}
    for at in (2, 4, 8, 10, 13, 18, 41):
        copy = shutil.copytree(run.path, tmp_path / f"killed-{at}")
        command = [sys.executable, "-c", KILLED, str(copy), str(at)]
        code = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False).returncode
        assert code == -9, "it was to be killed at work"
        killed = Run.open(copy)
        assert content(killed) == before, at
        pack_units(killed)
        assert content(killed) == before, at
        assert folders(killed) == before.keys() - done
        assert sum(len(shards.read_index(killed.kept.shards.path(n), n)) for n in killed.kept.shards.numbers()) == len(done)
