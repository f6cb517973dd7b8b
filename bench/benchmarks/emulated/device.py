"""The card: a dispatch mode that carries out on the CPU what is asked of CUDA."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bench.benchmarks.emulated.kernels import Call, attention, computed, form_only, leaves, on_cuda
from bench.benchmarks.emulated.operators import (
    FIXED_WHERE_STRICT,
    MIXED,
    NATIVE,
    NEVER_WHERE_STRICT,
    NO_CPU_SCALARS,
    NO_FIXED_ORDER,
    RANDOM,
    WAITS,
)

__all__ = ["Card"]

OURS = ("editors", "metrics", "bench")
NOT_OURS = ("site-packages", "tests", "emulated")
"""Folders of the lines that can cause an event, and of those within them that cannot."""
MIXED_DEVICES = "Expected all tensors to be on the same device, but found at least two devices"


class Card(TorchDispatchMode):
    """See the package. ``events`` counts (kind, place), ``operators`` names."""

    def __init__(self, *, dry: bool = False) -> None:
        super().__init__()
        torch.utils.deterministic.fill_uninitialized_memory = False  # else device memory would be touched when it is reserved
        self.dry = dry
        self.events: Counter[tuple[str, str]] = Counter()
        self.operators: Counter[str] = Counter()

    def seen(self, kind: str) -> dict[str, int]:
        """How often each place caused an event whose kind begins so."""
        found: Counter[str] = Counter()
        for (name, place), number in self.events.items():
            if name.startswith(kind):
                found[place] += number
        return dict(found)

    def clear(self) -> None:
        """Forget what was counted, give cached memory back and set the peak to what is held."""
        self.events.clear()
        self.operators.clear()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    @property
    def peak(self) -> float:
        """GiB that tensors took at the most since ``clear``."""
        return torch.cuda.max_memory_allocated() / 2**30

    def _note(self, kind: str) -> None:
        self.events[kind, _place()] += 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        flat = list(leaves((args, kwargs)))
        tensors = [x for x in flat if isinstance(x, Tensor)]
        asked = kwargs.get("device")
        wanted = torch.device(asked) if asked is not None else None
        there = [t for t in tensors if on_cuda(t)]
        if not there and (wanted is None or wanted.type != "cuda"):
            return func(*args, **kwargs)
        if func not in NATIVE and func._can_decompose():  # inference mode does not take composite operators apart
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        name = func._schema.name.split("::")[1]
        self.operators[name] += 1
        if func in NATIVE or func.is_view:
            return func(*args, **kwargs)
        self._check(func, name, tensors, flat)
        device = there[0].device if there else wanted
        if wanted is not None and wanted.type == "cuda" and wanted.index is None:
            wanted = torch.device("cuda", torch.cuda.current_device())
        with torch.no_grad():
            return self._carry_out(Call(func, name, args, kwargs, wanted if wanted is not None else device))

    def _check(self, func: Any, name: str, tensors: Sequence[Tensor], flat: Sequence[Any]) -> None:
        """Raise what CUDA would, and note what is worth knowing."""
        there = [t for t in tensors if on_cuda(t)]
        devices = {t.device for t in there}
        if len(devices) > 1 and name not in ("copy_", "_to_copy"):
            raise RuntimeError(f"{MIXED_DEVICES}, {devices} ({name})")
        if there and name not in MIXED:
            for t in tensors:
                if t.device.type != "cuda" and (t.dim() or name in NO_CPU_SCALARS):
                    raise RuntimeError(f"{MIXED_DEVICES}, cuda:0 and {t.device}! ({func}, a tensor of shape {tuple(t.shape)})")
        if name in ("index", "index_put_", "_index_put_impl_") and not on_cuda(tensors[0]):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        if name in RANDOM:
            generators = [g for g in flat if isinstance(g, torch.Generator)]
            if any(g.device.type == "cpu" for g in generators):
                raise RuntimeError(f"Expected a 'cuda' device type for generator but found 'cpu' ({name})")
            if generators:
                raise NotImplementedError("the card has no generators but its global one; draw on the CPU")
            self._note(f"global generator of the device ({name})")
        if name in WAITS:
            self._note(f"wait ({name})")
        if name in ("index", "index_put_") and any(t.dtype in (torch.bool, torch.uint8) for t in tensors[1:]):
            self._note("wait (boolean index)")
        if any(t.dtype == torch.float64 and t.dim() for t in there) and name not in ("_to_copy", "copy_"):
            self._note("float64")
        self._check_order(name)

    def _check_order(self, name: str) -> None:
        strict = torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled()
        if strict and name in NO_FIXED_ORDER | NEVER_WHERE_STRICT:
            raise RuntimeError(f"{name} does not have a deterministic implementation")
        if name in NO_FIXED_ORDER | NEVER_WHERE_STRICT or (name in FIXED_WHERE_STRICT and not strict):
            self._note(f"no fixed order ({name})")

    def _carry_out(self, call: Call) -> Any:
        self._note_copies(call)
        if self.dry:
            return form_only(call)
        return attention(call) if call.name.startswith("_scaled_dot_product") else computed(call)

    def _note_copies(self, call: Call) -> None:
        args = call.args
        if call.name == "_to_copy" and on_cuda(args[0]) and call.target.type == "cpu":
            self._note("copy to the CPU")
        elif call.name == "_to_copy" and not on_cuda(args[0]) and not call.kwargs.get("non_blocking"):
            self._note("copy to the device")
        elif call.name == "copy_" and args[0].device.type != args[1].device.type:
            self._note("copy to the device" if on_cuda(args[0]) else "copy to the CPU")


def _place() -> str:
    """The innermost line of the project, of the main thread if this is one of the engine's."""
    frame = sys._getframe()
    if threading.current_thread() is not threading.main_thread():
        frame = sys._current_frames().get(threading.main_thread().ident or 0, frame)
    for file, line, name in _lines(frame):
        if any(f"/{part}/" in file for part in OURS) and not any(f"/{part}/" in file for part in NOT_OURS):
            return f"{'/'.join(file.split('/')[-2:])}:{line} {name}"
    return "elsewhere"


def _lines(frame: Any) -> Iterator[tuple[str, int, str]]:
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
        frame = frame.f_back
