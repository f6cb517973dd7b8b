"""The votes of a study as the frame that others read, and the list of those who took part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bench.raters.ledger import Ledger
from bench.raters.study import Item, Study
from bench.scoring.votes import PREFERENCE, votes_frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["participants", "votes_of"]


def votes_of(study: Study, ledger: Ledger) -> pd.DataFrame:
    """The frame of votes (`bench.scoring.votes`). Raters have pseudonyms in the order of their arrival."""
    items = {item.id: item for item in study.items}
    return votes_frame([row for vote in ledger.votes() for row in _rows(study.name, items[vote["item"]], vote)])


def participants(ledger: Ledger) -> pd.DataFrame:
    """Who took part, as is needed to pay them: rater, participant, ids of the platform, completion code, times, trials and answers.

    It holds what the platform calls people, and is no part of what is published.
    """
    import pandas as pd

    rows = []
    for session in ledger.sessions():
        times = {name: _when(session[name]) for name in ("arrived", "consented", "finished")}
        rows.append({"rater": _pseudonym(session.pop("number"))} | session | times)
    return pd.DataFrame(rows)


def _rows(study: str, item: Item, vote: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    first, second, side = item.first, item.second, vote["first_side"]
    row: dict[str, Any] = {
        "study": study,
        "rater": _pseudonym(vote["number"]),
        "position": vote["position"],
        "kind": vote["kind"],
    }
    row |= {"item": item.id, "sample_id": item.sample_id, "source_id": item.source_id, "category": item.category}
    row |= {"first": first.editor, "first_value": first.value, "second": "", "second_value": None, "first_side": "", "answer": ""}
    row |= {"seconds": vote["waited"] if vote["seconds"] is None else vote["seconds"], "time": _when(vote["received"])}
    row |= {"score": None, "expected": item.expected, "failure": ""}
    if second is None:
        yield row | {"question": "SC", "score": vote["sc"]}
        yield row | {"question": "PQ", "score": vote["pq"], "expected": ""}
        return
    sides = ("first", "second") if side == "left" else ("second", "first")
    answer = dict(zip(("left", "right"), sides, strict=True)).get(vote["answer"], vote["answer"])
    row |= {"second": second.editor, "second_value": second.value, "first_side": side}
    yield row | {"question": PREFERENCE, "answer": answer}


def _pseudonym(number: int) -> str:
    return f"r{number + 1:04}"


def _when(moment: float | None) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds") if moment is not None else ""
