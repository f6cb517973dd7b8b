"""Edits that others released, from their own folders into a run of `folder` units.

A `Layout` says where the authors of a set, or its official scorer, put the edit of a sample. Everything is looked for before anything is
made: what is missing and what is there beside it is one report, and only a whole delivery is taken unasked. TEdBench++ has no layout:
how the files of its `LEdits++/` are named was not seen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from bench.errors import EtabenchError, RunError
from bench.manifest.pictures import PictureFile, read_rgb
from bench.store import Run, png_bytes, write_atomically
from bench.suggest import did_you_mean
from editors.toolbox.files import expanded, find_file, text_of

if TYPE_CHECKING:
    from bench.manifest import Manifest
    from bench.manifest.rows import SampleRow
    from bench.spec import Spec

__all__ = ["LAYOUTS", "Delivered", "Layout", "check_some", "delivered", "spec_of_import", "stage"]

SIDE = 512
"""Pixels on a side of the last picture of a strip."""
SHOWN = 10
"""Names of each kind that a report shows."""
FOLDER, NOTE = "imported", "import.json"
"""Where a run keeps the pictures as they were given, and what it says of them."""


@dataclass(frozen=True)
class Layout:
    """Where released edits of a set lie.

    `place` gives the path of a sample's edit in the folder, with the split of the set in hand; `beside` are patterns of what else its
    authors put there and what is no edit of this split. `size` and `fit` bring sources and edits to one grid as the published scorer does;
    no size is the source's own. `strip`: a picture that is not square is a row of pictures, of which the last 512 columns (and rows) are
    the edit.
    """

    name: str
    title: str
    place: Callable[[SampleRow, str], str]
    beside: Callable[[str], tuple[str, ...]] = lambda split: ()
    benchmark: str = field(kw_only=True)
    """As `bench.manifest.benchmarks` knows it."""
    by_file: bool = False
    """Whether edits are named after the files of the set, which a copy tells and the hub does not."""
    size: int | None = None
    fit: str = "squash"
    strip: bool = False
    chain: str = "truth"
    """`own` where later turns were made from the method's own pictures."""
    metrics: tuple[str, ...] = ("psnr", "ssim")
    """Scored unless other ones are asked for; none of them needs weights."""


def _tedbench(row: SampleRow, split: str) -> str:
    return f"{PurePosixPath(row.image.label).name}-{row.raw_target_text.removesuffix('.').replace(' ', '_')}.png"


def _magicbrush(row: SampleRow, split: str, kind: str = "inde") -> str:
    turn = (row.category or "").removeprefix("turn ")
    return f"{row.cluster}/{row.cluster}_{'' if turn == '1' else f'{kind}_'}{turn}.png"


def _brushnet(row: SampleRow, split: str) -> str:
    return row.image.label


_BRUSHNET: dict[str, Any] = {
    "place": _brushnet,
    "beside": lambda split: ("*_masked.jpg", "*_masked.png", "evaluation_result*.csv"),
    "size": SIDE,
    "metrics": ("brushbench_psnr", "brushbench_mse"),
}
_ALL = (
    Layout(
        "tedbench",
        "Imagic's edits beside TEdBench: <picture>-<text>.png",
        _tedbench,
        benchmark="tedbench",
        by_file=True,
        size=SIDE,
        fit="center-crop",
    ),
    Layout(
        "pie-bench",
        "a method's annotation_images: the paths of the set",
        lambda row, split: row.image.label.removeprefix("annotation_images/"),
        benchmark="pie-bench",
        size=SIDE,
        strip=True,
        metrics=("pie_bench_psnr", "pie_bench_mse", "pie_bench_ssim"),
    ),
    Layout(
        "magicbrush",
        "every turn from the true picture: <session>/<session>_1.png, <session>_inde_<turn>.png",
        _magicbrush,
        lambda split: ("*_iter_*",),
        benchmark="magicbrush",
        metrics=("l1_truth", "l2_truth"),
    ),
    Layout(
        "magicbrush-final-turn",
        "later turns from the method's own pictures: <session>/<session>_1.png, <session>_iter_<turn>.png",
        partial(_magicbrush, kind="iter"),
        lambda split: ("*_inde_*",),
        benchmark="magicbrush",
        chain="own",
        metrics=("l1_truth", "l2_truth"),
    ),
    Layout(
        "gedit-bench",
        "a model's folder: fullset/<task>/<language>/<key>.png",
        lambda row, split: f"fullset/{row.category}/{split}/{row.id}.png",
        lambda split: ("*_SRCIMG.png", f"fullset/*/{'cn' if split == 'en' else 'en'}/*"),
        benchmark="gedit-bench",
    ),
    Layout(
        "rise-bench",
        "a model's folder: images/<category>/<index>.png",
        lambda row, split: f"images/{(row.category or '').replace(' ', '_')}/{row.id}.png",
        benchmark="rise-bench",
    ),
    Layout("imgedit-bench", "a model's folder: <key>.png", lambda row, split: f"{row.id}.png", benchmark="imgedit-bench"),
    Layout("brushbench", "BrushNet's folder: the paths of the set", benchmark="brushbench", **_BRUSHNET),
    Layout("editbench", "BrushNet's folder: the paths of its repack of EditBench", benchmark="editbench", **_BRUSHNET),
)
LAYOUTS: Mapping[str, Layout] = {layout.name: layout for layout in _ALL}
"""By name."""


def layout_of(name: str) -> Layout:
    """Raises EtabenchError where there is none of that name."""
    if name not in LAYOUTS:
        raise EtabenchError(f"no layout '{name}'; {did_you_mean(name, LAYOUTS)}")
    return LAYOUTS[name]


def spec_of_import(
    layout: Layout, root: Path | None, run: Path, *, split: str = "", label: str = "", overrides: Sequence[str] = ()
) -> Spec:
    """The spec of the run in the folder `run`: the editor `folder` on the set in `root`, under its overrides. Raises SpecError."""
    from bench.spec.load import spec_of

    if layout.by_file and root is None:
        raise EtabenchError(f"{layout.name}: give --root, the folder of your copy")
    manifest: dict[str, Any] = {"benchmark": layout.benchmark, "fit": layout.fit} | ({"size": layout.size} if layout.size else {})
    manifest |= ({"split": split} if split else {}) | ({"root": str(root)} if root else {})
    params = {"path": str(run.resolve() / FOLDER), "pattern": "{sample_id}.*", "fit": layout.fit}
    raw = {
        "name": f"{layout.name}-{label or 'imported'}",
        "description": layout.title,
        "manifest": manifest,
        "device": "cpu",
        "chain": layout.chain,
        "editors": [{"name": "folder", "label": label or "imported", "params": params}],
        "metrics": list(layout.metrics),
    }
    return spec_of(raw, Path.cwd(), overrides, f"import {layout.name}")


@dataclass(frozen=True)
class Delivered:
    """What lies in a folder of released edits, beside what the set has."""

    folder: Path
    found: Mapping[str, Path]
    """Sample id to file."""
    missing: Mapping[str, str]
    """Sample id to the path that was looked for."""
    extra: tuple[str, ...] = field(default=())
    """Paths that belong to no sample; hidden files and what a layout knows to lie there are not among them."""

    @property
    def whole(self) -> bool:
        """Whether every sample has an edit and nothing else is there."""
        return not self.missing and not self.extra

    @cached_property
    def summary(self) -> str:
        """The counts, in one line."""
        every = len(self.found) + len(self.missing)
        return f"{self.folder}: {len(self.found)} of {every} edits, {len(self.missing)} missing, {len(self.extra)} extra"

    def lines(self, most: int | None = SHOWN) -> Iterator[str]:
        """The report: the counts, and the first `most` names of each kind, or all."""
        yield self.summary
        kinds = {
            "missing": [f"{path} (sample '{sample}')" for sample, path in self.missing.items()],
            "extra": list(self.extra),
        }
        for kind, names in kinds.items():
            yield from (f"{kind}: {name}" for name in names[:most])
            if most is not None and len(names) > most:
                yield f"{kind}: and {len(names) - most} more"


def delivered(layout: Layout, folder: Path, spec: Spec, manifest: Manifest) -> Delivered:
    """The released edits of the samples that the spec asks for; what belongs to other samples of the set is not extra.

    Raises RunError where there is no such folder, or a path of the set leaves it.
    """
    folder = expanded(folder)
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder; give the one that holds {layout.title}")
    split = _split(layout, spec)
    places = {row.id: _inside(layout.place(row, split), row.place) for row in manifest.rows}
    asked = _asked(spec, manifest)
    files = {sample: find_file(folder, place) for sample, place in places.items()}
    known = set(files.values())
    extra = [
        text_of(file.relative_to(folder).as_posix()) for file in sorted(folder.rglob("*")) if file.is_file() and file not in known
    ]
    return Delivered(
        folder,
        found={sample: files[sample] for sample in asked if files[sample].is_file()},
        missing={sample: places[sample] for sample in asked if not files[sample].is_file()},
        extra=tuple(name for name in extra if not _known_beside(name, layout.beside(split))),
    )


def check_some(layout: Layout, found: Delivered) -> None:
    """Raise RunError where the folder holds no edit at all: it is another one."""
    if not found.found:
        raise RunError(f"{found.summary}; is it the folder that holds {layout.title}?")


def _split(layout: Layout, spec: Spec) -> str:
    from bench.manifest.benchmarks import benchmarks

    return spec.manifest.split or next(iter(benchmarks()[layout.benchmark].card.splits))


def _asked(spec: Spec, manifest: Manifest) -> list[str]:
    """The ids of the samples that a plan of the spec has."""
    chosen = manifest.ids if spec.samples is None else spec.samples
    return list(chosen[: spec.limit])


def _inside(place: str, row: str) -> str:
    """The path, which stays in its folder. Raises RunError."""
    if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
        raise RunError(f"{row}: its edit would be looked for at '{place}', outside the folder; mend the row")
    return place


def _known_beside(name: str, patterns: Sequence[str]) -> bool:
    hidden = any(part.startswith(".") for part in PurePosixPath(name).parts)
    return hidden or any(fnmatchcase(name, pattern) for pattern in patterns)


def stage(layout: Layout, found: Delivered, run: Run) -> None:
    """Copy the edits into the run's folder, named by their samples, and note where they are from.

    Raises RunError where the run holds something else, nothing was found, or a picture is no strip of the layout.
    """
    note = {"layout": layout.name, "from": text_of(str(found.folder.resolve()))}
    before = run.path / NOTE
    if run.plan_file.is_file() and not before.is_file():
        raise RunError(f"{run.path} is a run that was not imported; choose another --out")
    if before.is_file() and _note(before) != note:
        raise RunError(f"{run.path} holds edits of another import ({before}); choose another --out")
    check_some(layout, found)
    target = run.path / FOLDER
    names = {sample: f"{_inside(sample, f'sample {sample!r}')}{file.suffix or '.png'}" for sample, file in found.found.items()}
    for sample, file in found.found.items():
        write_atomically(target / names[sample], _picture(layout, file))
    for old in [each for each in target.rglob("*") if each.is_file()]:
        if old.relative_to(target).as_posix() not in names.values():
            old.unlink()
    missing = {"missing": dict(found.missing), "extra": list(found.extra)}
    run.write_json(NOTE, note | {"edits": len(found.found)} | missing)


def _note(file: Path) -> dict[str, str]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {key: content[key] for key in ("layout", "from")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{file}: cannot be read: {error}; remove it, or choose another --out") from error


def _picture(layout: Layout, file: Path) -> bytes:
    """The file's bytes, or of a strip its last picture as PNG."""
    picture = PictureFile(text_of(str(file)), path=file)
    if not layout.strip:
        return picture.read()
    pixels = read_rgb(picture)
    height, width = pixels.shape[:2]
    if height == width:
        return picture.read()
    if min(height, width) < SIDE:
        raise RunError(f"{file}: expected a square or a strip of {SIDE}x{SIDE} pictures, got {width}x{height}")
    return png_bytes(pixels[-SIDE:, -SIDE:])
