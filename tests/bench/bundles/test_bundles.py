"""What is packed, and what is opened of what a stranger packed."""

from __future__ import annotations

import json
import stat
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fake_specs import ALL_METRICS, SpecMaker, editor

from bench import api
from bench.bundles.layout import LISTING, is_picture, stored
from bench.bundles.opened import opened
from bench.bundles.pack import pack
from bench.errors import BundleError, ManifestError, RunError
from bench.scoring import read_scores
from bench.store import Run
from bench.workers.crew import Options

Change = Callable[[str, bytes], bytes | None]
"""Of a file by its name: its new content, or None to leave it out."""


@pytest.fixture
def run(make_spec: SpecMaker, tmp_path: Path) -> Run:
    made = api.run(
        make_spec(editor("Fade"), editor("FailsOnce"), metrics=ALL_METRICS), tmp_path / "run", options=Options(executor="inline")
    )
    api.score(made)
    return made


def repacked(bundle: Path, change: Change, more: Sequence[tuple[zipfile.ZipInfo, bytes]] = ()) -> Path:
    """The bundle with other files; its list stays what it was."""
    target = bundle.with_name("changed.zip")
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(target, "w") as new:
        for head in old.infolist():
            if (data := change(head.filename, old.read(head))) is not None:
                new.writestr(stored(head.filename), data)
        for head, data in more:
            new.writestr(head, data)
    return target


def unchanged(_: str, data: bytes) -> bytes:
    return data


def test_a_bundle_holds_the_run_and_says_of_every_file_what_it_is(run: Run, tmp_path: Path) -> None:
    made = pack(run, tmp_path / "a.zip", pictures=True)
    with opened(tmp_path / "a.zip") as bundle:
        assert (bundle.flaws, bundle.digest, len(bundle.listing.files)) == ([], made.digest, made.files)
        assert bundle.run.plan == run.plan
        assert bundle.run.head == run.head
        assert [r.key for r in bundle.run.records(u.key for u in run.plan.units)] == [
            r.key for r in run.records(u.key for u in run.plan.units)
        ]
        there, here = read_scores(bundle.run), read_scores(run)
        assert there.pairs.equals(here.pairs)
        assert there.cards == here.cards
        place = bundle.run.path
    assert not place.exists(), "what was taken apart is gone afterwards"


def test_without_pictures_there_is_no_picture_and_scores_are_read_by_the_records(run: Run, tmp_path: Path) -> None:
    pack(run, tmp_path / "a.zip")
    with opened(tmp_path / "a.zip") as bundle:
        assert not any(is_picture(name) for name in bundle.listing.files)
        assert len(read_scores(bundle.run, pictures=False).pairs) == len(read_scores(run).pairs)
        with pytest.raises(RunError, match="gone or differs"):
            read_scores(bundle.run)


def test_the_same_run_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        pack(Run(run.path), tmp_path / name, pictures=True)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_run_without_scores_or_with_a_changed_picture_is_not_packed(make_spec: SpecMaker, run: Run, tmp_path: Path) -> None:
    bare = api.run(make_spec(), tmp_path / "bare", options=Options(executor="inline"))
    with pytest.raises(RunError, match="has no scores"):
        pack(bare, tmp_path / "a.zip")
    next(run.units.glob("*/000.png")).write_bytes(b"\x89PNG other")
    with pytest.raises(RunError, match="differs from its record"):
        pack(run, tmp_path / "a.zip")
    assert not list(tmp_path.glob("*.zip*"))


def test_nothing_is_overwritten(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"mine")
    with pytest.raises(BundleError, match="nothing is overwritten"):
        pack(run, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == b"mine"


def linked(name: str) -> zipfile.ZipInfo:
    head = stored(name)
    head.external_attr = (stat.S_IFLNK | 0o777) << 16
    return head


def squeezed(name: str) -> zipfile.ZipInfo:
    head = stored(name)
    head.compress_type = zipfile.ZIP_DEFLATED
    return head


UNIT = "units/0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (stored("../outside.png"), "is no file of a bundle"),
        (stored("/tmp/outside.png"), "is no file of a bundle"),
        (stored(f"{UNIT}/../../outside.png"), "is no file of a bundle"),
        (stored(f"{UNIT}/a\\..\\b.png"), "is no file of a bundle"),
        (stored(f"{UNIT}/.hidden.png"), "is no file of a bundle"),
        (stored("plug_in.py"), "is no file of a bundle"),
        (stored("units/"), "is no file of a bundle"),
        (stored(f"{UNIT}/{'x' * 200}.png"), "more than 200 bytes"),
        (stored("SPEC.yaml"), "is no file of a bundle"),
        (linked(f"{UNIT}/000.png"), "is no plain file"),
        (squeezed(f"{UNIT}/000.png"), "compressed or encrypted"),
    ],
    ids=lambda case: case.filename if isinstance(case, zipfile.ZipInfo) else "",
)
def test_what_no_bundle_holds_is_refused_before_anything_is_read(
    run: Run, tmp_path: Path, head: zipfile.ZipInfo, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(run, tmp_path / "a.zip")
    bad = repacked(tmp_path / "a.zip", unchanged, [(head, b"\0" * 5_000_000)])
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("it was read"))
    with pytest.raises(BundleError, match=words), opened(bad):
        pass


def test_two_files_that_one_file_system_takes_for_one_are_refused(run: Run, tmp_path: Path) -> None:
    pack(run, tmp_path / "a.zip")
    bad = repacked(tmp_path / "a.zip", unchanged, [(stored(f"{UNIT}/a.png"), b""), (stored(f"{UNIT}/A.png"), b"")])
    with pytest.raises(BundleError, match="is in it twice"), opened(bad):
        pass


def test_files_that_share_one_place_in_the_archive_cannot_multiply(run: Run, tmp_path: Path) -> None:
    """A thousand heads that point at one large file are a bomb without any compression."""
    pack(run, tmp_path / "a.zip")
    target = tmp_path / "bomb.zip"
    with zipfile.ZipFile(tmp_path / "a.zip") as old, zipfile.ZipFile(target, "w") as new:
        for head in old.infolist():
            new.writestr(stored(head.filename), old.read(head))
        new.writestr(stored(f"{UNIT}/000.png"), b"\0" * 2_000_000)
        first = new.infolist()[-1]
        for number in range(1, 100):
            again = stored(f"{UNIT}/{number:03}.png")
            again.header_offset, again.file_size, again.compress_size, again.CRC = (
                first.header_offset,
                first.file_size,
                first.file_size,
                first.CRC,
            )
            new.filelist.append(again)
    with pytest.raises(BundleError, match="its files are larger than it is"), opened(target):
        pass


def test_a_table_that_claims_more_rows_than_fit_is_refused(run: Run, tmp_path: Path) -> None:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    pack(run, tmp_path / "a.zip")
    buffer = io.BytesIO()
    pq.write_table(
        pa.table({"score": pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array(["x" * 5_000_000]))}), buffer
    )
    claimed = buffer.getvalue()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.bundles.opened.MOST_ROWS", 999)
        bad = repacked(tmp_path / "a.zip", lambda name, data: claimed if name.endswith("pairs.parquet") else data)
        with pytest.raises(BundleError, match="1000 rows"), opened(bad):
            pass


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + b"\0" * 18, b"PK\x03\x04 and no more", b"name: spec\n"])
def test_what_is_no_archive_is_said_to_be_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(BundleError, match=r"a\.zip"), opened(tmp_path / "a.zip"):
        pass
    with pytest.raises(BundleError, match="is a folder, and a bundle is one file: `etabench pack"), opened(tmp_path):
        pass
    with pytest.raises(BundleError, match=r"there is no bundle at .*b\.zip"), opened(tmp_path / "b.zip"):
        pass


def test_lost_changed_and_added_files_are_named(run: Run, tmp_path: Path) -> None:
    pack(run, tmp_path / "a.zip")

    def change(name: str, data: bytes) -> bytes | None:
        return None if name.endswith("record.json") else data + b" " if name == "environment.json" else data

    bad = repacked(tmp_path / "a.zip", change, [(stored(f"{UNIT}/000.png"), b"")])
    with opened(bad) as bundle:
        assert "environment.json differs from its digest" in bundle.flaws
        assert f"{UNIT}/000.png is there and not listed" in bundle.flaws
        assert sum("record.json is listed and not there" in flaw for flaw in bundle.flaws) == 6


def test_a_file_that_differs_from_the_archives_own_checksum_is_named(run: Run, tmp_path: Path) -> None:
    pack(run, tmp_path / "a.zip")
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(b'"cpu_count"', b'"cpu_cound"', 1))
    with opened(tmp_path / "a.zip") as bundle:
        assert bundle.flaws == ["environment.json differs from its digest"]


def test_a_list_of_another_schema_is_refused(run: Run, tmp_path: Path) -> None:
    pack(run, tmp_path / "a.zip")

    def change(name: str, data: bytes) -> bytes:
        return json.dumps(json.loads(data) | {"schema": 2}).encode() if name == LISTING else data

    with pytest.raises(BundleError, match="no bundle of this version"), opened(repacked(tmp_path / "a.zip", change)):
        pass


def test_the_manifest_that_a_bundle_names_is_not_opened(run: Run, tmp_path: Path) -> None:
    pack(run, tmp_path / "a.zip")
    with opened(tmp_path / "a.zip") as bundle:
        with pytest.raises(ManifestError, match="not opened"):
            _ = bundle.run.manifest
        with pytest.raises(RunError, match="not opened"):
            bundle.run.sample(bundle.run.plan.samples[0])
