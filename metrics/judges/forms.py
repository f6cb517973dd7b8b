"""The questions that judges are asked, and how the answers to them become one number.

The wordings are this project's own, as those of the papers are not ours to pass on: what is asked and how it is aggregated is theirs, so
a number made here stands beside theirs and does not pass for it. The digest of every word is in the metric's card.

    vie         VIEScore (Ku et al. 2024, arXiv 2312.14867): success and restraint of the edit against its source, naturalness and freedom of
                artifacts of the edit alone, 0..10; SC and PQ are the smaller of their two, overall is sqrt(SC PQ)
    rubric      ImgEdit's (arXiv 2505.20275): compliance, quality and coherence, 1..5, the latter two told to stay below compliance; the mean
    questions   a list of questions with yes or no, as I2EBench (arXiv 2408.14180) asks; the share of yes
    preference  two edits of one source: the first, the second, a tie, or both bad
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from metrics.base import MetricError, fingerprint

__all__ = ["PARTS", "PREFERENCE", "QUESTIONS", "RUBRIC", "VIE", "Answers", "Ask", "Form", "question_list"]

Shown = Literal["source", "edit", "first", "second"]
Answers = Mapping[str, float | str]
"""Name of what was asked for to the number or the option that was answered."""

_LEAD = (
    "You judge the work of an image editor. It was given a picture and this text, which says what the edited picture should show "
    'or what should be done: "{text}"\n'
)
_PICTURES = {
    ("source", "edit"): "The first picture is the original, the second is the edited one.\n",
    ("edit",): "The picture is the edited one; the original is not shown.\n",
    ("source", "first", "second"): "You see the original, then edit 1, then edit 2, made by two editors.\n",
}
_CLOSE = (
    "\nLook closely before you answer, and be strict. Answer with one JSON object and nothing after it, of the form\n{shape}\n"
    'If you cannot or may not judge these pictures, answer {{"refused": "<why>"}} instead.'
)


@dataclass(frozen=True)
class Ask:
    """One question to a judge, answered in one call.

    Attributes:
        name: what it is about.
        shows: the pictures that go with it, in this order.
        wording: the task itself.
        answers: names of what is to be answered.
        scale: smallest and largest number of an answer; None where `options` are to choose from.
        options: what may be answered, lower case.
    """

    name: str
    shows: tuple[Shown, ...]
    wording: str
    answers: tuple[str, ...]
    scale: tuple[float, float] | None = None
    options: tuple[str, ...] = ()

    def prompt(self, text: str) -> str:
        """Everything that the judge reads, with `text` as the editor was given it."""
        kind = "<" + " | ".join(self.options) + ">" if self.options else "<{:g} to {:g}>".format(*(self.scale or (0, 1)))
        shape = "{" + ", ".join([f'"{name}": {kind}' for name in self.answers] + ['"reason": "<one sentence>"']) + "}"
        return _LEAD.replace("{text}", text) + _PICTURES[self.shows] + self.wording + _CLOSE.format(shape=shape)


@dataclass(frozen=True)
class Form:
    """Questions about one edit and the rule that makes one number of their answers.

    Attributes:
        name: of the form and its part.
        asks: the questions; each is a call of its own.
        rule: the rule in the words of a card.
        bounds: ends of the number.
        combine: "least" of all answers, "root" of the product of each question's least, "mean" of all, or "share" of yes.
    """

    name: str
    asks: tuple[Ask, ...]
    rule: str
    bounds: tuple[float, float]
    combine: Literal["least", "root", "mean", "share"]

    @property
    def digest(self) -> str:
        """12 hex over every word that is sent."""
        return fingerprint({"asks": [asdict(ask) | {"prompt": ask.prompt("{text}")} for ask in self.asks]})

    def number(self, answers: Sequence[Answers]) -> float:
        """The number of one set of answers, one for each question."""
        if self.combine == "share":
            return sum(answer["answer"] == "yes" for answer in answers) / len(answers)
        numbers = [[float(answer[name]) for name in ask.answers] for ask, answer in zip(self.asks, answers, strict=True)]
        if self.combine == "mean":
            return sum(map(sum, numbers)) / sum(map(len, numbers))
        least = [min(each) for each in numbers]
        return math.sqrt(math.prod(least)) if self.combine == "root" else min(least)


_CONSISTENCY = Ask(
    "consistency",
    ("source", "edit"),
    "Give two numbers from 0 to 10. success: how fully the edited picture does what the text says; 0 is not at all, 10 is fully. "
    "restraint: how well everything that the text did not ask to change was left as it was; 0 is another scene, 10 is nothing "
    "changed needlessly.",
    ("success", "restraint"),
    (0.0, 10.0),
)
_QUALITY = Ask(
    "quality",
    ("edit",),
    "Give two numbers from 0 to 10 for the picture itself, whatever the text says. naturalness: whether light, shadow, scale and place "
    "of things fit together as in a picture that nobody edited. artifacts: 10 is free of smears, seams, noise, broken or doubled parts; "
    "0 is full of them.",
    ("naturalness", "artifacts"),
    (0.0, 10.0),
)
VIE: Mapping[str, Form] = {
    "overall": Form(
        "vie overall",
        (_CONSISTENCY, _QUALITY),
        "sqrt(min(success, restraint) min(naturalness, artifacts))",
        (0.0, 10.0),
        "root",
    ),
    "sc": Form("vie sc", (_CONSISTENCY,), "min(success, restraint)", (0.0, 10.0), "least"),
    "pq": Form("vie pq", (_QUALITY,), "min(naturalness, artifacts)", (0.0, 10.0), "least"),
}
"""VIEScore's overall, semantic consistency and perceptual quality."""

RUBRIC = Form(
    "rubric",
    (
        Ask(
            "rubric",
            ("source", "edit"),
            "Give three grades from 1 to 5, where 1 is failed, 3 is partly right and 5 is without fault. compliance: whether the text was "
            "carried out, all of it and nothing else. quality: whether the edited part looks real and clean. coherence: whether light, "
            "geometry and detail fit between what was edited and what was kept. Neither of the last two may be above compliance.",
            ("compliance", "quality", "coherence"),
            (1.0, 5.0),
        ),
    ),
    "mean of compliance, quality and coherence",
    (1.0, 5.0),
    "mean",
)
"""ImgEdit's three grades."""

PARTS: Mapping[str, str] = {
    "object": "Is the main object of the edited picture the one that the text asks for?",
    "state": "Is that object in the state, pose or colour that the text asks for, or in its original one where the text asks for none?",
    "background": "Is the place or background of the edited picture the one that the text asks for, or the original one where it asks for none?",
    "accessory": "Is everything else that the text names there, and is what it takes away gone?",
    "kept": "Is everything that the text did not ask to change as it is in the original?",
}
"""Questions that are asked where a spec lists none, by what they are about."""


def question_list(questions: Sequence[str] | Mapping[str, str]) -> Form:
    """The form of questions that are answered with yes or no; of a list, each is about "question 1", "question 2"...

    Raises:
        MetricError: there is none, or one is no text.
    """
    if isinstance(questions, str) or not questions:
        raise MetricError(f"questions: expected a list of at least one question, got {questions!r}")
    named = questions if isinstance(questions, Mapping) else {f"question {n}": each for n, each in enumerate(questions, 1)}
    for each in list[object](named.values()):
        if not isinstance(each, str) or not each.strip():
            raise MetricError(f"questions: expected texts, got {each!r}")
    asks = tuple(
        Ask(name, ("source", "edit"), f"Answer with yes or no. {question}", ("answer",), options=("yes", "no"))
        for name, question in named.items()
    )
    return Form("questions", asks, f"share of yes among {len(asks)}", (0.0, 1.0), "share")


QUESTIONS = question_list(PARTS)
"""Object, state, background, accessory, and what was to be kept."""

PREFERENCE = Ask(
    "preference",
    ("source", "first", "second"),
    "Which edit is better: does what the text says, keeps what it does not mention, and looks right? Answer first or second; tie if they "
    "are equally good; both_bad if neither does what the text says.",
    ("answer",),
    options=("first", "second", "tie", "both_bad"),
)
"""Two edits of one source."""
