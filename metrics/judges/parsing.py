"""From a judge's words to what it answered, or to a failure that says why nothing can be read. Nothing is guessed, rounded or clamped."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from metrics.judges.answers import Failure, Reply
from metrics.judges.forms import Answers, Ask
from metrics.judges.published import PublishedAsk

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
    return _as_published(ask, reply.text) if isinstance(ask, PublishedAsk) else _as_asked(ask, reply.text)


def _as_asked(ask: Ask, text: str) -> Answers | Failure:
    """What the last JSON object says."""
    objects = list(_objects(text))
    if not objects:
        return _nothing("no JSON object", text)
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


def _as_published(ask: PublishedAsk, text: str) -> Answers | Failure:
    """The numbers of a reply in the form that the authors ask for: as many as there are answers, all of the scale."""
    if ask.reply == "lines":
        lines = [line.strip().split(": ") for line in text.splitlines()]
        given: list[Any] = [line[1] for line in lines if len(line) == 2 and line[1].isdecimal()]
    else:
        lists = [found["score"] for found in _objects(text) if isinstance(found.get("score"), list)]
        given = lists[-1] if lists else []
    if not given:
        return _nothing("no score", text)
    numbers = [_number(each, ask) for each in given]
    known = [each for each in numbers if each is not None]
    if len(known) < len(numbers) or len(known) != len(ask.answers):
        return Failure("unparsable", f"scores are {given!s:.80}, expected {len(ask.answers)}, each {_expected(ask)}")
    return dict(zip(ask.answers, known, strict=True))


def _nothing(what: str, text: str) -> Failure:
    return Failure("refused" if _DECLINED.search(text) else "unparsable", f"{what} in {text[:120]!r}")


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
