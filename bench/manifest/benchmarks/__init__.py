"""Published benchmarks, one file a set: `manifest: {benchmark: pie-bench, root: PATH}`.

`base` has the contract, `layout` what the files share. A new set is one file here, which is found by its place, and a fixture in
`tests/bench/manifest/benchmarks`.
"""

from __future__ import annotations

import inspect
import pkgutil
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

from bench.errors import ManifestError
from bench.manifest.benchmarks.base import Benchmark, Card, Copy
from bench.manifest.benchmarks.layout import STANDS_IN
from bench.manifest.pictures import PictureFile
from bench.manifest.rows import RawRow, Source
from bench.manifest.tables import hub_caches
from bench.spec import MANIFEST_FIELDS, ManifestRef
from bench.suggest import did_you_mean
from editors.toolbox.files import expanded, find_file

__all__ = ["Benchmark", "Card", "benchmarks", "on_hub", "read_benchmark"]


@cache
def benchmarks() -> dict[str, Benchmark]:
    """All sets by name."""
    modules = [import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    members = [value for module in modules for value in vars(module).values()]
    own = {each for each in members if inspect.isclass(each) and issubclass(each, Benchmark) and "name" in vars(each)}
    return {each.name: each() for each in sorted(own, key=lambda each: each.name)}


def read_benchmark(ref: ManifestRef, *, partial: bool = False) -> Source:
    """The rows of a published set, counted against its card; a copy with fewer is refused unless `partial`.

    Raises ManifestError where the set, the split or the folder is not there, or holds another number of rows or pictures.
    """
    known = benchmarks()
    name = ref.benchmark or ""
    if name not in known:
        raise ManifestError(f"no benchmark '{name}'; {did_you_mean(name, known)}; `etabench list manifests` shows all")
    benchmark = known[name]
    copy = _copy(ref, benchmark.card)
    rows = [RawRow(number, values) for number, values in enumerate(benchmark.rows(copy), 1)]
    place = str(copy.root or copy.ref.hub)
    about = _count(benchmark.card, copy, rows, place, partial)
    roots = (copy.root,) if copy.root else hub_caches()
    columns = {ours: benchmark.card.fields.get(ours, ours) for ours in MANIFEST_FIELDS}
    return Source(
        name,
        place,
        "row",
        columns,
        rows,
        roots,
        absolute_paths=True,
        strip_brackets=benchmark.strip_brackets,
        stands_in=_stands_in(benchmark.card, copy.split),
        about=about,
    )


def on_hub(ref: ManifestRef) -> ManifestRef:
    """The reference with the id of the data set on the hub, where it names a benchmark that is read from there."""
    known = benchmarks().get(ref.benchmark or "")
    hub = known.card.hub_of(ref.split) if known and ref.root is None else ""
    return ref.model_copy(update={"hub": hub}) if hub else ref


def _copy(ref: ManifestRef, card: Card) -> Copy:
    split = ref.split or next(iter(card.splits))
    if split not in card.splits:
        raise ManifestError(f"{ref.benchmark}: no split '{split}'; it has {', '.join(card.splits)}")
    if ref.root is None:
        if not card.hub_of(split):
            raise ManifestError(f"{ref.benchmark}: give root, the folder of your copy; it is to be had from {card.where}")
        return Copy(on_hub(ref), split, None)
    root = expanded(ref.root)
    if not root.is_dir():
        what = "a file" if root.is_file() else "no such folder"
        raise ManifestError(f"{root}: {what}; root is the folder of the unpacked copy of {ref.benchmark}, from {card.where}")
    return Copy(ref, split, root)


def _count(card: Card, copy: Copy, rows: list[RawRow], place: str, partial: bool) -> str:
    """How many rows and pictures were found and expected. Raises ManifestError where these differ and not by a wish."""
    expected = card.splits[copy.split]
    pictures = {_name(row.values.get("image")) for row in rows}
    found = {"rows": (len(rows), expected.rows), "pictures": (len(pictures), expected.pictures)}
    if None in pictures:
        del found["pictures"]
    for what, (here, whole) in found.items():
        if whole is not None and (here > whole or (here < whole and not partial)):
            advice = "set limit to take what is there" if here < whole else "another version of the set?"
            raise ManifestError(f"{place}: {copy.ref.benchmark} {copy.split} has {whole} {what}, found {here}; {advice}")
    if copy.root and not partial:
        _check_unpacked(copy.root, rows, place)
    words = [f"{here} of {whole or 'an unknown number of'} {what}" for what, (here, whole) in found.items()]
    return f"{card.title}, {copy.split}: {', '.join(words)}; {card.licence}"


def _check_unpacked(root: Path, rows: list[RawRow], place: str) -> None:
    """Raises ManifestError that counts the pictures which rows name by path and which are not there."""
    named = [row.values.get(field) for row in rows for field in ("image", "mask", "truth")]
    files = [each for each in dict.fromkeys(_path(root, picture) for picture in named) if each]
    gone = [file for file in files if not file.is_file()]
    if gone:
        first = gone[0].relative_to(root) if gone[0].is_relative_to(root) else gone[0]
        raise ManifestError(
            f"{place}: expected {len(files)} picture files, found {len(files) - len(gone)}; {first} is the first that is not there; "
            "is the copy unpacked whole?"
        )


def _path(root: Path, picture: object) -> Path | None:
    """Where a picture that is given by its path lies; None for one whose path is no path, which is said of its row."""
    if isinstance(picture, PictureFile):
        return picture.path
    with suppress(OSError, ValueError, RuntimeError):
        return find_file(root, picture) if isinstance(picture, str) and picture else None
    return None


def _stands_in(card: Card, split: str) -> bool:
    """Whether the card says that the instruction is the target text of this split; a card may say it of some, `dev: ...`."""
    words = card.fields.get("target_text", "")
    own = words.partition(f"{split}: ")[2].partition(";")[0] if any(f"{each}: " in words for each in card.splits) else words
    return STANDS_IN in own


def _name(picture: object) -> str | None:
    """What tells source pictures apart without reading them; None for bytes in a table."""
    if isinstance(picture, PictureFile):
        return str(picture.path) if picture.path else None
    return str(picture)
