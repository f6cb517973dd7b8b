"""A folder of real pictures, sorted into classes by its subfolders: a reference of yours, where a benchmark has none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.errors import ScoreError
from bench.manifest.pictures import PictureFile
from editors.toolbox.files import expanded, text_of

__all__ = ["FolderPicture", "folder_pictures"]

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pnm", ".ppm", ".pgm"))
ADVICE = "give a folder of pictures, with a subfolder for each class, named as the samples' target_class"


@dataclass(frozen=True)
class FolderPicture:
    """A picture that is not decoded, and its class: the name of the subfolder that it lies in, at any depth; None beside them."""

    file: PictureFile
    label: str | None


def folder_pictures(folder: str | None) -> list[FolderPicture]:
    """Every picture below a folder, by path; files of other kinds and hidden ones are left alone.

    Raises ScoreError where no folder is named, there is none, or it holds no picture.
    """
    if folder is None:
        raise ScoreError(f"reference folder: none is named; {ADVICE}: --set reference.folder=PATH")
    root = expanded(folder)
    if not root.is_dir():
        raise ScoreError(f"reference folder {root}: no such folder; {ADVICE}")
    found = [_picture(path, path.relative_to(root)) for path in sorted(root.rglob("*")) if path.suffix.lower() in SUFFIXES]
    pictures = [each for each in found if each is not None]
    if not pictures:
        raise ScoreError(f"reference folder {root}: holds no picture; {ADVICE}")
    return pictures


def _picture(path: Path, place: Path) -> FolderPicture | None:
    if any(part.startswith(".") for part in place.parts) or not path.is_file():
        return None
    label = text_of(place.parts[0]) if len(place.parts) > 1 else None
    return FolderPicture(PictureFile(text_of(str(path)), path=path), label)
