"""Which of two edits is better: asked in both orders, always.

Of two edits A and B a judge is shown A first and B first. Where it names the same one both times, that is its preference. Where it names
the same *place*, the order decided: that is a flip, which is counted and is neither a preference nor a tie. A judge that answers tie or
both bad in one order and names an edit in the other has flipped too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from metrics.base import Image
from metrics.judges.answers import Failure
from metrics.judges.forms import PREFERENCE
from metrics.judges.panel import Panel, Row

__all__ = ["OUTCOMES", "Preference", "Trial", "majority", "preferences"]

OUTCOMES = ("first", "second", "tie", "both_bad", "flip")
"""What a judge can say of a pair, failures aside."""
_SWAPPED = {"first": "second", "second": "first"}


@dataclass(frozen=True, eq=False)
class Trial:
    """Two edits of one source and what was asked for."""

    text: str
    source: Image
    first: Image
    second: Image


@dataclass(frozen=True)
class Preference:
    """What one judge says of a trial in one repeat.

    Attributes:
        outcome: one of `OUTCOMES`, None where an order has no answer.
        failure: why there is none.
        shown: what was answered in either order, as it was shown: in the given order, and swapped.
    """

    judge: str
    repeat: int
    outcome: str | None
    failure: Failure | None = None
    shown: tuple[str, str] | None = None


def preferences(panel: Panel, trials: Sequence[Trial]) -> list[list[Preference]]:
    """For each trial what every judge of the panel says in every repeat."""
    given: list[Row] = [(t.text, {"source": t.source, "first": t.first, "second": t.second}) for t in trials]
    swapped: list[Row] = [(t.text, {"source": t.source, "first": t.second, "second": t.first}) for t in trials]
    both = panel.answers([PREFERENCE], [*given, *swapped])
    found = []
    for there, back in zip(both[: len(trials)], both[len(trials) :], strict=True):
        rows = []
        for one, two in zip(there, back, strict=True):
            failed = next((each.answers for each in (one, two) if isinstance(each.answers, Failure)), None)
            if failed or isinstance(one.answers, Failure) or isinstance(two.answers, Failure):
                rows.append(Preference(one.judge, one.repeat, None, failed))
                continue
            shown = str(one.answers[0]["answer"]), str(two.answers[0]["answer"])
            outcome = shown[0] if shown[0] == _SWAPPED.get(shown[1], shown[1]) else "flip"
            rows.append(Preference(one.judge, one.repeat, outcome, None, shown))
        found.append(rows)
    return found


def majority(said: Sequence[Preference], least: int) -> str | None:
    """The outcome of more than half of the valid ones, None where there is none or fewer than `least` are valid."""
    valid = [each.outcome for each in said if each.outcome is not None]
    if len(valid) < least:
        return None
    outcome, votes = Counter(valid).most_common(1)[0]
    return outcome if 2 * votes > len(valid) else None
