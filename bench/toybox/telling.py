"""Which edits a CLIP judge can tell: those whose ground truth it scores well above their source.

Where it scores both alike, as it does for a padlock that is to be locked, an edit that succeeds scores no more than none. Such samples
belong to no headline that rests on the judge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST", "told"]

LEAST = 5.0
"""Points of CLIP score between truth and source. The scores of right edits span 4.3 themselves (95 % of them, 94.2 to 98.5)."""


def told(source: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the judge tells truth from source, by its scores of each (n,) against the target text; False where one is missing."""
    return np.asarray(truth - source >= LEAST)
