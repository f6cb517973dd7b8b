"""The run folder: what is in it, and how it stays whole when a process dies at any instant.

    spec.yaml         the resolved spec, itself a runnable spec; spec.given.yaml is the text as given
    environment.json  versions, commit, device
    manifest.json     name, content hash, policy and ids of the manifest
    plan.parquet      the units that the spec asks for; plan.json in runs of before
    units/<key>/      one PNG per knob value, pictures, record.json; the key hashes all that determines the result
    shards/           packed units, see `bench.store.shards`; unpacked/ has copies of pictures that something needed as files
    claims/<key>      who works on a unit now
    logs/             what each worker did, one line of JSON an event
    holders/          which commands work on the run now, and on which plan: all on the same
    samples/<digest>/ source, truth and mask of a planned sample, as editors and metrics see them, and the digests of these files
    scores/ report/   made from the units, and always makeable again

Every file and every unit is written under a temporary name, flushed and renamed: a reader sees nothing or all of it. A run at a URL is such a
folder of this machine and its mirror (`bench.store.mirror`).
"""

from __future__ import annotations

import hashlib
import io
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench import trust
from bench.errors import RunError, SpecError
from bench.store import claims, copies, holders
from bench.store.files import TEMPORARY, json_bytes, own, remove_folder, write_atomically
from bench.store.mirror import mirror_of
from bench.store.notes import Folder, notes_in
from bench.store.record import Record
from bench.store.shapes import Head, flaw_of_plan, read_as
from bench.store.units import Units

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.manifest import Manifest, Sample
    from bench.plan import Plan, SampleInfo
    from bench.spec import Spec

__all__ = ["Run"]

T = TypeVar("T")
MANY = 1000
PLAN, PLAN_OF_BEFORE = "plan.parquet", "plan.json"
OWN = frozenset({"claims", "finished", "holders", "logs", "samples", "scores", "units"})
"""Folders that a run at a URL may have before it has a plan."""
SECONDS_BETWEEN_TRIES = 0.5


class Run:
    """A run folder, shared by any number of processes that know nothing of each other.

    Who may do what:

    - Opening one writes nothing; `create` makes the skeleton. `begin`, `clean` and `discard` belong to the command that starts or
      continues the run; a worker claims, commits and reads; scoring and reports write below `scores/` and `report/` only.
    - `spec`, `plan` and `manifest` are read when they are first asked for and stay what they were, whatever another process writes.
    - A unit's folder appears whole, by a rename, and is never written to again: of two commits of one unit the first wins. Whoever reads a
      record may read its files; a packing by whomever only moves them (`kept` finds both forms).
    - A claim is a promise about time, not a lock: two workers can in rare races hold one, and then make the same unit twice.
    - Of a run at a URL `path` is the folder of this machine; claims and holders lie there alone, units and samples there and here. What is
      needed of other files is brought by `refresh` and sent by `share`. `mirror` is None where a run is a folder.
    - Methods may be called from several threads, except `begin`; each call stands for itself, and no handle stays open between calls.
    """

    def __init__(self, path: Path | str) -> None:
        self.mirror = mirror_of(path)
        self.path = Path(path) if self.mirror is None else self.mirror.folder
        self.units = self.path / "units"
        self.kept = Units(self.path)
        self.claims: Folder = self.path / "claims" if self.mirror is None else self.mirror.claims
        self.holders: Folder = self.path / "holders" if self.mirror is None else self.mirror.holders
        self.logs = self.path / "logs"
        self.scores = self.path / "scores"
        self.report = self.path / "report"

    def __repr__(self) -> str:
        return f"Run({self.name!r})"

    @property
    def name(self) -> str:
        """What a user calls it: its URL, or the path as it was given."""
        return str(self.path) if self.mirror is None else self.mirror.url

    @property
    def place(self) -> str:
        """Where other processes and machines find it: its URL, or the absolute path of the folder."""
        return str(self.path.resolve()) if self.mirror is None else self.mirror.url

    @classmethod
    def create(cls, path: Path | str) -> Run:
        """Make the folder, or adopt an existing run folder; any other folder with content is refused."""
        run = cls(path)
        if run.mirror is not None:
            run.refresh()
            if not run.plan_file.is_file() and run.mirror.objects.top() - OWN:
                raise RunError(f"{run.name} has content but is not a run (no plan): choose another with --out")
            run.mirror.objects.demand_claims()
            run.mirror.remember()
            run.units.mkdir(parents=True, exist_ok=True)
            return run
        if run.path.exists() and not run.path.is_dir():
            raise RunError(f"{run.path} is a file; a run needs a folder: choose another with --out")
        ours = run.units.is_dir() or run.plan_file.is_file()
        if run.path.is_dir() and any(run.path.iterdir()) and not ours:
            raise RunError(f"{run.path} has content but is not a run folder (no units/, no {PLAN}): choose another with --out")
        run.units.mkdir(parents=True, exist_ok=True)
        return run

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """The run at `path`; RunError where there is none."""
        run = cls(path)
        if run.mirror is not None:
            run.mirror.remember()
            run.refresh()
        missing = [name for name in ("spec.yaml", "manifest.json", run.plan_file.name) if not (run.path / name).is_file()]
        if missing:
            raise RunError(
                f"{run.name} is not a run folder: no {', '.join(missing)}; make one with `etabench run SPEC --out {run.name}`"
            )
        for name in ("units", "shards", "claims", "holders", "logs", "samples", "scores", "report"):
            run.own(run.path / name)
        return run

    @cached_property
    def spec(self) -> Spec:
        """The resolved spec. Raises RunError where it cannot be read."""
        from bench.spec import load_spec

        try:
            return load_spec(self.path / "spec.yaml")
        except SpecError as error:
            raise RunError(f"{error}; {self._anew}") from error

    @cached_property
    def plan(self) -> Plan:
        """What the spec asks for, unit by unit. Raises RunError where it cannot be read or is no plan."""
        from bench.store.plans import read_plan

        plan = read_plan(self.plan_file, self._anew)
        if flaw := flaw_of_plan(plan):
            raise RunError(f"{self.plan_file}: {flaw}; {self._anew}")
        return plan

    @property
    def plan_file(self) -> Path:
        """Where the plan is, or would be: `plan.parquet`, in runs of before `plan.json`."""
        new, old = self.path / PLAN, self.path / PLAN_OF_BEFORE
        return old if old.is_file() and not new.is_file() else new

    @property
    def head(self) -> Head:
        """The manifest as it was when the run was planned, without its rows. Raises RunError where that cannot be read."""
        return self.read("manifest.json", Head)

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest as it is now, where the spec says that it lies; it may have changed since the run was planned."""
        from bench.manifest import open_manifest

        return open_manifest(self.spec.manifest, self.plan.resolution, partial=self.spec.partial)

    @contextmanager
    def hold(self, spec: Spec, plan: Plan) -> Iterator[None]:
        """Keep the folder for one plan while the block runs; commands that work on the same plan may hold it too.

        The first of them removes the temporary files of commands that died.
        Raises RunError that names who holds it for another plan.
        """
        with holders.hold(self.path, self.holders, plan.digest(spec)):
            yield

    def sample(self, info: SampleInfo) -> Sample:
        """A planned sample, decoded: the run's own copy, or the manifest's, of which the run then keeps a copy.

        Raises RunError where the run has no whole copy and the manifest's is gone or is no longer what was planned.
        """
        return self._exchanged(info, lambda: copies.sample(self.path, info, lambda: self.manifest))

    def keep(self, info: SampleInfo) -> dict[str, Path]:
        """Where the run's copy of a planned sample is: `source` and, as far as the sample has them, `truth` and `mask`; made if need be.

        Raises RunError as `sample` does.
        """
        return self._exchanged(info, lambda: copies.keep(self.path, info, lambda: self.manifest))

    def _exchanged(self, info: SampleInfo, make: Callable[[], T]) -> T:
        return make() if self.mirror is None else self.mirror.files.exchange(f"samples/{info.digest[:24]}", copies.DIGESTS, make)

    def share_samples(self) -> None:
        """Send all planned samples that a run at a URL lacks: workers elsewhere may not have the manifest."""
        if self.mirror is not None:
            there = self.mirror.objects.listing("samples", deep=True)
            for info in self.plan.samples:
                folder = f"samples/{info.digest[:24]}"
                if f"{folder}/{copies.DIGESTS}" not in there:
                    if not (self.path / folder / copies.DIGESTS).is_file():
                        remove_folder(self.path / folder)
                    copies.keep(self.path, info, lambda: self.manifest)
                    self.mirror.files.offer(folder, copies.DIGESTS)

    def refresh(self, folder: str = "", *, deep: bool = False) -> None:
        """Bring what other machines wrote into a folder of the run, into those below it too if `deep`."""
        if self.mirror is not None:
            self.mirror.files.pull(folder, deep=deep)

    def share(self, folder: str = "", *, deep: bool = False) -> None:
        """Send what was written into a folder of the run, into those below it too if `deep`."""
        if self.mirror is not None:
            self.mirror.files.push(folder, deep=deep)

    @contextmanager
    def alone(self, folder: str, seconds: float) -> Iterator[None]:
        """Be the only one of all machines that writes to a folder while the block runs: `refresh` before, `share` after it. Among the
        processes that share a file system a lock of theirs does that. Raises TimeoutError where another stays for so many seconds.
        """
        if self.mirror is None:
            yield
            return
        until = time.monotonic() + seconds
        while (claim := claims.take(self.mirror.claims / f".{folder}")) is None:
            if time.monotonic() > until:
                raise TimeoutError
            time.sleep(SECONDS_BETWEEN_TRIES)
        with claim:
            self.refresh(folder)
            yield
            self.share(folder)

    def settle(self, keys: Iterable[str]) -> None:
        """Send those of the units `keys` that this machine finished for a run at a URL and could not send."""
        if self.mirror is not None:
            for key in self.mirror.unsent(keys):
                if (record := self.record(key)) is not None:
                    self.mirror.give(record)

    def begin(self, spec: Spec, plan: Plan, manifest: Manifest, given: bytes = b"") -> None:
        """Write what is to be done: the resolved spec (and the text it was `given` as), the manifest's head, and the plan.

        The code that the spec names is let in: who begins a run has given or trusted its spec.
        """
        import yaml

        from bench.store.plans import write_plan

        text = yaml.safe_dump(spec.resolved(), sort_keys=False, allow_unicode=True)
        write_atomically(self.path / "spec.yaml", text.encode())
        if given:
            write_atomically(self.path / "spec.given.yaml", given)
        head = Head(manifest.name, manifest.content_hash, manifest.policy, tuple(manifest.ids), manifest.about)
        self.write_json("manifest.json", asdict(head))
        write_plan(self.path / PLAN, plan)
        (self.path / PLAN_OF_BEFORE).unlink(missing_ok=True)
        self.share()
        trust.let_in(trust.code_of_spec(spec))
        self.__dict__.update(spec=spec, plan=plan, manifest=manifest)

    def read(self, name: str, shape: type[T], advice: str = "") -> T:
        """The content of a JSON file of the run as `shape`; RunError with `advice` where it is absent, damaged or of another shape."""
        return read_as(self.path / name, shape, advice or self._anew)

    @property
    def _anew(self) -> str:
        return f"`etabench run SPEC --out {self.name}` writes it anew and keeps what is finished"

    def own(self, path: Path) -> Path:
        """A path of the run, if it stays one when links are followed; RunError that names it otherwise."""
        return own(self.path, path)

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file of the run, atomically and without NaN."""
        write_atomically(self.path / name, json_bytes(content))
        if self.mirror is not None:
            self.mirror.files.send(name)

    def remove_file(self, path: Path) -> None:
        """Remove a file of the run beside its units, here and at a URL there."""
        path.unlink(missing_ok=True)
        if self.mirror is not None:
            self.mirror.objects.delete([path.relative_to(self.path).as_posix()])

    def record(self, key: str) -> Record | None:
        """The record of a unit, or None while it has none (or an unsound one, which the next run replaces)."""
        if self.mirror is not None:
            self.mirror.fetch([key])
        return self.kept.record(key)

    def records(self, keys: Iterable[str]) -> Iterator[Record]:
        """Records of those of `keys` that have one. Of many keys all that are there are listed, which is cheaper than to ask for each."""
        asked = list(keys)
        if self.mirror is not None:
            self.mirror.fetch(asked)
        if len(asked) > MANY:
            there = self.kept.keys()
            asked = [key for key in asked if key in there]
        for key in asked:
            if (record := self.record(key)) is not None:
                yield record

    def finished(self, key: str) -> bool:
        """Whether a unit has a record; of a run at a URL as it was a moment ago, and without reading it."""
        return key in self.mirror.marks() if self.mirror is not None else self.record(key) is not None

    def order(self, units: Mapping[str, T], worker: str) -> list[T]:
        """Units by key in the order in which a worker looks at them: of a run at a URL every worker begins at another, since to be refused a
        claim takes as long there as to get one."""
        found, start = list(units.values()), 0
        if self.mirror is not None and found:
            start = int(hashlib.sha256(worker.encode()).hexdigest(), 16) % len(found)
        return found[start:] + found[:start]

    def tell(self, log: Path, *, last: bool = False) -> None:
        """Let others read a worker's log: of a run at a URL now and then, and for the `last` time."""
        if self.mirror is not None:
            self.mirror.files.tell(log, last=last)

    def claim(self, key: str, worker: str = "") -> claims.Claim | None:
        """Claim a unit, or None while someone else works on it. The claim knows how many workers died over the unit."""
        if self.mirror is None:
            return claims.take(self.claims / key, worker=worker)
        claim = None if self.mirror.busy(key) else claims.take(self.claims / key, worker=worker)
        if claim is not None and self.mirror.adopt(key):
            record = self.record(key)
            self.discard(key) if record is None else self.mirror.mark(record)
        return claim

    def deaths(self, key: str) -> int:
        """How many workers died in a row over a unit that has no record yet, as far as its claim tells."""
        if self.mirror is not None and not self.mirror.noted(key):
            return 0
        return claims.deaths(self.claims / key).count

    def commit(self, record: Record, files: Mapping[str, bytes] | None = None) -> None:
        """Write a unit's folder (record and `files` by name) and rename it into place; of two commits the first wins."""
        if self.kept.commit(record, files or {}, lambda: self.record(record.key) is not None) and self.mirror is not None:
            self.mirror.give(record)

    def picture(self, record: Record, file: str) -> Path:
        """The path of a picture of a unit, which is in the folder of this machine then; of a packed unit that of a copy, made if need be. It is
        not there where the picture is gone."""
        self.bring([record])
        return self.own(self.kept.path(record.key, file))

    def edit_path(self, record: Record, index: int) -> Path:
        """The path of the unit's `index`-th edit, as `picture` gives it."""
        return self.picture(record, record.edits[index].file)

    def read_edit(self, record: Record, index: int) -> NDArray[np.uint8]:
        """The edit as uint8 (H, W, 3); RunError where the file is gone or differs from its record."""
        import numpy as np
        from PIL import Image

        data = self.edit_bytes(record, index)
        where = self.kept.where(record.key, record.edits[index].file)
        if data is None:
            raise RunError(f"{where} is gone or differs from its record; `etabench run` on the folder makes it anew")
        try:
            with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
                return np.asarray(picture.convert("RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise RunError(f"{where} cannot be decoded, though it is what its record says; {self.kept.remedy(where)}") from error

    def damaged(self, record: Record) -> Path | None:
        """The first picture of a unit that is gone or, if it is an edit, differs from its record (of a packed unit the shard); None where
        all is as it was committed.

        Reads every byte of the edits and decodes none. Pictures of a run at a URL are looked at once they were brought.
        """
        if self.mirror is not None and not self.mirror.has_pictures(record):
            return None
        wrong = (edit.file for index, edit in enumerate(record.edits) if self.edit_bytes(record, index) is None)
        gone = (name for name in record.pictures.values() if not self.kept.has(record.key, name))
        first = next(chain(wrong, gone), None)
        return None if first is None else self.kept.where(record.key, first)

    def bring(self, records: Iterable[Record]) -> None:
        """Have the pictures of units in the folder of this machine."""
        if self.mirror is not None:
            self.mirror.bring(records)

    def edit_bytes(self, record: Record, index: int) -> bytes | None:
        """The file of an edit; None where it is gone, lies outside the run, is no PNG, or is not the one that was committed."""
        self.bring([record])
        try:
            data = self.kept.read(record.key, record.edits[index].file)
        except (OSError, RunError):
            return None
        return data if data.startswith(b"\x89PNG") and hashlib.sha256(data).hexdigest() == record.edits[index].sha256 else None

    def discard(self, *keys: str) -> None:
        """Forget units, so that they are made anew."""
        if self.mirror is None:
            self.kept.discard(*keys)
        else:
            for key in keys:
                self.mirror.discard(key)

    def clean(self) -> None:
        """Remove what dead workers left: temporary folders and void claims. What a live worker holds stays, and so does word of a death
        over a unit without a record: who takes that unit next must know.
        """
        for place, *_ in notes_in(self.claims, anew=True, hidden=True):
            if claims.is_void(place) or (claims.holder(place) is None and self.record(place.name) is not None):
                claims.remove(place)
        for path in list(self.units.glob(f"{TEMPORARY}*")):
            key = path.name.removeprefix(TEMPORARY).rpartition("-")[0]
            if claims.holder(self.claims / key) is None:
                shutil.rmtree(path, ignore_errors=True)
        for path in self.path.glob(f"samples/*/{TEMPORARY}*"):
            with suppress(FileNotFoundError):  # a worker may be writing it
                if time.time() - path.stat().st_mtime > claims.LEASE_SECONDS:
                    path.unlink()
