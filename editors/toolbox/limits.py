"""What a device computes at once, in what order it sums, and what the host sends it: batches that shrink where memory is out, gradients that
come out alike, copies that nobody waits for.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

__all__ = ["DECODED_PIXELS", "GUIDED_PIXELS", "TILE", "Limits", "fixed_order", "sent"]

DECODED_PIXELS = 2**20
"""Pixels that the VAE decodes in one call: four pictures of 512 x 512, one of 1,024 x 1,024; in float16 they take some 2 GiB."""

TILE = 1024
"""Side in pixels of the largest picture that the VAE encodes or decodes whole; a larger one is done in overlapping tiles of that side."""

GUIDED_PIXELS = 2**19
"""Pixels whose gradient runs through decoder and U-Net at once: two pictures of 512 x 512; in float16 they take some 14 GiB."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Limits:
    """How many items a network takes in one call: as many as asked for, and half as many each time the device's memory is out.

    What was found to fit holds until ``forget``, so that a unit's batches do not depend on the units before it.
    """

    def __init__(self) -> None:
        self._fits: dict[str, int] = {}

    def forget(self) -> None:
        """Try full batches again."""
        self._fits.clear()

    def facts(self) -> dict[str, str | float | bool]:
        """How many items were found to fit, by what they went through; nothing where memory was never out."""
        halved = ", ".join(f"{what} {size}" for what, size in sorted(self._fits.items()))
        return {"batch_halved_to": halved} if halved else {}

    def each(self, what: str, room: int, items: Sequence[_Item], work: Callable[[Sequence[_Item]], _Result]) -> list[_Result]:
        """``work`` on all items, in order, in the fewest equal parts of at most ``room``; its result for each part.

        Where the device's memory is out, the part is tried again in halves, which ``facts`` tells under ``what``; one item that does
        not fit is an error. So is any part where gradients are kept, because its halves would be kept together.
        """
        room = max(1, min(room, self._fits.get(what, room)))
        size = math.ceil(len(items) / max(1, math.ceil(len(items) / room)))
        done: list[_Result] = []
        start = 0
        while start < len(items):
            part = items[start : start + size]
            try:
                done.append(work(part))
                start += len(part)
                continue
            except torch.OutOfMemoryError:
                if len(part) == 1 or torch.is_grad_enabled():
                    raise
            # not before the error is gone, whose traceback holds what did not fit
            size = self._fits[what] = math.ceil(len(part) / 2)
            torch.cuda.empty_cache()
        return done

    def rows(self, what: str, room: int, work: Callable[..., Tensor], *columns: Tensor) -> Tensor:
        """``work`` on the rows of tensors of one length, as ``each`` does it; its results as one tensor."""

        def part(some: Sequence[int]) -> Tensor:
            return work(*(column[some[0] : some[-1] + 1] for column in columns))

        return torch.cat(self.each(what, room, range(len(columns[0])), part))


@contextlib.contextmanager
def fixed_order(device: torch.device) -> Iterator[None]:
    """Gradients within are summed in the same order each time, where the caller asked torch for deterministic algorithms.

    ``warn_only`` does not do that on CUDA: attention keeps a backward pass without an order (torch warns of it), and takes the other in
    strict mode alone. There an operator without a deterministic kernel is an error, so this is for code that has none.
    """
    lenient = torch.is_deterministic_algorithms_warn_only_enabled()
    if device.type != "cuda" or not torch.are_deterministic_algorithms_enabled() or not lenient:
        yield
        return
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(True, warn_only=True)


def sent(x: Tensor, device: torch.device) -> Tensor:
    """``x``, made on the host, on the device. A CUDA device is not waited for: pinned memory is copied when its turn comes."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)
