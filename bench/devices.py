"""The device of a run, and how a unit computes there: deterministic torch with a fixed number of threads, and the memory it took."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.errors import ModelError

__all__ = [
    "AUTO",
    "PeakMemory",
    "best_dtype",
    "deterministic",
    "empty_cache",
    "out_of_memory",
    "pick_device",
    "resident_mb",
]


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


AUTO = "auto"
"""The `dtype`, `batch` or `max_batch` of a spec that leaves it to the device."""


def best_dtype(device: str) -> str:
    """What networks compute in on a device, where nothing else is asked for: bfloat16 on a CUDA card that has it, float16 on one that has
    not, else float32.
    """
    if not device.startswith("cuda"):
        return "float32"
    import torch

    with torch.cuda.device(device):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


@contextlib.contextmanager
def deterministic(threads: int | None = None) -> Iterator[None]:
    """torch, where it is loaded, with deterministic algorithms, no TF32, and `threads` CPU threads; put back on leaving."""
    if "torch" not in sys.modules:
        yield
        return
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    cudnn: Any = torch.backends.cudnn
    mkldnn: Any = torch.backends.mkldnn
    # torch's older switches, `cudnn.flags` among their users, are an error where a caller has used the newer ones; these are the newer
    exact = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn)
    switches: list[tuple[Any, str, Any]] = [(place, "fp32_precision", "ieee") for place in exact]
    switches += [(cudnn, "enabled", True), (cudnn, "benchmark", False), (cudnn, "deterministic", True)]
    before = [(place, name, getattr(place, name)) for place, name, _ in switches]
    count, mode = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(threads or count)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        _switch(switches)
        yield
    finally:
        _switch(before)
        torch.set_num_threads(count)
        torch.use_deterministic_algorithms(mode, warn_only=warns)


def _switch(switches: Sequence[tuple[Any, str, Any]]) -> None:
    for place, name, value in switches:
        setattr(place, name, value)


class PeakMemory:
    """How much memory a unit took at its peak, in MiB, beyond what was held when it began: the weights and all that came before.

    On CUDA it is what torch allocated on the device. On a CPU it is the process's resident size, whose high-water mark Linux can set
    back; where that cannot be done, it is by how much the unit raised the mark, which says 0 of all but the largest.
    """

    def __init__(self, device: str) -> None:
        self._device = device if device.startswith("cuda") else None
        self._before, self._kind = self._now()

    def _now(self) -> tuple[float, str]:
        """MiB held now, with the mark set back to it, and what is measured."""
        if self._device:
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
            return torch.cuda.memory_allocated(self._device) / 2**20, "cuda, allocated by the unit"
        try:
            (_PROCESS / "clear_refs").write_text("5")
            return _resident("VmRSS"), "resident, taken by the unit"
        except (OSError, ValueError):
            return self._mark(), "resident, by how much the unit raised the process's mark"

    def wait(self) -> None:
        """Let queued kernels finish, so that clocks measure work."""
        if self._device:
            import torch

            torch.cuda.synchronize(self._device)

    def read(self) -> dict[str, Any]:
        """`mb`, MiB at the peak beyond the beginning, and `kind`, what was measured."""
        if self._device:
            import torch

            peak = torch.cuda.max_memory_allocated(self._device) / 2**20
        else:
            peak = _resident("VmHWM") if self._kind.endswith("the unit") else self._mark()
        return {"mb": round(max(peak - self._before, 0.0), 1), "kind": self._kind}

    @staticmethod
    def _mark() -> float:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


_PROCESS = Path("/proc/self")


def _resident(field: str) -> float:
    """MiB that Linux tells of this process: `VmRSS` now, `VmHWM` at the mark. ValueError where it does not."""
    for line in (_PROCESS / "status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 2**10
    raise ValueError(field)


def resident_mb() -> float:
    """MiB of memory that this process holds; its most so far where the system does not tell."""
    try:
        return round(_resident("VmRSS"), 1)
    except (OSError, ValueError):
        return round(PeakMemory._mark(), 1)


def out_of_memory(error: BaseException) -> bool:
    """Whether the device had no room left."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def empty_cache() -> None:
    """Give cached device memory back after a unit ran out of it."""
    import torch

    torch.cuda.empty_cache()
