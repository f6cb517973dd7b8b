from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.judges.answers import FAILURES, Failure, Reply
from metrics.judges.forms import PREFERENCE, QUESTIONS, RUBRIC, VIE
from metrics.judges.parsing import read

SC = VIE["sc"].asks[0]


def kind(text: str, ask: Any = SC) -> str:
    found = read(ask, Reply(text))
    assert isinstance(found, Failure), found
    return found.kind


@pytest.mark.parametrize(
    "text",
    [
        '{"success": 7, "restraint": 9.5}',
        '```json\n{"success": "7", "restraint": 9.5, "reason": "a {brace} in it"}\n```',
        '<think>maybe {"success": 1, "restraint": 1}?</think> {"success": 7, "restraint": 9.5}',
        'I see {a dog}. {"success": 7, "restraint": 9.5} ',
    ],
)
def test_the_last_object_is_the_answer(text: str) -> None:
    assert read(SC, Reply(text)) == {"success": 7.0, "restraint": 9.5}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "success 7, restraint 9",
        '{"success": 7}',
        '{"success": 7, "restraint": null}',
        '{"success": 7, "restraint": true}',
        '{"success": 7, "restraint": "9/10"}',
        '{"success": 7, "restraint": 10.01}',
        '{"success": -1, "restraint": 9}',
        '{"success": 7, "restraint": NaN}',
        '{"success": 7, "restraint": 1e999}',
        '{"success": [7], "restraint": 9}',
        '{"success": 7, "restraint"',
        "{" * 5000,
    ],
)
def test_what_does_not_say_it_is_unparsable_and_never_a_number(text: str) -> None:
    assert kind(text) == "unparsable"


@pytest.mark.parametrize(
    "text", ['{"refused": "I may not"}', "I'm sorry, I can't help with that.", "I cannot evaluate images of people."]
)
def test_a_refusal_is_one(text: str) -> None:
    assert kind(text) == "refused"


def test_a_failure_on_the_way_stays_what_it_was() -> None:
    failure = Failure("timed_out", "nothing")
    assert read(SC, Reply('{"success": 7, "restraint": 9}', failure)) is failure


def test_options_are_the_ones_that_were_offered() -> None:
    assert read(PREFERENCE, Reply('{"answer": "Both bad"}')) == {"answer": "both_bad"}
    assert read(QUESTIONS.asks[0], Reply('{"answer": " YES "}')) == {"answer": "yes"}
    assert kind('{"answer": "maybe"}', QUESTIONS.asks[0]) == "unparsable"
    assert kind('{"answer": "A"}', PREFERENCE) == "unparsable"


@given(st.text())
def test_no_words_break_it(text: str) -> None:
    found = read(RUBRIC.asks[0], Reply(text))
    assert isinstance(found, dict) or (isinstance(found, Failure) and found.kind in FAILURES)
