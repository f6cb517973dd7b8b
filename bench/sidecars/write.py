"""The file of a sidecar: written row by row, so that an interruption loses one; what is there is kept, edits of a person too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.errors import ManifestError, ModelError
from bench.manifest.pictures import PictureError, read_rgb
from bench.manifest.sidecar import FORM, digest_of, read_sidecar
from bench.progress import Progress, silent
from bench.store import png_bytes, write_atomically

if TYPE_CHECKING:
    from bench.manifest.manifest import Manifest
    from bench.manifest.rows import SampleRow
    from bench.sidecars.networks import Folder

__all__ = ["Writer", "Written", "write"]

TEXTS = ("source_text", "target_text", "source_class", "target_class", "instruction")


class Writer(Protocol):
    """What looks at a picture: `field` is what it gives of `bench.manifest.sidecar.FIELDS`, `by` the command, `prompt` what it was told."""

    field: str
    by: str
    folder: Folder
    prompt: str

    def __call__(self, picture: NDArray[np.uint8], **texts: str | None) -> str | NDArray[np.bool_]:
        """The value for a picture, uint8 (H, W, 3), of a sample with these texts. Raises ModelError where there is none."""


@dataclass(frozen=True)
class Written:
    """How many rows were written now, were there before, were not wanted because the samples have their own, and could not be made."""

    new: int
    kept: int
    own: int
    failed: Mapping[str, str]

    def __str__(self) -> str:
        said = [f"{self.new} written", f"{self.kept} kept", f"{self.own} samples have their own"]
        return ", ".join([*said, *([f"{len(self.failed)} without: {next(iter(self.failed.values()))}"] if self.failed else [])])


def write(writer: Writer, manifest: Manifest, file: Path, limit: int | None = None, progress: Progress = silent) -> Written:
    """Write what the first `limit` samples of a manifest lack into `file`; a sidecar that is there is continued if it is by the same
    network and prompt.

    Raises ManifestError where another sidecar or something else is there. A sample for which there is no value has no row.
    """
    head = {
        "sidecar": FORM,
        "field": writer.field,
        "by": writer.by,
        "model": writer.folder.name,
        "digest": writer.folder.digest,
        "prompt": writer.prompt,
        "manifest": manifest.name,
        "made_with": f"transformers {version('transformers')}",
    }
    there = _there(file, head)
    wanted = [row for row in manifest.rows[:limit] if getattr(row, writer.field) is None]
    todo = [row for row in wanted if row.id not in there]
    failed: dict[str, str] = {}
    if not there:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, _encoded(head))
    with progress(writer.by, len(todo)) as advance, file.open("ab") as stream:
        for row in todo:
            try:
                made = _row(writer, row, file)
            except (ModelError, PictureError) as error:
                failed[row.id] = f"sample '{row.id}': {error}"
            else:
                stream.write(_encoded(made))
                stream.flush()
            advance(1)
    return Written(len(todo) - len(failed), len(wanted) - len(todo), len(manifest.rows[:limit]) - len(wanted), failed)


def _there(file: Path, head: Mapping[str, Any]) -> set[str]:
    """Ids that a sidecar of this head has already."""
    if not file.exists():
        return set()
    _mend(file)
    before = read_sidecar(file)
    for key in ("field", "digest", "prompt"):
        if before.head.get(key) != head[key]:
            was, is_ = str(before.head.get(key))[:40], str(head[key])[:40]
            raise ManifestError(f"{file} is a sidecar of another {key} ({was}, now {is_}); choose another --out")
    return set(before.rows)


def _mend(file: Path) -> None:
    """Cut a last line that an interruption left half written; end one that a person left without its end."""
    content = file.read_bytes()
    last = content.rpartition(b"\n")[2]
    if last.strip():
        try:
            json.loads(last)
        except ValueError:
            write_atomically(file, content[: len(content) - len(last)])
        else:
            write_atomically(file, content + b"\n")


def _row(writer: Writer, row: SampleRow, file: Path) -> dict[str, Any]:
    texts = {name: getattr(row, name) for name in TEXTS}
    value = writer(read_rgb(row.image), **texts)
    if isinstance(value, str):
        if not value.strip():
            raise ModelError("the network says nothing")
        return {"id": row.id, "picture": digest_of(row.image.read()), writer.field: value, "written": digest_of(value.encode())}
    content = png_bytes(value)
    name = f"{file.stem}/{row.row:05d}.png"
    write_atomically(file.parent / name, content)
    return {"id": row.id, "picture": digest_of(row.image.read()), writer.field: name, "written": digest_of(content)}


def _encoded(row: Mapping[str, Any]) -> bytes:
    return (json.dumps(row, ensure_ascii=False) + "\n").encode()
