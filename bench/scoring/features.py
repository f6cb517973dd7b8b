"""The feature store of a run: one row per (content of a picture or text, extractor), made once and kept in `scores/features/`.

    scores/features/<extractor>/<shard>.safetensors     `rows` float32 (n, d); in the header the names of the contents, and the SHA-256
                                                        of names and rows: a shard that is no longer what was written counts as none

Shards are written under a temporary name, renamed and never touched again, each by one process under a name of its own: an
interrupted scoring finds what it had, and of two processes that score one run each adds what it made. Scores are derived from the
store and can be made anew without a network.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bench.errors import ScoreError
from bench.scoring.edits import Edit, Job
from bench.store import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.store import Run

__all__ = ["FeatureStore", "Shelf", "extraction", "text_key"]

SECONDS_BETWEEN_SHARDS = 30.0
ROWS_PER_SHARD = 8192
SHARDS_IN_MEMORY = 2
"""Readers come in the order in which features are made."""


def text_key(text: str) -> str:
    """64 hex that name a text in the store."""
    return hashlib.sha256(b"text:" + text.encode()).hexdigest()


class FeatureStore:
    """The shelves of a run, one per extractor; extractors with equal keys share one."""

    def __init__(self, run: Run) -> None:
        self._run, self._folder = run, run.scores / "features"
        run.refresh("scores/features", deep=True)
        self._shelves: dict[str, Shelf] = {}

    def shelf(self, extractor: Hashable) -> Shelf:
        """The shelf of the extractor with this key, read on first use."""
        name = (
            extractor
            if isinstance(extractor, str) and extractor.isalnum()
            else hashlib.sha256(repr(extractor).encode()).hexdigest()
        )
        return self._shelves.setdefault(name, Shelf(self._folder / name[:16]))

    def save(self) -> None:
        """Write what no shard holds yet."""
        for shelf in self._shelves.values():
            shelf.save()
        self._run.share("scores/features", deep=True)


class Shelf:
    """Features by content, of one extractor. Those that a shard holds are read from it when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._width: int | None = None
        self._places: dict[str, tuple[Path, int]] = {}
        """Content to its shard and the row in it."""
        self._unsaved: dict[str, NDArray[Any]] = {}
        self._saved_at = time.monotonic()
        self._shard = lru_cache(maxsize=SHARDS_IN_MEMORY)(_rows_of)
        for shard in sorted(folder.glob("*.safetensors")):
            keys, width = _read(shard)
            if keys and self._width in (None, width):
                self._width = width
                self._places.update((key, (shard, row)) for row, key in enumerate(keys))

    def __contains__(self, key: str) -> bool:
        return key in self._places or key in self._unsaved

    def add(self, keys: Sequence[str], rows: NDArray[Any]) -> None:
        """Keep `rows` (n, d) under `keys`; now and then they go to the disk.

        Raises ScoreError where the extractor gave another number of rows, or of dimensions than before.
        """
        known = self._width
        if rows.ndim != 2 or len(rows) != len(keys) or known not in (None, rows.shape[1]):
            before = "" if known is None else f", {known} dimensions before"
            raise ScoreError(f"an extractor gave features of shape {rows.shape} for {len(keys)} inputs{before}")
        self._width = rows.shape[1]
        self._unsaved.update(zip(keys, rows, strict=True))
        if len(self._unsaved) >= ROWS_PER_SHARD or time.monotonic() - self._saved_at > SECONDS_BETWEEN_SHARDS:
            self.save()

    def fill(self, keys: Sequence[str], items: Sequence[Any], extract: Callable[[list[Any]], NDArray[Any]]) -> None:
        """Extract those of `items`, called `keys`, that are not known; each content once, all in one call."""
        lacking = {key: item for key, item in zip(keys, items, strict=True) if key not in self}
        if lacking:
            self.add(list(lacking), extract(list(lacking.values())))

    def rows(self, keys: Sequence[str | None]) -> NDArray[Any]:
        """Rows (n, d) in the order of `keys`; None gives a row of NaN. KeyError for a content that is not there."""
        import numpy as np

        found = np.full((len(keys), self._width or 1), np.nan, dtype=np.float32)
        packed: dict[Path, list[tuple[int, int]]] = {}
        for place, key in enumerate(keys):
            if key is None:
                continue
            if key in self._unsaved:
                found[place] = self._unsaved[key]
            else:
                shard, row = self._places[key]
                packed.setdefault(shard, []).append((place, row))
        for shard, pairs in packed.items():
            places, rows = zip(*pairs, strict=True)
            found[list(places)] = self._shard(shard)[list(rows)]
        return found

    def save(self) -> None:
        """Write what no shard holds yet."""
        import numpy as np
        from safetensors.numpy import save

        if self._unsaved:
            rows, keys = np.stack(list(self._unsaved.values())), json.dumps(list(self._unsaved))
            content = save({"rows": rows}, {"keys": keys, "sha256": _checksum(keys, rows)})
            shard = self._folder / f"{uuid.uuid4().hex[:16]}.safetensors"
            write_atomically(shard, content)
            self._places.update((key, (shard, row)) for row, key in enumerate(self._unsaved))
            self._unsaved = {}
        self._saved_at = time.monotonic()


def extraction(
    metric: str,
    store: FeatureStore,
    extractor: Hashable,
    extract: Callable[..., Any],
    edits: Iterable[Edit],
    *,
    every: Sequence[Edit],
) -> Job:
    """The job that puts the features of those `edits` into the store that it lacks, for a metric that looks at `every`; each content once."""
    shelf = store.shelf(extractor)
    first = {edit.content: edit.name for edit in reversed(every)}
    lacking = {edit.content for edit in edits if edit.content not in shelf}

    def take(found: Sequence[Edit]) -> None:
        shelf.fill([edit.content for edit in found], [edit.picture for edit in found], extract)

    return Job(metric, frozenset(first[content] for content in lacking), take, frozenset(first.values()))


def _checksum(keys: str, rows: NDArray[Any]) -> str:
    digest = hashlib.sha256(f"{keys}\n{rows.dtype.str}{rows.shape}\n".encode())
    digest.update(rows.tobytes())
    return digest.hexdigest()


def _read(shard: Path) -> tuple[list[str], int]:
    """The contents in a shard, and the dimensions of their features; none where it is damaged or has no checksum, since features can always
    be made again."""
    from safetensors import SafetensorError, safe_open

    try:
        if not shard.is_file():
            return [], 0
        with safe_open(shard, framework="numpy") as file:
            about, rows = file.metadata(), file.get_tensor("rows")
        keys = json.loads(about["keys"])
        if rows.ndim != 2 or about["sha256"] != _checksum(about["keys"], rows) or len(keys) != len(rows):
            return [], 0
        return keys, rows.shape[1]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return [], 0


def _rows_of(shard: Path) -> NDArray[Any]:
    """The rows of a shard that was sound. Raises ScoreError where it is gone since."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(shard, framework="numpy") as file:
            rows: NDArray[Any] = file.get_tensor("rows")
            return rows
    except (OSError, SafetensorError) as error:
        raise ScoreError(f"{shard} is gone or damaged since scoring began; score again") from error
