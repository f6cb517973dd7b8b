"""A function run in a process that has an emulated card."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MINUTES = 15
"""How long a process may take before it is taken for one that hangs: a minute of work, on a machine that has ten others in hand."""


@cache
def unavailable() -> str:
    """Why no card can be emulated here; empty where one can."""
    import torch

    if sys.platform != "linux":
        return f"the runtime is preloaded as Linux does it, and this is {sys.platform}"
    if torch.version.cuda is None:
        return "torch is built without CUDA, so there is no device code to run"
    if torch.cuda.is_available():
        return "there is a real CUDA device"
    if shutil.which("gcc") is None:
        return "no compiler: the runtime is C, and gcc is not there"
    if not (_headers() / "cuda_runtime_api.h").is_file():
        return "no CUDA headers: they come with triton, which is not installed"
    return ""


def _headers() -> Path:
    found = importlib.util.find_spec("triton")
    return Path(found.origin or "").parent / "backends" / "nvidia" / "include" if found else Path("no-triton")


@cache
def _library() -> Path:
    """The compiled runtime, made once for this process, in a folder that is gone when it ends."""
    import atexit

    folder = Path(tempfile.mkdtemp(prefix="emulated-cuda-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = folder / "libemulated.so"
    flags = ["-O2", "-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1", f"-I{_headers()}"]
    subprocess.run(["gcc", *flags, str(HERE / "cudart.c"), "-o", str(library)], check=True, timeout=60)
    return library


def on_card(function: Callable[..., Any], *, gib: float = 80, dry: bool = False, devices: int = 1, **arguments: Any) -> Any:
    """What ``function(card, **arguments)`` returns in a process of its own with ``devices``, each of so many GiB.

    ``function`` stands at the top of a module; ``card`` is the `Card` that counts. Arguments and result are plain data, as JSON has them.
    Workers that it starts on this machine have the same devices.
    """
    assert not unavailable(), unavailable()
    with tempfile.TemporaryDirectory(prefix="emulated-job-") as folder:
        result = Path(folder) / "result.json"
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "bench.benchmarks.emulated",
                f"{function.__code__.co_filename}:{function.__name__}",
                str(result),
            ],
            input=json.dumps(arguments),
            env={
                **os.environ,
                "LD_PRELOAD": str(_library()),
                "EMULATED_CUDA_MEMORY": str(int(gib * 2**30)),
                "EMULATED_CUDA_COUNT": str(devices),
                "EMULATED_CUDA_DRY": "yes" if dry else "",
                "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
                "PYTHONPATH": os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path),
                "OMP_NUM_THREADS": "1",
            },
            capture_output=True,
            text=True,
            timeout=60 * MINUTES,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(result.read_text())
