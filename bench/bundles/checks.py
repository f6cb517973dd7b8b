"""What a check of a bundle says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.bundles.opened import Bundle

__all__ = ["TOLERANCE", "Check", "Verdict", "some", "without_folder"]

Verdict = Literal["agrees", "contradicts", "unchecked"]
TOLERANCE = 1e-3
"""Of the larger value or of a tenth, whichever is more: what another device or another build of a library moves a score by."""
SHOWN = 5


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    what: str
    verdict: Verdict
    said: str


def some(flaws: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(flaws) - SHOWN} more" if len(flaws) > SHOWN else ""
    return "; ".join(flaws[:SHOWN]) + more


def without_folder(text: str, bundle: Bundle) -> str:
    """A message that names files of the bundle as they are called in it."""
    return text.replace(f"{bundle.run.path}/", "").replace(str(bundle.run.path), "the bundle")
