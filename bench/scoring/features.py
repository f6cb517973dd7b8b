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
    """Features by content, of one extractor."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: dict[str, NDArray[Any]] = {}
        self._unsaved: dict[str, NDArray[Any]] = {}
        self._saved_at = time.monotonic()
        for shard in sorted(folder.glob("*.safetensors")):
            found = _read(shard)
            if {row.shape for row in found.values()} <= {row.shape for row in list(self._rows.values())[:1] or found.values()}:
                self._rows.update(found)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def add(self, keys: Sequence[str], rows: NDArray[Any]) -> None:
        """Keep `rows` (n, d) under `keys`; now and then they go to the disk.

        Raises ScoreError where the extractor gave another number of rows, or of dimensions than before.
        """
        known = next(iter(self._rows.values()), None)
        if rows.ndim != 2 or len(rows) != len(keys) or (known is not None and rows.shape[1:] != known.shape):
            before = "" if known is None else f", {known.shape[0]} dimensions before"
            raise ScoreError(f"an extractor gave features of shape {rows.shape} for {len(keys)} inputs{before}")
        self._unsaved.update(zip(keys, rows, strict=True))
        self._rows.update(self._unsaved)
        if len(self._unsaved) >= ROWS_PER_SHARD or time.monotonic() - self._saved_at > SECONDS_BETWEEN_SHARDS:
            self.save()

    def fill(self, keys: Sequence[str], items: Sequence[Any], extract: Callable[[list[Any]], NDArray[Any]]) -> None:
        """Extract those of `items`, called `keys`, that are not known; each content once, all in one call."""
        lacking = {key: item for key, item in zip(keys, items, strict=True) if key not in self._rows}
        if lacking:
            self.add(list(lacking), extract(list(lacking.values())))

    def rows(self, keys: Sequence[str | None]) -> NDArray[Any]:
        """Rows (n, d) in the order of `keys`; None gives a row of NaN. KeyError for a content that is not there."""
        import numpy as np

        found = [None if key is None else self._rows[key] for key in keys]
        width = next((len(row) for row in self._rows.values()), 1)
        return np.stack([np.full(width, np.nan, dtype=np.float32) if row is None else row for row in found])

    def save(self) -> None:
        """Write what no shard holds yet."""
        import numpy as np
        from safetensors.numpy import save

        if self._unsaved:
            rows, keys = np.stack(list(self._unsaved.values())), json.dumps(list(self._unsaved))
            content = save({"rows": rows}, {"keys": keys, "sha256": _checksum(keys, rows)})
            write_atomically(self._folder / f"{uuid.uuid4().hex[:16]}.safetensors", content)
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


def _read(shard: Path) -> dict[str, NDArray[Any]]:
    """The rows of a shard; none where it is damaged or has no checksum, since features can always be made again."""
    from safetensors import SafetensorError, safe_open

    try:
        if not shard.is_file():
            return {}
        with safe_open(shard, framework="numpy") as file:
            about, rows = file.metadata(), file.get_tensor("rows")
        if rows.ndim != 2 or about["sha256"] != _checksum(about["keys"], rows):
            return {}
        return dict(zip(json.loads(about["keys"]), rows, strict=True))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return {}
