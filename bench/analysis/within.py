"""Bands for comparing: the interval of a mean from which what editors share, the sample, is taken out.

Editors edit the same pictures, and pictures differ far more than editors do: most of the width of a mean's own interval is common to all
of them and drops out of every difference. The within-sample interval (Cousineau 2005, "Confidence intervals in within-subject designs";
Morey 2008) is that of scores from which the sample's level is taken: its mean over all editors at the knob values of this rank, which are
compared with each other in the swap tests too (`bench.scoring.swaps`). What is left varies less by the factor (J - 1) / J with J editors,
for which Morey's sqrt(J / (J - 1)) makes up. A further 1 / sqrt(2) makes it difference-adjusted (Baguley 2012, "Calculating and graphing
within-subject confidence intervals for ANOVA"): two means are apart by more than the 95 % interval of their difference allows where
their bands do not overlap.

Of two editors this is exactly so: the ends of the bands touch where the paired interval of the difference ends at zero. Of more it is so
as far as the differences between any two vary alike; an editor that varies much less than the rest has too wide a band and one that
varies much more too narrow a one. Nothing is corrected for the number of comparisons: a band is for looking, a test decides. The
interval itself, with the source picture as the cluster, is `mean_interval` with Student's t, skewness taken out and CR2 error.

Only editors that have every sample that a mean is of take part in its levels, so that the mean stays what it is. Where there is none,
as with one editor, there is no such band; nor of a share, whose interval is Wilson's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bench.analysis.intervals import ANY, Floats, Interval, Range, mean_interval
from bench.plan import Entry
from bench.scoring.swaps import places_by_rank

__all__ = ["Levels", "within_interval"]


class Levels:
    """What each editor scores each sample, by metric and knob value: of what a sample's level is made.

    `pairs` has the columns editor, value, metric, sample_id and score; anchors do not count.
    """

    def __init__(self, entries: Sequence[Entry], pairs: pd.DataFrame) -> None:
        self._values = {entry.label: entry.values for entry in entries if not entry.anchor}
        known = pairs[pairs["editor"].isin(list(self._values)) & np.isfinite(pairs["score"])]
        means = known.groupby(["editor", "value", "metric", "sample_id"], sort=False)["score"].mean()
        groups = means.groupby(level=["editor", "value", "metric"], sort=False)
        self._means = {key: group.droplevel(["editor", "value", "metric"]) for key, group in groups}

    def beside(self, label: str, value: float, metric: str, samples: Sequence[str]) -> Floats:
        """Scores (editors, n) that the other editors with all of these `samples` (n,) give them at the value of this rank."""
        if label not in self._values:
            return np.zeros((0, len(samples)))
        own, found = self._values[label], []
        for other, values in self._values.items():
            place = places_by_rank(len(own), len(values))[own.index(value)]
            means = self._means.get((other, values[place], metric))
            if other != label and means is not None:
                row = means.reindex(samples).to_numpy(dtype=np.float64)
                found += [row] if np.isfinite(row).all() else []
        return np.stack(found) if found else np.zeros((0, len(samples)))


def within_interval(
    scores: Floats, samples: Sequence[str], clusters: Sequence[str], beside: Floats, *, level: float = 0.95, within: Range = ANY
) -> Interval:
    """Mean of finite `scores` (n,) with its within-sample interval at `level`; NaN where there is nothing beside it.

    Args:
        scores: of one editor at one knob value.
        samples: which sample each score is of; several seeds of one are several scores.
        clusters: which source picture.
        beside: the same samples' scores by other editors, (editors, n), finite.
        within: the range of the metric, where the interval ends.
    """
    mean = float(np.mean(scores)) if len(scores) else np.nan
    if not len(scores) or not len(beside) or within.binary:
        return Interval(mean, np.nan, np.nan, len(scores), len(set(clusters)))
    own = pd.Series(scores).groupby(np.asarray(samples)).transform("mean").to_numpy()
    count = 1 + len(beside)
    alone = mean_interval(scores - (own + beside.sum(axis=0)) / count, clusters, level=level)
    share = np.sqrt(count / (count - 1) / 2)
    low, high = within.clip(mean + share * (np.array([alone.low, alone.high]) - alone.mean))
    return Interval(mean, float(low), float(high), alone.n, alone.clusters)
