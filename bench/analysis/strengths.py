"""How strong each editor is by paired votes: Bradley and Terry's model with ties, and with the side on which an edit was shown.

For a vote on editors i and j, i shown on the left, the three answers have probabilities in the proportion

    i is better     exp(theta_i + delta / 2)
    j is better     exp(theta_j - delta / 2)
    neither         exp(log nu + (theta_i + theta_j) / 2)

(Bradley and Terry 1952; ties after Davidson 1970, eq. 2.6; the side after Davidson and Beaver 1977, written so that it treats both editors
alike). theta are the strengths, their mean is 0: a difference of d means odds of exp(d) where a choice is made. nu says how readily raters
see no difference, delta how much they lean to the left; 0 is not at all. "Neither" counts a tie and "both bad" alike, since both prefer no
editor; tables of rates tell them apart.

The fit is maximum likelihood by Newton's method; the covariance is the sandwich over raters and sources (`crossed`). Strengths exist only
within a set of editors of which none lost, or won, everything against the rest (Ford 1957); others have none, and it is said why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.analysis.crossed import Crossed
from bench.analysis.paired import holm
from bench.errors import ScoreError

__all__ = ["Strengths", "strengths_of"]

STEPS = 50
"""Newton's method takes under ten where the estimates exist."""
PRECISION, SLACK = 1e-9, 1e-12
NULL = 1e-9
"""Share of the largest eigenvalue of the information below which one counts as zero."""
NOTHING = (np.nan, np.nan, np.nan)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Strengths:
    """The fitted model. Editors without a strength have NaN in `table`, and a sentence in `without`.

    table: editor, strength, low, high (95 %), rank, share (of decided votes that it would win against an editor of mean strength), votes.
    differences: first, second, difference, low, high, p, p_holm of each pair with a strength.
    tie: nu; position: delta with its interval, NaN where the votes cannot tell.
    """

    table: pd.DataFrame
    differences: pd.DataFrame
    tie: float
    position: tuple[float, float, float]
    without: dict[str, str] = field(default_factory=dict)


def strengths_of(votes: pd.DataFrame) -> Strengths:
    """The strengths of the editors in answered preferences (rows of the frame of votes)."""
    names = sorted({*votes["first"], *votes["second"]})
    kept, without = _comparable(votes, names)
    table = pd.DataFrame({"editor": names} | dict.fromkeys(("strength", "low", "high", "rank", "share"), np.nan))
    table["votes"] = [int(((votes["first"] == name) | (votes["second"] == name)).sum()) for name in names]
    differences = pd.DataFrame(columns=["first", "second", "difference", "low", "high", "p", "p_holm"])
    if not kept:
        return Strengths(table, differences, np.nan, NOTHING, without)
    own = votes[votes["first"].isin(kept) & votes["second"].isin(kept)]
    clusters = Crossed(own["rater"], own["source_id"])
    values, covariance, told = _fitted(own, kept, clusters)
    count, quantile = len(kept), clusters.quantile()
    centre = np.eye(count, len(values))
    centre[:, :count] -= 1 / count
    strengths, errors = centre @ values, _errors(centre, covariance)
    rows = table["editor"].isin(kept)
    table.loc[rows, "strength"], table.loc[rows, "share"] = strengths, 1 / (1 + np.exp(-strengths))
    table.loc[rows, "low"], table.loc[rows, "high"] = strengths - quantile * errors, strengths + quantile * errors
    table.loc[rows, "rank"] = 1.0 + (-strengths).argsort().argsort()
    position = NOTHING
    if "position" in told:
        one = np.eye(1, len(values), told["position"])
        delta, error = float(values[told["position"]]), float(_errors(one, covariance)[0])
        position = (delta, delta - quantile * error, delta + quantile * error)
    tie = float(np.exp(values[told["tie"]])) if "tie" in told else 0.0
    order = table.sort_values("strength", ascending=False, kind="stable", na_position="last").reset_index(drop=True)
    return Strengths(order, _differences(kept, values, covariance, clusters), tie, position, without)


def _differences(names: list[str], values: Floats, covariance: Floats, clusters: Crossed) -> pd.DataFrame:
    """First less second of every pair, with interval and p value by Student's t."""
    from scipy.stats import t

    pairs = np.array(list(combinations(range(len(names)), 2)))
    contrasts = np.eye(len(values))[pairs[:, 0]] - np.eye(len(values))[pairs[:, 1]]
    gaps, errors = contrasts @ values, _errors(contrasts, covariance)
    ratio = np.divide(np.abs(gaps), errors, out=np.full(len(gaps), np.nan), where=errors > 0)
    p = 2 * t.sf(ratio, clusters.freedom) if clusters.freedom else np.full(len(gaps), np.nan)
    half = clusters.quantile() * errors
    table = pd.DataFrame({"first": [names[i] for i in pairs[:, 0]], "second": [names[i] for i in pairs[:, 1]]})
    return table.assign(difference=gaps, low=gaps - half, high=gaps + half, p=p, p_holm=holm(p))


def _errors(contrasts: Floats, covariance: Floats) -> Floats:
    """Standard errors (m,) of linear contrasts (m, k)."""
    return np.sqrt(np.maximum(np.einsum("mk,kl,ml->m", contrasts, covariance, contrasts), 0.0))


def _comparable(votes: pd.DataFrame, names: list[str]) -> tuple[list[str], dict[str, str]]:
    """The largest set of editors whose strengths exist together, and of the others why they have none.

    An edge leads from who did not win to who did not lose; strengths exist together where edges lead from each to each.
    """
    from scipy.sparse.csgraph import connected_components

    if not votes["answer"].isin(["first", "second"]).any():
        return [], dict.fromkeys(names, "no vote prefers one of two editors")
    place = {name: number for number, name in enumerate(names)}
    first, second = (votes[column].map(place).to_numpy(dtype=int) for column in ("first", "second"))
    up, down = (votes["answer"] != "second").to_numpy(), (votes["answer"] != "first").to_numpy()
    edges = np.zeros((len(names), len(names)), dtype=bool)
    edges[second[up], first[up]] = edges[first[down], second[down]] = True
    labels = connected_components(edges, directed=True, connection="strong")[1]
    sizes = np.bincount(labels)
    inside = (labels == sizes.argmax()) & (sizes.max() > 1)
    without = {}
    for number in np.flatnonzero(~inside).tolist():
        others = inside if inside.any() else np.arange(len(names)) != number
        won, lost = edges[others, number].any(), edges[number, others].any()
        reason = "was not compared" if won == lost else "won every vote" if won else "lost every vote"
        without[names[number]] = f"{reason}{' against those that have a strength' if inside.any() else ''}"
    return [name for name, kept in zip(names, inside, strict=True) if kept], without


def _fitted(votes: pd.DataFrame, names: list[str], clusters: Crossed) -> tuple[Floats, Floats, dict[str, int]]:
    """Estimates (k,), the strengths first, their covariance (k, k), and the place of each other parameter that the votes can tell."""
    chosen = votes["answer"].map({"first": 0, "second": 1, "tie": 2, "both_bad": 2}).to_numpy(dtype=np.int64)
    others = ["tie"] if (chosen == 2).any() else []
    turned = votes.groupby(["first", "second"])["first_side"].nunique().max() > 1
    for parameters in ([*others, "position"], others) if turned else (others,):
        told = {name: len(names) + number for number, name in enumerate(parameters)}
        if found := _fit(_design(votes, names, told), chosen):
            return found[0], clusters.covariance(found[1]), told
    raise ScoreError(
        f"the strengths of {', '.join(names)} could not be fitted to {len(votes)} votes: leave out editors with few votes"
    )


def _design(votes: pd.DataFrame, names: list[str], told: dict[str, int]) -> Floats:
    """Linear predictors (n, 3, k) of the answers first, second and neither; (n, 2, k) where nobody answered neither."""
    place = {name: number for number, name in enumerate(names)}
    side = votes["first_side"].map({"left": 0.5, "right": -0.5}).fillna(0.0).to_numpy(dtype=np.float64)
    design, rows = np.zeros((len(votes), 3, len(names) + len(told))), np.arange(len(votes))
    one, other = (votes[column].map(place).to_numpy(dtype=int) for column in ("first", "second"))
    design[rows, 0, one] = design[rows, 1, other] = 1.0
    design[rows, 2, one] = design[rows, 2, other] = 0.5
    if "position" in told:
        design[:, 0, told["position"]], design[:, 1, told["position"]] = side, -side
    if "tie" not in told:
        return design[:, :2]
    design[:, 2, told["tie"]] = 1.0
    return design


def _fit(design: Floats, chosen: NDArray[Any]) -> tuple[Floats, Floats] | None:
    """Maximum likelihood (k,) and each vote's part in it (n, k); None where it does not exist.

    The sum of the strengths, which no vote tells, stays 0: the inverse is Moore and Penrose's.
    """
    from scipy.special import log_softmax

    rows = np.arange(len(design))

    def at(values: Floats) -> tuple[float, Floats]:
        logs = log_softmax(design @ values, axis=1)
        return float(logs[rows, chosen].sum()), np.exp(logs)

    values = np.zeros(design.shape[2])
    height, shares = at(values)
    for _ in range(STEPS):
        means = np.einsum("nc,nck->nk", shares, design)
        information = np.einsum("nc,nck,ncl->kl", shares, design, design) - means.T @ means
        influence = (design[rows, chosen] - means) @ np.linalg.pinv(information, rcond=NULL, hermitian=True)
        step = influence.sum(axis=0)
        if np.abs(step).max() < PRECISION:
            return values, influence
        while (found := at(values + step))[0] < height - SLACK * abs(height) and np.abs(step).max() > PRECISION:
            step /= 2
        values, (height, shares) = values + step, found
    return None
