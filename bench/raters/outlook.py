"""What a study can show, told before anyone votes."""

from __future__ import annotations

from collections import Counter
from math import ceil, isnan
from pathlib import Path

from bench.analysis.power import Power, design_effect, least_margin, votes_needed
from bench.errors import ScoreError
from bench.raters.study import Study

__all__ = ["outlook"]

MOST_RATERS = 10_000


def outlook(study: Study, *, margin: float, ties: float, rater_icc: float, source_icc: float, pilot: Path | None) -> list[str]:
    """Lines on the size of a study, what was left out of it and, for pairs, how many votes tell an editor from another.

    margin: difference of shares of all votes.  ties: share of votes for neither.  rater_icc, source_icc: intra-class correlations of the votes
    on one pair of editors.  pilot: votes whose design effect (the largest of any pair of editors) stands in their place.
    """
    items, pictures = study.real, {item.source_id for item in study.real}
    sessions = ceil(len(items) * study.votes / study.trials)
    extra = f", {study.duplicates} shown twice, {study.golds} gold" if study.duplicates or study.golds else ""
    lines = [
        f"{study.name}: {len(items)} {'pairs' if study.form == 'pairs' else 'edits'} of {len(pictures)} source pictures, "
        f"{study.votes} raters each: {len(items) * study.votes} votes by {sessions} raters of {study.trials}{extra}"
    ]
    lines += [f"left out: {name} on {number} samples, for lack of an edit" for name, number in study.left_out.items()]
    if study.form != "pairs":
        return lines
    names = Counter(frozenset({item.first.editor, item.second.editor}) for item in items if item.second)
    fewest = min(names.values())
    per_rater = min(fewest, max(study.trials * fewest / len(items), 1.0))
    known = _of_pilot(pilot) if pilot else None

    def power(raters: int) -> Power:
        effect = known or design_effect(per_rater, raters * fewest / len(pictures), rater_icc, source_icc)
        return Power(ties, comparisons=len(names), design_effect=effect)

    needed = next((n for n in range(1, MOST_RATERS) if n * fewest >= votes_needed(margin, power(n))), None)
    asked, least = power(study.votes), least_margin(study.votes * fewest, power(study.votes))
    wanted = (
        f"needs {needed} raters for each pair of edits, {needed * fewest} votes for each pair of editors"
        if needed
        else f"cannot be shown with {len(pictures)} source pictures, however many vote: add samples"
    )
    can = "not even a unanimous vote could" if isnan(least) else f"a margin of {100 * least:.0f} points could"
    stated = (
        f"of the pilot {pilot}" if pilot else f"stated: correlation {rater_icc:g} within raters, {source_icc:g} within pictures"
    )
    level = f"{100 * asked.level:g} % over {len(names)} comparison{'s' * (len(names) > 1)}"
    return [
        *lines,
        f"power {100 * asked.power:g} %, level {level}; design effect {asked.design_effect:.2f} ({stated})",
        f"a margin of {100 * margin:g} points ({_shares(margin, ties)}) {wanted}",
        f"with {study.votes} raters, {study.votes * fewest} votes for each pair of editors, {can} be told from none",
    ]


def _of_pilot(pilot: Path) -> float:
    """The largest design effect of any pair of editors; at least 1."""
    from bench.analysis.preferences import preferences
    from bench.scoring.votes import read_votes

    effects = preferences(read_votes(pilot))["design_effect"].dropna()
    if effects.empty:
        raise ScoreError(f"{pilot} has no pair of editors with enough votes to tell a design effect from")
    return max(float(effects.max()), 1.0)


def _shares(margin: float, ties: float) -> str:
    more, less = (1 - ties + margin) / 2, (1 - ties - margin) / 2
    return f"{100 * more:.0f} % to {100 * less:.0f} %, {100 * ties:.0f} % for neither"
