"""What an editor gave or raised, in the form that a record has."""

from __future__ import annotations

import hashlib
import math
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from bench.errors import EtabenchError, message_of

__all__ = ["check_edits", "encodable", "file_names", "plain", "reason_of"]

LONGEST_NAME = 120
"""Bytes of a picture's file name, of the 255 that file systems take."""
LONGEST_TRACEBACK = 20_000


def check_edits(edits: Sequence[Any], values: Sequence[float], shape: tuple[int, ...]) -> None:
    """Raise ValueError where edits are not one picture for each knob value, uint8 of the `shape` of the source."""
    if len(edits) != len(values):
        raise ValueError(f"render gave {len(edits)} images for {len(values)} knob values")
    for value, edit in zip(values, edits, strict=True):
        if edit is None:
            continue
        if not isinstance(edit, np.ndarray) or edit.dtype != np.uint8 or edit.shape != shape:
            got = f"{edit.dtype} {edit.shape}" if isinstance(edit, np.ndarray) else type(edit).__name__
            raise ValueError(f"the edit at knob value {value:g} is {got}, expected uint8 {shape} like the source")


def reason_of(error: BaseException) -> dict[str, str]:
    """What a record says of a failure; of one that nobody raised on purpose where it happened, too."""
    from editors.task import EditorError

    text = message_of(error)[:500]
    if isinstance(error, SystemExit):
        text = f"the editor called for an exit ({text})"
    reason = {"type": type(error).__name__, "message": text}
    if isinstance(error, EditorError | EtabenchError):
        return reason
    return reason | {"traceback": encodable("".join(traceback.format_exception(error)))[-LONGEST_TRACEBACK:]}


def plain(value: Any, where: str) -> Any:
    """A value as JSON has it: mappings, sequences and arrays however deep, paths and strange letters as text, NaN and infinity too.

    Raises TypeError for anything else, naming `where` it stands.
    """
    item = value.tolist() if hasattr(value, "tolist") else value
    if item is None or isinstance(item, bool | int):
        return item
    if isinstance(item, float):
        return item if math.isfinite(item) else str(item)
    if isinstance(item, str | PurePath):
        return encodable(str(item))
    if isinstance(item, Mapping):
        return {encodable(str(name)): plain(each, f"{where}.{name}") for name, each in item.items()}
    if isinstance(item, list | tuple | set | frozenset):
        return [plain(each, where) for each in item]
    raise TypeError(f"{where}: expected text, a number, a list or a mapping, got {type(item).__name__}")


def encodable(text: str) -> str:
    """The text with what UTF-8 cannot hold escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def file_names(names: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """A file name for each picture: like its name as far as file systems go, short, and another than every other's, in any case."""
    used, files = {file.casefold() for file in taken}, dict[str, str]()
    for name in names:
        safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in encodable(name))
        if f"{safe}.png".casefold() in used or not safe or len(safe.encode()) > LONGEST_NAME:
            safe = f"{safe[: LONGEST_NAME // 8]}-{hashlib.sha256(encodable(name).encode()).hexdigest()[:12]}"
        files[name] = f"{safe}.png"
        used.add(f"{safe}.png".casefold())
    return files
