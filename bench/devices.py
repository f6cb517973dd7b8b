"""The device of a run, and how a unit computes there: deterministic torch with a fixed number of threads, and the memory it took."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from bench.errors import ModelError

__all__ = ["PeakMemory", "deterministic", "empty_cache", "out_of_memory", "pick_device"]


def pick_device(name: str) -> str:
    """`auto` is CUDA where there is one, else the CPU; any other name is checked. Raises ModelError."""
    if name == "cpu":
        return name
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(f"device {name!r} was asked for but torch sees no CUDA device; use `device: auto` or cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ModelError("device 'mps' was asked for but torch has none here; use `device: auto` or cpu")
    return name


@contextlib.contextmanager
def deterministic(threads: int | None = None) -> Iterator[None]:
    """torch, where it is loaded, with deterministic algorithms, no TF32, and `threads` CPU threads; put back on leaving."""
    if "torch" not in sys.modules:
        yield
        return
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    count, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    mode = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(threads or count)
    torch.set_float32_matmul_precision("highest")
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(count)
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(mode, warn_only=warns)


class PeakMemory:
    """Peak memory of a unit in MiB: what torch allocated on the device, or on a CPU the process's highest resident size so far."""

    def __init__(self, device: str) -> None:
        self._device = device if device.startswith("cuda") else None
        if self._device:
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)

    def wait(self) -> None:
        """Let queued kernels finish, so that clocks measure work."""
        if self._device:
            import torch

            torch.cuda.synchronize(self._device)

    def read(self) -> dict[str, Any]:
        if self._device:
            import torch

            return {"mb": round(torch.cuda.max_memory_allocated(self._device) / 2**20, 1), "kind": "cuda allocated by the unit"}
        import resource

        scale = 2**20 if sys.platform == "darwin" else 2**10
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
        return {"mb": round(peak, 1), "kind": "resident high-water mark of the process"}


def out_of_memory(error: Exception) -> bool:
    """Whether the device had no room left."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def empty_cache() -> None:
    """Give cached device memory back after a unit ran out of it."""
    import torch

    torch.cuda.empty_cache()
