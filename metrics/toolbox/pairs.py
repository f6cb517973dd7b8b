"""Two pictures through one network, with the first of the pair computed once however many second ones it has.

The edits of a curve share their source. `compare_pairs` takes up to a batch of distinct sources through the network, compares all their
edits with them, and goes on; so it never holds more than two batches of features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.base import Image, MetricError
from metrics.networks.base import Maps
from metrics.networks.images import exact

__all__ = ["Maps", "compare_pairs"]

T = TypeVar("T")


def compare_pairs(
    encode: Callable[[list[Image]], Maps],
    compare: Callable[[Maps, Maps, list[int]], torch.Tensor],
    edits: Sequence[Image],
    sources: Sequence[Image],
    batch_size: int,
) -> NDArray[np.float64]:
    """`compare` for each edit and its source; 0 without a look at the network where both are the same pixels.

    The network sees full batches only, as `metrics.networks.images` says, of pictures of one shape.

    Args:
        encode: `batch_size` pictures of one shape to their features.
        compare: features of edits, features of their sources, and the rows these are; to (n,) distances, 0 for equal features.
        edits: n pictures.
        sources: what each is compared with; of one shape with it if `encode` does not resize.
        batch_size: rows per forward pass.

    Returns:
        float64 (n,).

    Raises:
        MetricError: the distance of a row is not finite.
    """
    result = np.zeros(len(edits), dtype=np.float64)
    groups: dict[tuple[tuple[int, ...], tuple[int, ...]], dict[int, list[int]]] = {}
    for row, (edit, source) in enumerate(zip(edits, sources, strict=True)):
        if not np.array_equal(edit, source):
            groups.setdefault((edit.shape, source.shape), {}).setdefault(id(source), []).append(row)
    for by_source in groups.values():
        members = list(by_source.values())
        for start in range(0, len(members), batch_size):
            chunk = members[start : start + batch_size]
            rows = [row for member in chunk for row in member]
            place = {row: number for number, member in enumerate(chunk) for row in member}
            with exact():
                anchors = encode([sources[member[0]] for member in _full(chunk, batch_size)])
                for first in range(0, len(rows), batch_size):
                    part = rows[first : first + batch_size]
                    filled = _full(part, batch_size)
                    chosen = [layer[[place[row] for row in filled]] for layer in anchors]
                    distances = compare(encode([edits[row] for row in filled]), chosen, filled)
                    result[part] = distances.double().cpu().numpy()[: len(part)]
    if not np.isfinite(result).all():
        broken = int(np.flatnonzero(~np.isfinite(result))[0])
        raise MetricError(f"row {broken}: the network's output is not finite; check the network's weights")
    return result


def _full(items: list[T], size: int) -> list[T]:
    return items + items[-1:] * (size - len(items))
