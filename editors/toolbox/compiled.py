"""The denoising network compiled: fewer, fused kernels, or none launched one by one."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from editors.task import EditorError

__all__ = ["GRAPHS", "Compiled", "compiler_for"]

GRAPHS = "reduce-overhead"
"""torch's mode that records CUDA graphs."""

MOST_FORMS = 64
"""Forms of a call that are compiled; one more is an error, since torch would go on uncompiled and say nothing."""


class Compiled:
    """A network's forward pass by ``torch.compile``, for calls that keep no gradient.

    It is compiled for any number of items at once, so that an item's bits do not depend on which numbers came before. Modes that choose
    kernels by racing them (max-autotune) are not offered: their choice, and with it the result, may differ from run to run.
    """

    def __init__(self, network: Any, mode: str, backend: str = "inductor") -> None:
        """``mode`` is one of torch's, of which only its own ``backend`` knows."""
        self._graphs = mode == GRAPHS
        own = mode if backend == "inductor" else None
        self._forward: Any = torch.compile(network, dynamic=True, backend=backend, mode=own)

    def __call__(self, *given: Any, **named: Any) -> Any:
        """What the network gives; nothing later writes to it."""
        with torch._dynamo.config.patch(recompile_limit=MOST_FORMS, fail_on_recompile_limit_hit=True):
            if not self._graphs:
                return self._forward(*given, **named)
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            output = self._forward(*given, **named)
        sample: Tensor = output.sample
        return type(output)(sample=sample.clone())  # a graph's own memory is written to by its next replay


def compiler_for(device: torch.device) -> str:
    """The compiler that ``torch.compile`` calls for a device. Raises ``EditorError`` where it lacks."""
    if device.type == "cuda" and find_spec("triton") is None:
        raise EditorError("compile needs the package triton on CUDA, which is not installed: pip install triton")
    name = os.environ.get("CXX", "g++")
    if shutil.which(name) is None:
        raise EditorError(f"compile needs a C++ compiler, and {name} is not there: install one, or name yours in CXX")
    return name
