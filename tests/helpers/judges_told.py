"""Judges without a network, for tests: each answers by a rule, and counts how often it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from metrics.base import PIXELS
from metrics.judges.answers import Failure, Judge, Question, Reply, Take

__all__ = ["Told", "brightness"]

Rule = Callable[[Question], "dict[str, Any] | str | Failure"]


class Told(Judge):
    """Answers by `rule`: an answer, words, or a failure."""

    sampling, sight = "none", PIXELS

    def __init__(self, rule: Rule, name: str = "told") -> None:
        self.rule, self.name, self.snapshot = rule, name, "1"
        self.asked: list[Question] = []

    def ask(self, questions: Sequence[Question], take: Take) -> None:
        for place in reversed(range(len(questions))):  # any order will do
            self.asked.append(questions[place])
            said = self.rule(questions[place])
            if isinstance(said, Failure):
                take(place, Reply(failure=said))
            else:
                take(place, Reply(said if isinstance(said, str) else json.dumps(said)))


def brightness(question: Question) -> dict[str, Any]:
    """The mean level of the edit on the question's scale; of two edits the brighter one."""
    levels = {name: float(picture.mean()) / 255 for name, picture in zip(question.ask.shows, question.pictures, strict=True)}
    if question.ask.name == "preference":
        gap = levels["first"] - levels["second"]
        return {"answer": "tie" if gap == 0 else "first" if gap > 0 else "second"}
    if question.ask.options:
        return {"answer": "yes" if levels["edit"] > 0.5 else "no"}
    low, high = question.ask.scale or (0.0, 1.0)
    return dict.fromkeys(question.ask.answers, low + (high - low) * levels["edit"])
