"""What a run was made with: `environment.json`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["PACKAGES", "describe", "versions"]

PACKAGES = (
    "etabench",
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "accelerate",
    "open-clip-torch",
    "lpips",
    "torch-fidelity",
    "safetensors",
    "datasets",
    "huggingface_hub",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "pillow",
    "matplotlib",
    "pydantic",
    "ray",
    "submitit",
    "starlette",
    "uvicorn",
    "krippendorff",
)


def describe(device: str, dtype: str) -> dict[str, Any]:
    """Versions, commit, platform and device, as plain JSON values."""
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "packages": versions(),
        "commit": _commit(),
        "device": device,
        "dtype": dtype,
        "accelerator": _accelerator(device),
    }


def versions() -> dict[str, str]:
    """Installed versions of the packages that matter; absent ones are left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> dict[str, Any] | None:
    """Commit and dirty flag of the source tree this package runs from; None for an installed package."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    commit, status = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain", "--untracked-files=no")
    return None if commit is None else {"commit": commit, "dirty": bool(status)}


def _git(root: Path, *command: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _accelerator(device: str) -> dict[str, Any] | None:
    if not device.startswith("cuda"):
        return None
    import torch

    properties = torch.cuda.get_device_properties(device)
    return {
        "name": properties.name,
        "memory_mb": properties.total_memory // 2**20,
        "count": torch.cuda.device_count(),
        "cuda": torch.version.cuda,
        "driver": _driver(),
    }


def _driver() -> str | None:
    try:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()[0].strip()
    except (OSError, subprocess.SubprocessError, IndexError):
        return None
