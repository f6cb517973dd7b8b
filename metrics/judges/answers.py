"""The words of judging: a question, the reply in the judge's own words, and the failures that stand where no answer does.

A failure has a kind and is never a number, half of a scale or a tie: whoever averages leaves it out and says how many there were.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from metrics.base import Image, MetricError
from metrics.card import Sight

if TYPE_CHECKING:
    from metrics.judges.forms import Ask

__all__ = ["FAILURES", "PASSING", "Failure", "Journal", "Judge", "Memory", "Question", "Reply", "Take"]

FAILURES: Mapping[str, str] = {
    "refused": "the judge declined to answer",
    "safety": "a content filter stopped the question or the answer",
    "unparsable": "the answer does not say what was asked for",
    "cut_off": "the answer ended at the limit of tokens",
    "timed_out": "no answer came in time",
    "transport": "the server could not be reached, broke off or was at fault",
    "drifted": "another model answered than the one that was named",
    "over_budget": "the budget of calls was spent",
    "too_few": "fewer valid answers than asked for",
    "split": "no answer has a majority",
    "unasked": "there is no question for this kind of edit",
}
"""Kinds of failure and what they mean."""
PASSING = frozenset({"timed_out", "transport", "drifted", "over_budget"})
"""Failures of the moment: the question is asked again when it comes up again. All others are the judge's last word."""
MOST_DETAIL = 300


@dataclass(frozen=True)
class Failure:
    """Why there is no answer: one of `FAILURES`, and one line of detail."""

    kind: str
    detail: str = ""

    def __post_init__(self) -> None:
        if self.kind not in FAILURES:
            raise MetricError(f"failure kind: expected one of {', '.join(FAILURES)}, got {self.kind!r}")
        object.__setattr__(self, "detail", " ".join(self.detail.split())[:MOST_DETAIL])

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')}: {self.detail or FAILURES[self.kind]}"


@dataclass(frozen=True, eq=False)
class Question:
    """One call to a judge.

    Attributes:
        ask: what is asked, and in which words.
        text: what was asked of the editor.
        pictures: what `ask.shows` names, in that order.
        repeat: 0 for the first time that this is asked, 1 for the second...; the judge's seed rises with it.
    """

    ask: Ask
    text: str
    pictures: tuple[Image, ...]
    repeat: int = 0

    @property
    def prompt(self) -> str:
        return self.ask.prompt(self.text)

    @cached_property
    def digest(self) -> str:
        """64 hex over the words, the pixels and the repeat."""
        total = hashlib.sha256(f"{self.prompt}\0{self.repeat}".encode("utf-8", "replace"))
        for name, picture in zip(self.ask.shows, self.pictures, strict=True):
            total.update(f"\0{name}{picture.shape}".encode() + np.ascontiguousarray(picture).tobytes())
        return total.hexdigest()


@dataclass(frozen=True)
class Reply:
    """What came back, as it came: everything that parsing needs, so that parsing anew asks nobody.

    Attributes:
        text: the judge's own words, "" where there are none.
        failure: what is wrong with it before anyone reads the words, None where nothing is.
        model: who answered, in the server's words; "" where nobody says.
        facts: tokens, seconds, attempts and the like; plain data.
    """

    text: str = ""
    failure: Failure | None = None
    model: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Reply:
        """The reply of `as_dict`. Raises KeyError, TypeError or MetricError for anything else."""
        failure = None if data["failure"] is None else Failure(**data["failure"])
        return cls(str(data["text"]), failure, str(data["model"]), dict(data["facts"]))


Take = Callable[[int, Reply], None]
"""What is done with the reply to the question in this place."""


class Judge(ABC):
    """Someone who looks at pictures and answers in words.

    Attributes:
        name: what it is called in tables.
        snapshot: exactly which model answers: a server's dated name, or a digest of weights.
        sampling: temperature, seed and limits, in the words of a card.
        sight: how a picture reaches it, in the fields of a card.
    """

    name: str
    snapshot: str
    sampling: str
    sight: Sight

    @abstractmethod
    def ask(self, questions: Sequence[Question], take: Take) -> None:
        """Call `take` once for each question, when its reply is there, in any order and in the caller's thread or another.

        A question that fails is a reply with a failure.

        Raises:
            MetricError: no question can be answered, as where a key is refused or no such model is served.
        """

    @property
    def identity(self) -> dict[str, str]:
        """All that changes an answer, besides the question."""
        sight = {name: str(value) for name, value in self.sight.items()}
        return {"judge": self.name, "snapshot": self.snapshot, "sampling": self.sampling, **sight}

    def key(self, question: Question) -> str:
        """64 hex that name this judge's answer to the question."""
        canonical = json.dumps(self.identity, sort_keys=True)
        return hashlib.sha256(f"{canonical}\0{question.digest}".encode()).hexdigest()


class Journal(Protocol):
    """Where replies are kept, by key."""

    def find(self, key: str) -> Reply | None:
        """The last reply under this key."""

    def add(self, key: str, judge: Judge, question: Question, reply: Reply) -> None:
        """Keep a reply, before anything else is done with it."""


class Memory:
    """A journal that lasts as long as its owner."""

    def __init__(self) -> None:
        self._replies: dict[str, Reply] = {}

    def find(self, key: str) -> Reply | None:
        return self._replies.get(key)

    def add(self, key: str, judge: Judge, question: Question, reply: Reply) -> None:
        self._replies[key] = reply
