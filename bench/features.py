"""Features of pictures, made once per extractor and content, and kept in `scores/features/`."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bench.store import Run, write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FeatureStore"]

PICTURES_AT_A_TIME = 64


class FeatureStore:
    """Features by extractor and content key; metrics with equal extractors share them."""

    def __init__(self, run: Run) -> None:
        self._folder = run.scores / "features"
        self._kept: dict[str, dict[str, NDArray[Any]]] = {}
        self._changed: set[str] = set()

    def features(self, metric: Any, keys: Sequence[str], picture: Callable[[int], NDArray[Any]]) -> NDArray[Any]:
        """Rows (n, d) for the pictures called `keys`; `picture(i)` is asked for those not yet known."""
        import numpy as np

        name = hashlib.sha256(repr(metric.extractor).encode()).hexdigest()[:16]
        if name not in self._kept:
            self._kept[name] = self._read(name)
        kept = self._kept[name]
        lacking = [index for key, index in {key: index for index, key in enumerate(keys)}.items() if key not in kept]
        for start in range(0, len(lacking), PICTURES_AT_A_TIME):
            chunk = lacking[start : start + PICTURES_AT_A_TIME]
            made = metric.features([picture(index) for index in chunk])
            kept.update({keys[index]: row for index, row in zip(chunk, made, strict=True)})
            self._changed.add(name)
        return np.stack([kept[key] for key in keys])

    def save(self) -> None:
        """Write what is new, atomically."""
        import numpy as np

        for name in self._changed:
            buffer = io.BytesIO()
            np.savez(buffer, keys=np.array(list(self._kept[name])), rows=np.stack(list(self._kept[name].values())))
            write_atomically(self._folder / f"{name}.npz", buffer.getvalue())
        self._changed.clear()

    def _read(self, name: str) -> dict[str, NDArray[Any]]:
        import zipfile

        import numpy as np

        try:
            with np.load(self._folder / f"{name}.npz", allow_pickle=False) as kept:
                return dict(zip(kept["keys"].tolist(), kept["rows"], strict=True))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return {}
