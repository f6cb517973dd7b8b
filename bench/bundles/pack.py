"""Run -> bundle: one file with all that a leaderboard needs of a run, and what tells whether it is whole."""

from __future__ import annotations

import hashlib
import io
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from bench.bundles.layout import LISTING, FileEntry, Listing, stored
from bench.errors import BundleError, RunError
from bench.scoring import read_scores
from bench.store.files import TEMPORARY, json_bytes

if TYPE_CHECKING:
    from bench.scoring import Scores
    from bench.store import Run

__all__ = ["Packed", "pack"]


@dataclass(frozen=True)
class Packed:
    """A bundle that was written: how many files and bytes it holds, and the SHA-256 of its list, which stands for all of them."""

    path: Path
    files: int
    bytes: int
    digest: str


def pack(run: Run, target: Path, *, pictures: bool = False) -> Packed:
    """Write the bundle of a scored run to the file `target`, which must not be there; with `pictures` also its edits and samples.

    The same run gives the same bytes. Raises RunError where the run has no scores, or pictures are gone or differ from their records,
    BundleError where `target` is there or cannot be written.
    """
    scores = read_scores(run)
    if not len(scores.pairs) and not len(scores.sets):
        raise RunError(f"{run.path} has no scores of the pictures that it has: run `etabench score {run.path}` first")
    if target.exists():
        raise BundleError(f"{target} is there, and nothing is overwritten; remove it or choose another with --out")
    scratch = target.with_name(f"{TEMPORARY}{target.name}-{uuid.uuid4().hex[:8]}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        files: dict[str, FileEntry] = {}
        with zipfile.ZipFile(scratch, "x") as archive:
            for name, data in _content(run, scores, pictures):
                files[name] = FileEntry(hashlib.sha256(data).hexdigest(), len(data))
                archive.writestr(stored(name), data)
            listing = json_bytes(asdict(Listing(f"etabench {version('etabench')}", pictures, files)))
            archive.writestr(stored(LISTING), listing)
        size = scratch.stat().st_size
        scratch.replace(target)
    except OSError as error:
        raise BundleError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        scratch.unlink(missing_ok=True)
    return Packed(target, len(files), size, hashlib.sha256(listing).hexdigest())


def _content(run: Run, scores: Scores, pictures: bool) -> Iterator[tuple[str, bytes]]:
    """The files of the bundle by name, always in one order."""
    for name in ("spec.yaml", "environment.json", "manifest.json", run.plan_file.name):
        yield name, _read(run, run.path / name)
    for name in ("pairs", "sets", "set_pairs"):
        buffer = io.BytesIO()
        getattr(scores, name).to_parquet(buffer, index=False)
        yield f"scores/{name}.parquet", buffer.getvalue()
    prints = {print_ for table in (scores.pairs, scores.sets, scores.set_pairs) for print_ in table["fingerprint"]}
    yield "scores/cards.json", json_bytes({print_: card for print_, card in scores.cards.items() if print_ in prints})
    yield "scores/failed.json", json_bytes(scores.failed)
    for unit in sorted(run.plan.units, key=lambda unit: unit.key):
        record = run.record(unit.key)
        if record is not None:
            yield f"units/{unit.key}/record.json", record.encoded()
            run.bring([record] if pictures else ())
            for file in sorted([*(edit.file for edit in record.edits), *record.pictures.values()]) if pictures else ():
                yield f"units/{unit.key}/{file}", _picture(run, unit.key, file)
    if pictures:
        for sample in sorted(run.plan.samples, key=lambda sample: sample.digest):
            for path in sorted([*(kept := run.keep(sample)).values(), kept["source"].with_name("sha256.json")]):
                if path.is_file():
                    yield f"samples/{path.parent.name}/{path.name}", _read(run, path)


def _picture(run: Run, key: str, file: str) -> bytes:
    try:
        return run.kept.read(key, file)
    except OSError as error:
        raise _unreadable(run.kept.where(key, file), error) from error


def _read(run: Run, path: Path) -> bytes:
    from editors.toolbox.files import MOST_BYTES, read_regular

    try:
        return read_regular(run.own(path), MOST_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> RunError:
    return RunError(f"{path} cannot be read ({error.strerror or error}); `etabench run` on the folder makes it anew")
