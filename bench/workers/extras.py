"""What executors on other machines have in common."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from bench.errors import RunError

__all__ = ["extra", "without_numbers"]


def extra(module: str, name: str) -> Any:
    """The package behind an executor. Raises RunError that names the extra where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RunError(f"executor {name!r} needs the package {module}: pip install 'etabench[{name}]'") from error


def without_numbers(devices: Sequence[str]) -> list[str]:
    """Devices as other machines know them: each counts the GPUs that a worker is given from 0."""
    return ["cuda" if device.startswith("cuda") else device for device in devices]
