"""From a judge's words to what it answered, or to a failure that says why nothing can be read. Nothing is guessed, rounded or clamped."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from metrics.judges.answers import Failure, Reply
from metrics.judges.forms import Answers, Ask

__all__ = ["VERSION", "read"]

VERSION = "1"
"""Rises when the same words would be read as another answer."""
_DECLINED = re.compile(
    r"\b(sorry|unable|cannot|can't|can not|won't|will not|not able|must decline)\b"
    r".{0,60}\b(assist|help|judge|evaluate|rate|comply|answer|tell|see|analy[sz]e)\b",
    re.IGNORECASE | re.DOTALL,
)


def read(ask: Ask, reply: Reply) -> Answers | Failure:
    """What the reply answers to the question: numbers of its scale or one of its options, all of them, or the failure.

    The last JSON object in the text counts, so that a judge may think aloud before it.
    """
    if reply.failure is not None:
        return reply.failure
    objects = list(_objects(reply.text))
    if not objects:
        kind = "refused" if _DECLINED.search(reply.text) else "unparsable"
        return Failure(kind, f"no JSON object in {reply.text[:120]!r}")
    last = objects[-1]
    if "refused" in last:
        return Failure("refused", str(last["refused"]))
    found: dict[str, float | str] = {}
    for name in ask.answers:
        if name not in last:
            return Failure("unparsable", f"no {name} in {json.dumps(last)[:120]}")
        answer = _option(last[name], ask) if ask.options else _number(last[name], ask)
        if answer is None:
            return Failure("unparsable", f"{name} is {json.dumps(last[name])[:80]}, expected {_expected(ask)}")
        found[name] = answer
    return found


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text that stand in no other, in order."""
    decoder, place = json.JSONDecoder(), 0
    while (place := text.find("{", place)) >= 0:
        try:
            found, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            place += 1
            continue
        if isinstance(found, dict):
            yield found


def _number(value: object, ask: Ask) -> float | None:
    low, high = ask.scale or (-math.inf, math.inf)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if low <= number <= high else None


def _option(value: object, ask: Ask) -> str | None:
    word = value.strip().lower().replace(" ", "_") if isinstance(value, str) else None
    return word if word in ask.options else None


def _expected(ask: Ask) -> str:
    return f"one of {', '.join(ask.options)}" if ask.options else "a number from {:g} to {:g}".format(*(ask.scale or (0, 1)))
