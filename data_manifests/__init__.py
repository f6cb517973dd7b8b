"""Manifests that come with the package, and the small pictures they name."""

from __future__ import annotations

from pathlib import Path

__all__ = ["names", "path"]

_ROOT = Path(__file__).parent


def names() -> list[str]:
    """Names of the shipped manifests, sorted."""
    return sorted(file.parent.name for file in _ROOT.glob("*/metadata.jsonl"))


def path(name: str) -> Path:
    """The folder of a shipped manifest; KeyError when there is none of that name."""
    if name not in names():
        raise KeyError(name)
    return _ROOT / name
