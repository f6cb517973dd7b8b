"""A panel asks: one judge or several, once or several times, and makes one verdict of what they say.

The answers of all judges and repeats count alike. Mean, median and majority are taken over the valid ones, of which there must be `least`;
with fewer the verdict is a failure that lists what went wrong. Whatever a journal has is not asked again, except for failures of the
moment (`answers.PASSING`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from metrics.base import Image, MetricError
from metrics.judges.answers import PASSING, Failure, Journal, Judge, Memory, Question, Reply
from metrics.judges.forms import Answers, Ask, Form
from metrics.judges.parsing import read

__all__ = ["AGGREGATES", "Answered", "Panel", "Row", "Verdict"]

AGGREGATES = ("mean", "median", "majority")
Row = tuple[str, Mapping[str, Image]]
"""What was asked of the editor, and the pictures by the names that a question shows."""


@dataclass(frozen=True)
class Verdict:
    """What a panel says of one edit.

    Attributes:
        score: the number, NaN where there is none.
        failure: why there is none, None where there is one.
        answers: valid answers that the score is made of.
        failures: kinds of those that failed, with how often.
    """

    score: float
    failure: Failure | None = None
    answers: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Answered:
    """One judge's answer in one repeat: one set of answers for each question of a form, or the first failure among them."""

    judge: str
    repeat: int
    answers: tuple[Answers, ...] | Failure


class Panel:
    """Judges with the rule that makes one verdict of their answers.

    Args:
        judges: who is asked; names must differ.
        repeats: how often each is asked the same, each time with another seed.
        aggregate: mean, median or majority of the valid answers.
        least: valid answers that a verdict needs; None is more than half of all.

    Attributes:
        journal: where replies are kept and looked up; memory, unless someone sets another.
        calls: questions that were put to judges so far, those that the journal knew left out.

    Raises:
        MetricError: there is no judge, a name is there twice, or a number cannot be.
    """

    def __init__(self, judges: Sequence[Judge], *, repeats: int = 1, aggregate: str = "mean", least: int | None = None) -> None:
        from metrics.networks.images import check_whole

        names = [judge.name for judge in judges]
        if not names or len(set(names)) < len(names):
            raise MetricError(f"judge: expected at least one and no name twice, got {', '.join(names) or 'none'}; leave one out")
        if aggregate not in AGGREGATES:
            raise MetricError(f"aggregate: expected one of {', '.join(AGGREGATES)}, got {aggregate!r}; mean is the default")
        self.judges, self.aggregate = tuple(judges), aggregate
        self.repeats = check_whole(repeats, "repeats", 1, "1 is the default")
        number = len(judges) * self.repeats
        self.least = number // 2 + 1 if least is None else check_whole(least, "least", 1, "leave it out for more than half")
        if self.least > number:
            raise MetricError(f"least: {self.least} valid answers of {number} cannot be; ask more judges or repeat more often")
        self.journal: Journal = Memory()
        self.calls = 0

    @property
    def rule(self) -> str:
        """Repeats and aggregation in the words of a card."""
        return f"{self.aggregate} of {len(self.judges)} judges x {self.repeats} repeats, at least {self.least} valid"

    def verdicts(self, form: Form, rows: Sequence[Row], *, before: int = 0) -> list[Verdict]:
        """The verdict on each row, by the repeats that come after `before`."""
        return [self._verdict(form, answered) for answered in self.answers(form.asks, rows, before=before)]

    def answers(self, asks: Sequence[Ask], rows: Sequence[Row], *, before: int = 0) -> list[list[Answered]]:
        """What every judge answers in every repeat after `before` to all of `asks`, for each row."""
        found: list[list[Answered]] = [[] for _ in rows]
        for judge in self.judges:
            questions = [
                Question(ask, text, tuple(pictures[name] for name in ask.shows), before + repeat)
                for text, pictures in rows
                for repeat in range(self.repeats)
                for ask in asks
            ]
            said = [read(question.ask, reply) for question, reply in zip(questions, self._replies(judge, questions), strict=True)]
            sets = [said[start : start + len(asks)] for start in range(0, len(said), len(asks))]
            for place, each in enumerate(sets):
                row, repeat = divmod(place, self.repeats)
                found[row].append(Answered(judge.name, before + repeat, _whole(each)))
        return found

    def _replies(self, judge: Judge, questions: Sequence[Question]) -> list[Reply]:
        """A reply to each question, from the journal or from the judge; one that is there twice is asked once."""
        keys = [judge.key(question) for question in questions]
        known = {key: reply for key in dict.fromkeys(keys) if (reply := self.journal.find(key)) and not _passing(reply)}
        todo = {key: question for key, question in zip(keys, questions, strict=True) if key not in known}
        names = list(todo)

        def take(place: int, reply: Reply) -> None:
            key = names[place]
            self.journal.add(key, judge, todo[key], reply)
            known[key] = reply

        self.calls += len(todo)
        if todo:
            judge.ask(list(todo.values()), take)
        silent = Reply(failure=Failure("transport", f"{judge.name} gave no reply"))
        return [known.get(key, silent) for key in keys]

    def _verdict(self, form: Form, answered: Sequence[Answered]) -> Verdict:
        failures = [each.answers for each in answered if isinstance(each.answers, Failure)]
        numbers = [form.number(each.answers) for each in answered if not isinstance(each.answers, Failure)]
        kinds = Counter(failure.kind for failure in failures)
        if len(numbers) < self.least:
            return Verdict(math.nan, _shortage(failures, len(answered), self.least), len(numbers), kinds)
        if self.aggregate == "majority":
            value, votes = Counter(numbers).most_common(1)[0]
            if 2 * votes <= len(numbers):
                return Verdict(
                    math.nan, Failure("split", f"of {len(numbers)} answers at most {votes} agree"), len(numbers), kinds
                )
            return Verdict(value, None, len(numbers), kinds)
        return Verdict(fmean(numbers) if self.aggregate == "mean" else float(median(numbers)), None, len(numbers), kinds)


def _shortage(failures: Sequence[Failure], asked: int, least: int) -> Failure:
    """The failure itself where all are of one kind; where they differ, that there are too few answers, and why."""
    kinds = Counter(failure.kind for failure in failures)
    if len(kinds) == 1:
        return failures[0]
    listed = ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in sorted(kinds.items()))
    return Failure("too_few", f"{asked - len(failures)} of {asked} valid, {least} needed: {listed}")


def _whole(parts: Sequence[Answers | Failure]) -> tuple[Answers, ...] | Failure:
    failed = next((part for part in parts if isinstance(part, Failure)), None)
    return failed or tuple(part for part in parts if not isinstance(part, Failure))


def _passing(reply: Reply) -> bool:
    return reply.failure is not None and reply.failure.kind in PASSING
