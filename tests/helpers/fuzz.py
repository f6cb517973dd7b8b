"""Files that a user hands over, damaged in every way that comes to mind: each is refused in one line, or read as something sound.

    python tests/helpers/fuzz.py --cases 10000 --seed 0

Whole files of each kind are damaged by hypothesis, byte by byte and value by value, and read by what reads them in a run. What comes of it is
an error of ours in one line, or content that holds what its kind promises; anything else is a defect: another exception, more than a minute,
more than 2 GB. A case that fails is made small and printed, and `--seed` makes it again.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import resource
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from fake_specs import ALL_METRICS, editor
from fixtures_manifest import encoded, picture, row, write_folder, write_parquet
from hypothesis import strategies as st
from made_votes import rating, vote
from served_study import small_study

from bench import api
from bench.analysis.baseline import write_baseline
from bench.analysis.baseline_file import read_baseline, save_baseline
from bench.analysis.check import check
from bench.bundles.layout import LISTING
from bench.bundles.pack import pack
from bench.bundles.verify import verify
from bench.commands.report import report_data
from bench.errors import EtabenchError
from bench.manifest import open_manifest
from bench.manifest.lint import lint
from bench.manifest.sidecar import digest_of
from bench.scoring.votes import ANSWERS, read_votes, votes_frame, write_votes
from bench.spec import ManifestRef, Spec, load_spec
from bench.store import Run
from bench.store.shapes import flaw_of_plan, flaw_of_record
from bench.workers.crew import Options
from editors.task import EditorError
from metrics.base import MetricError
from reports.data import ReportError

__all__ = ["Fuzz", "Target"]

OURS = (EtabenchError, EditorError, MetricError, ReportError)
SECONDS, BYTES = 60, 2 << 30
LONGEST = 4000
"""Letters of a message: two hostile names and a path fit into it, a file does not."""
ODD: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 3, 1.5, -0.0, 1e308, 10**30, -(2**63), math.nan, math.inf),
    *(
        "",
        " ",
        "x",
        "0",
        "nan",
        "1e999",
        "../x",
        "/etc/passwd",
        "C:x.png",
        "\x00",
        "a\nb",
        "\ud800",
        "\u202e",
        "=1+1",
        "é" * 5000,
    ),
    *([], {}, [[]], [None], [1, 1], {"": 1}, {"name": "copy"}, [[[[[[[[[]]]]]]]]]),
)
"""What may stand where something else is meant."""


@dataclass(frozen=True)
class Target:
    """A kind of file: a whole one at `file`, and who reads it."""

    name: str
    file: Path
    read: Callable[[], None]
    """Reads the file as a run would and asserts that what it accepts is sound."""


@dataclass
class Fuzz:
    """Whole files in `folder`, and how often each kind was refused."""

    folder: Path
    refused: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0

    def __post_init__(self) -> None:
        self.targets = {target.name: target for target in _targets(self.folder)}

    def attack(self, name: str, cases: int, seed: int) -> None:
        """Damage the file of a kind so many times; raises what a case raised that it should not have."""
        target = self.targets[name]
        whole = target.file.read_bytes()
        target.read()

        @hypothesis.seed(seed)
        @hypothesis.settings(max_examples=cases, database=None, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
        @hypothesis.given(_damaged(whole, target.file.suffix))
        def once(data: bytes) -> None:
            target.file.write_bytes(data)
            self._case(target)

        try:
            with _bounded_memory():
                once()
        finally:
            target.file.write_bytes(whole)

    def _case(self, target: Target) -> None:
        began = time.monotonic()
        try:
            with _bounded_time():
                target.read()
        except OURS as error:
            self.refused[target.name] += 1
            text = str(error)
            assert text.strip(), "says nothing"
            assert "\n" not in text, f"several lines: {text[:500]!r}"
            assert len(text) <= LONGEST, f"{len(text)} letters: {text[:500]!r}"
            text.encode()
        finally:
            self.slowest = max(self.slowest, time.monotonic() - began)


@contextmanager
def _bounded_time() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _bounded_memory() -> Iterator[None]:
    """This process may take so much more than it has: what asks for more gets a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


# How files are damaged


def _damaged(whole: bytes, suffix: str) -> st.SearchStrategy[bytes]:
    by_value = {".json": _json, ".yaml": _yaml, ".jsonl": _lines, ".parquet": _table, ".zip": _archive}
    kinds = [_bytes(whole)]
    if suffix in by_value:
        kinds += [by_value[suffix](whole)] * 3
    return st.one_of(kinds)


@st.composite
def _bytes(draw: st.DrawFn, whole: bytes) -> bytes:
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["cut", "flip", "insert", "remove", "repeat"])):
            case "cut":
                del data[place:]
            case "flip" if place < len(data):
                data[place] = draw(st.integers(0, 255))
            case "insert":
                data[place:place] = draw(
                    st.one_of(st.binary(max_size=8), st.sampled_from([b"\xff\xfe", b"[" * 20_000, b"\n", b"\x00"]))
                )
            case "remove":
                del data[place : place + draw(st.integers(1, 64))]
            case _:
                data[place:place] = data[place : place + draw(st.integers(1, 256))]
    return bytes(data)


def _places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inside:
        yield from _places(value, (*at, key))


@st.composite
def _tree(draw: st.DrawFn, whole: Any) -> Any:
    """A copy of nested lists and mappings in which some values are others."""
    tree = {"": json.loads(json.dumps(whole))}
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(tree[""], ("",)))
        *above, last = draw(st.sampled_from(places))
        inside: Any = tree
        for key in above:
            inside = inside[key]
        kind = draw(st.sampled_from(["replace", "replace", "remove", "repeat", "move", "deepen"]))
        if kind == "remove" and above:
            del inside[last]
        elif kind == "repeat" and isinstance(inside, list):
            inside.insert(last, inside[last])
        elif kind == "repeat" and above:
            inside[f"{last}{draw(st.sampled_from(['x', ' ', '_2']))}"] = inside[last]
        elif kind == "move":
            *path, end = draw(st.sampled_from(places))
            other: Any = tree
            for key in path:
                other = other[key]
            inside[last] = json.loads(json.dumps(other[end]))
        elif kind == "deepen":
            inside[last] = [inside[last]]
        else:
            inside[last] = draw(st.one_of(st.sampled_from(ODD), st.integers(), st.floats(), st.text(max_size=20)))
    return tree[""]


def _json(whole: bytes) -> st.SearchStrategy[bytes]:
    return _tree(json.loads(whole)).map(lambda tree: json.dumps(tree).encode())


def _yaml(whole: bytes) -> st.SearchStrategy[bytes]:
    return _tree(yaml.safe_load(whole)).map(lambda tree: yaml.safe_dump(tree, sort_keys=False).encode("utf-8", "surrogatepass"))


@st.composite
def _lines(draw: st.DrawFn, whole: bytes) -> bytes:
    tree = draw(_tree([json.loads(line) for line in whole.splitlines()]))
    return b"".join(json.dumps(line).encode() + b"\n" for line in (tree if isinstance(tree, list) else [tree]))


@st.composite
def _table(draw: st.DrawFn, whole: bytes) -> bytes:
    source = pq.read_table(io.BytesIO(whole))
    rows, meta = source.to_pylist(), source.schema.metadata
    names = source.column_names
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(names))
        place = draw(st.integers(0, len(rows) - 1)) if rows else 0
        match draw(st.sampled_from(["cell", "column", "drop", "rename", "repeat", "empty", "texts"])):
            case "cell" if rows:
                rows[place] = rows[place] | {name: draw(st.sampled_from(ODD[:29]))}
            case "column":
                value = draw(st.sampled_from(ODD))
                rows = [each | {name: value} for each in rows]
            case "drop":
                rows = [{key: value for key, value in each.items() if key != name} for each in rows]
            case "rename":
                rows = [{(f"{key}x" if key == name else key): value for key, value in each.items()} for each in rows]
            case "repeat" if rows:
                rows.insert(0, rows[place])
            case "empty":
                rows = []
            case _:
                rows = [each | {name: str(each.get(name))} for each in rows]
    try:
        table = pa.Table.from_pylist(rows, schema=None if rows else source.schema).replace_schema_metadata(meta)
    except (pa.ArrowException, OverflowError, UnicodeError):  # parquet cannot say this
        hypothesis.reject()
    buffer = io.BytesIO()
    try:
        pq.write_table(table, buffer)
    except pa.ArrowException:
        hypothesis.reject()
    return buffer.getvalue()


@st.composite
def _archive(draw: st.DrawFn, whole: bytes) -> bytes:
    """The bundle with another content of one file; half of the time the list of digests says so too."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    listing = LISTING
    name = draw(st.sampled_from(sorted(files)))
    data = draw(_damaged(files[name], Path(name).suffix))
    kept = draw(st.booleans())
    target = draw(st.sampled_from([name, name, name, name + "x", f"../{name}", f"/{name}", name.upper(), "spec.yaml"]))
    del files[name]
    files[target] = data
    if kept and listing in files and name != listing:
        head = json.loads(files[listing])
        head["files"].pop(name, None)
        head["files"][target] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        files[listing] = json.dumps(head).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for each, content in files.items():
            archive.writestr(each, content)
    return buffer.getvalue()


# What is damaged, and what is promised of that which is read


def _targets(folder: Path) -> Iterator[Target]:
    manifest = write_folder(folder / "manifest", [row(0), row(1)])
    content = {
        "name": "fuzzed",
        "manifest": {"path": str(manifest)},
        "device": "cpu",
        "editors": [editor("Fade"), editor("Unchanged")],
        "metrics": ALL_METRICS,
    }
    spec_file = folder / "spec.yaml"
    spec_file.write_text(yaml.safe_dump(content, sort_keys=False))
    run = api.run(Spec.model_validate(content), folder / "run", options=Options(executor="inline"))
    api.score(run)
    yield Target("spec", spec_file, lambda: _spec(spec_file))
    yield from _manifests(folder, manifest)
    yield from _run_files(run)
    yield from _others(folder, run)


def _spec(file: Path) -> None:
    spec = load_spec(file)
    assert spec.editors
    assert spec.seeds
    again = Spec.model_validate(yaml.safe_load(yaml.safe_dump(spec.resolved())))
    assert again == spec, "another spec when it is read again"
    if spec.manifest.path:
        api.plan(spec)


def _manifests(folder: Path, manifest: Path) -> Iterator[Target]:
    def read(ref: ManifestRef) -> None:
        lint(ref)
        opened = open_manifest(ref)
        assert len(set(opened.ids)) == len(opened.ids) > 0
        for index in range(len(opened.ids)):
            sample = opened.load(index)
            assert sample.target_text.strip()
            assert sample.image.dtype == np.uint8
            assert sample.image.ndim == 3
            assert sample.image.shape[2] == 3
            assert sample.mask is None or sample.mask.shape == sample.image.shape[:2]
            assert sample.truth is None or sample.truth.shape == sample.image.shape
            json.dumps([sample.id, sample.target_text, sample.source_text, sample.category]).encode()

    plain = ManifestRef(path=str(manifest))
    yield Target("manifest.jsonl", manifest / "metadata.jsonl", lambda: read(plain))
    yield Target("picture.png", manifest / "0.png", lambda: read(plain))
    yield Target("mask.png", manifest / "0-mask.png", lambda: read(plain))
    rows = [{"image": encoded(picture(i)), "id": f"s{i}", "target_text": f"a cat on hill {i}"} for i in range(2)]
    table = write_parquet(folder / "parquet" / "data.parquet", rows)
    yield Target("manifest.parquet", table, lambda: read(ManifestRef(path=str(table.parent))))
    head = {"sidecar": 1, "field": "source_text", "by": "caption", "model": "m", "digest": "d", "prompt": "p"}
    bare = write_folder(folder / "bare", [row(i, source_text=None) for i in range(2)])
    side = folder / "source_text.jsonl"
    told = [{"id": f"sample-{i}", "picture": digest_of((bare / f"{i}.png").read_bytes())} for i in range(2)]
    told = [line | {"source_text": "a horse", "written": digest_of(b"a horse")} for line in told]
    side.write_text("".join(json.dumps(line) + "\n" for line in (head, *told)))
    yield Target("sidecar.jsonl", side, lambda: read(ManifestRef.model_validate({"path": str(bare), "sidecar": str(side)})))


def _run_files(run: Run) -> Iterator[Target]:
    def plan() -> None:
        found = Run.open(run.path).plan
        assert not flaw_of_plan(found)
        assert json.loads(json.dumps(found.as_dict(), allow_nan=False))

    key = run.plan.units[0].key

    def record() -> None:
        opened = Run.open(run.path)
        if (found := opened.record(key)) is None:
            raise EtabenchError("no sound record")
        assert not flaw_of_record(found, key)
        for index in range(len(found.edits)):
            assert opened.read_edit(found, index).dtype == np.uint8

    def report() -> None:
        data = report_data(Run.open(run.path))
        for table in (data.leaderboard,):
            assert not table.empty

    yield Target("plan", run.path / "plan.json", plan)
    yield Target("record", run.units / key / "record.json", record)
    yield Target("edit.png", run.units / key / "000.png", record)
    for name in ("pairs.parquet", "sets.parquet", "set_pairs.parquet", "cards.json"):
        yield Target(f"scores/{name}", run.scores / name, report)
    for name in ("manifest.json", "environment.json", "spec.yaml"):
        yield Target(f"run/{name}", run.path / name, report)


def _others(folder: Path, run: Run) -> Iterator[Target]:
    file = folder / "baseline.json"
    other = api.run(run.spec.model_copy(update={"seeds": [1]}), folder / "other", options=Options(executor="inline"))
    api.score(other)
    write_baseline([run, other], {"again": run}, file)

    def compared() -> None:
        found = read_baseline(file)
        check(Run.open(run.path), found, "the baseline")
        save_baseline(folder / "again.json", found)
        again = read_baseline(folder / "again.json")
        assert again.pairs.keys() == found.pairs.keys()
        assert all(np.allclose(cell, again.pairs[key], rtol=1e-5, equal_nan=True) for key, cell in found.pairs.items())

    yield Target("baseline", file, compared)
    bundle = folder / "bundle.zip"
    pack(run, bundle, pictures=True)

    def verified() -> None:
        assert verify(bundle, units=1, draw=0, device="cpu").exit_code in (0, 1, 2)

    yield Target("bundle", bundle, verified)
    votes = folder / "votes"
    write_votes(votes, votes_frame([vote(), vote(rater="r2", answer="tie"), rating(), rating(rater="r2", score=0.5)]))

    def voted(table: Path) -> None:
        found = read_votes(table)
        asked = found[(found["question"] == "preference") & (found["failure"] == "")]
        assert asked["answer"].isin(ANSWERS).all()
        assert found["score"].dropna().between(0, 1).all()

    yield Target("votes.parquet", votes / "votes.parquet", lambda: voted(votes / "votes.parquet"))
    yield Target("votes.csv", votes / "votes.csv", lambda: voted(votes / "votes.csv"))
    study = small_study(folder / "study")

    def drawn() -> None:
        found = study.read()
        assert found.items
        for item in found.items:
            study.picture(item.source)

    yield Target("study", study.path / "study.json", drawn)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000, help="cases in all, shared among the kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one kind of file")
    given = parser.parse_args(arguments)
    failed = []
    with tempfile.TemporaryDirectory(prefix="etabench-fuzz-") as folder:
        fuzz = Fuzz(Path(folder))
        names = [name for name in fuzz.targets if given.only in (None, name)]
        each = math.ceil(given.cases / len(names))
        for name in names:
            began = time.monotonic()
            try:
                fuzz.attack(name, each, given.seed)
            except Exception as error:
                failed.append(name)
                shown = "\n".join([*traceback.format_exception(error)[-4:], *getattr(error, "__notes__", ())])
                print(f"{name}: " + "\n".join(line[:500] for line in shown.splitlines()[-30:]), flush=True)
            seconds = time.monotonic() - began
            print(f"{name}: {each} cases, {fuzz.refused[name]} refused, {seconds:.0f} s", flush=True)
        print(f"{each * len(names)} cases, the slowest {fuzz.slowest:.1f} s; failed: {', '.join(failed) or 'none'}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
