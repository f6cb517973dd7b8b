"""What a panel makes of answers and failures: mean, median and majority of the valid ones, and never a number for want of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from judges_told import Told, brightness

from metrics.base import MetricError
from metrics.judges.answers import Failure, Question, Reply
from metrics.judges.forms import QUESTIONS, RUBRIC, VIE, Form, question_list
from metrics.judges.pairwise import Trial, majority, preferences
from metrics.judges.panel import Panel, Row


def rows(*levels: int) -> list[Row]:
    source = np.zeros((4, 4, 3), dtype=np.uint8)
    return [(f"text {level}", {"source": source, "edit": np.full((4, 4, 3), level, dtype=np.uint8)}) for level in levels]


def saying(*answers: float | Failure) -> Told:
    """Gives one of `answers` for each repeat."""

    def rule(question: Question) -> dict[str, Any] | Failure:
        said = answers[question.repeat % len(answers)]
        return said if isinstance(said, Failure) else dict.fromkeys(question.ask.answers, said)

    return Told(rule)


def verdict(judges: Sequence[Told], form: Form = VIE["sc"], **panel: Any) -> Any:
    return Panel(judges, **panel).verdicts(form, rows(100))[0]


REFUSED, LATE = Failure("refused"), Failure("timed_out")


def test_forms_are_aggregated_as_published() -> None:
    sc, pq = {"success": 9.0, "restraint": 4.0}, {"naturalness": 9.0, "artifacts": 10.0}
    assert VIE["overall"].number([sc, pq]) == pytest.approx(math.sqrt(4 * 9))
    assert (VIE["sc"].number([sc]), VIE["pq"].number([pq])) == (4.0, 9.0)
    assert RUBRIC.number([{"compliance": 5.0, "quality": 3.0, "coherence": 1.0}]) == 3.0
    said = ["yes", "no", "no", "yes", "yes"]
    assert QUESTIONS.number([{"answer": each} for each in said]) == pytest.approx(3 / 5)


@pytest.mark.parametrize(("rule", "expected"), [("mean", 4.0), ("median", 2.0), ("majority", 2.0)])
def test_repeats_are_aggregated_by_the_rule(rule: str, expected: float) -> None:
    found = verdict([saying(2.0, 2.0, 8.0)], repeats=3, aggregate=rule)
    assert (found.score, found.answers, found.failure) == (expected, 3, None)


def test_answers_without_a_majority_are_split_and_no_number() -> None:
    found = verdict([saying(2.0, 5.0, 8.0, 2.0)], repeats=4, aggregate="majority")
    assert math.isnan(found.score)
    assert found.failure.kind == "split"


def test_a_failed_answer_is_left_out_and_counted() -> None:
    found = verdict([saying(6.0, REFUSED, 8.0)], repeats=3)
    assert (found.score, found.answers, found.failures) == (7.0, 2, {"refused": 1})


def test_too_few_valid_answers_are_no_verdict_and_say_why() -> None:
    found = verdict([saying(6.0, REFUSED, LATE)], repeats=3)
    assert math.isnan(found.score)
    assert str(found.failure) == "too few: 1 of 3 valid, 2 needed: 1 refused, 1 timed out"
    assert verdict([saying(6.0, REFUSED, LATE)], repeats=3, least=1).score == 6.0
    assert verdict([saying(REFUSED)]).failure == REFUSED


def test_one_question_of_a_form_that_fails_fails_the_answer() -> None:
    judge = Told(lambda q: REFUSED if q.ask.name == "quality" else dict.fromkeys(q.ask.answers, 9))
    assert verdict([judge], VIE["overall"]).failure == REFUSED
    assert verdict([judge], VIE["sc"]).score == 9.0


def test_judges_of_a_panel_count_alike() -> None:
    panel = [
        Told(lambda q, level=level: dict.fromkeys(q.ask.answers, level), name)
        for name, level in zip("abc", (2, 4, 9), strict=True)
    ]
    assert verdict(panel).score == 5.0
    assert verdict(panel, aggregate="median").score == 4.0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"aggregate": "best"}, "aggregate: expected one of"),
        ({"least": 3, "repeats": 2}, "least: 3 valid"),
        ({"repeats": 0}, "repeats"),
    ],
)
def test_a_panel_that_cannot_be_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(MetricError, match=said):
        Panel([saying(1.0)], **wrong)
    with pytest.raises(MetricError, match="no name twice"):
        Panel([saying(1.0), saying(1.0)])


def test_what_the_journal_has_is_not_asked_again_unless_it_may_pass() -> None:
    judge = saying(5.0)
    panel = Panel([judge])
    first = panel.verdicts(VIE["overall"], rows(10, 20, 10))
    assert len(judge.asked) == panel.calls == 4  # two questions about each of two pictures; the third is the first
    assert panel.verdicts(VIE["overall"], rows(20, 10)) == first[1::-1]
    assert len(judge.asked) == 4
    for failure, calls in ((LATE, 2), (REFUSED, 1)):
        judge = Told(lambda _, failure=failure: failure)
        panel = Panel([judge])
        for _ in range(2):
            assert panel.verdicts(VIE["sc"], rows(10))[0].failure == failure
        assert len(judge.asked) == calls


def test_a_question_that_a_judge_leaves_open_is_a_failure() -> None:
    judge = Told(brightness)
    judge.ask = lambda questions, take: None  # type: ignore[method-assign]
    assert verdict([judge]).failure.kind == "transport"


def test_questions_differ_by_words_pixels_repeat_and_place() -> None:
    one, two = (np.full((2, 3, 3), level, dtype=np.uint8) for level in (1, 2))
    sc, pq = VIE["overall"].asks
    given = [
        Question(sc, "a", (one, two)),
        Question(sc, "b", (one, two)),
        Question(sc, "a", (two, one)),
        Question(sc, "a", (one, two), 1),
        Question(pq, "a", (two,)),
        Question(sc, "a", (one.transpose(1, 0, 2), two)),
    ]
    assert len({question.digest for question in given}) == len(given)
    assert Question(sc, "a", (one.copy(), two)).digest == given[0].digest


def test_a_text_cannot_forge_the_form_of_the_prompt() -> None:
    text = '{shape} {text} "quoted" }}'
    assert VIE["sc"].asks[0].prompt(text).count(text) == 1
    assert question_list(["Is {it} so?"]).asks[0].prompt("x").count("Is {it} so?") == 1


def trial(first: int, second: int) -> Trial:
    pictures = [np.full((4, 4, 3), level, dtype=np.uint8) for level in (0, first, second)]
    return Trial("brighter", *pictures)


def test_a_pair_is_asked_in_both_orders_and_the_preference_is_of_the_edit() -> None:
    judge = Told(brightness)
    said = preferences(Panel([judge]), [trial(200, 100), trial(50, 100), trial(70, 70)])
    assert [each[0].outcome for each in said] == ["first", "second", "tie"]
    assert said[0][0].shown == ("first", "second")
    assert len(judge.asked) == 5  # the orders of two equal edits are one question


@pytest.mark.parametrize("place", ["first", "second"])
def test_naming_a_place_is_a_flip_and_no_preference(place: str) -> None:
    ((said,),) = preferences(Panel([Told(lambda _: {"answer": place})]), [trial(200, 100)])
    assert (said.outcome, said.failure) == ("flip", None)


def test_a_tie_one_way_and_a_preference_the_other_is_a_flip() -> None:
    judge = Told(lambda q: {"answer": "tie" if q.pictures[1].mean() > 150 else "first"})
    ((said,),) = preferences(Panel([judge]), [trial(200, 100)])
    assert said.outcome == "flip"


def test_both_bad_is_told_from_a_tie() -> None:
    ((said,),) = preferences(Panel([Told(lambda _: {"answer": "both_bad"})]), [trial(200, 100)])
    assert said.outcome == "both_bad"


def test_an_order_without_an_answer_is_a_failure_and_no_tie() -> None:
    judge = Told(lambda q: Reply("").text if q.pictures[1].mean() > 150 else {"answer": "first"})
    ((said,),) = preferences(Panel([judge]), [trial(200, 100)])
    assert said.outcome is None
    assert said.failure is not None
    assert said.failure.kind == "unparsable"
    assert majority([said], 1) is None
