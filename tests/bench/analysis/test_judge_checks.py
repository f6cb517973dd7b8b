"""A judge that sees passes, and each that is blind in one way fails the checks that are about that way."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from judges_told import Told
from PIL import Image

from bench.analysis.judge_checks import COLUMNS, failed, judge_checks, samples
from bench.progress import silent
from bench.toybox import embedded
from bench.toybox.manifests import SceneEdit
from bench.toybox.world import render
from metrics.judges import metric as module
from metrics.judges.answers import Failure, Question
from metrics.judges.metric import JudgedVIE

NUMBER = 32
TRIALS = samples(NUMBER)


def reencoded(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=90)
    return np.asarray(Image.open(buffer).convert("RGB"))


def versions(trial: SceneEdit) -> set[bytes]:
    """The right edit as it is, and out of a JPEG."""
    image = render(trial.target).image
    return {image.tobytes(), reencoded(image).tobytes()}


RIGHT: dict[str, set[bytes]] = {}
for each in TRIALS:
    RIGHT.setdefault(each.target.caption, set()).update(versions(each))
PLACES = ("object", "state", "background", "accessory")


def knowing(question: Question) -> dict[str, Any]:
    """Knows the right edits by heart: 9 for the one that the text asks for, else 2."""
    if question.ask.name == "preference":
        first, second = (good(question.text, picture) for picture in question.pictures[1:])
        return {"answer": "tie" if first == second else "first" if first else "second"}
    return dict.fromkeys(question.ask.answers, 9 if good(question.text, question.pictures[-1]) else 2)


def good(text: str, picture: np.ndarray) -> bool:
    """Whether it is the right edit, as it is or out of a JPEG."""
    return picture.tobytes() in RIGHT.get(text, ())


def checked(monkeypatch: pytest.MonkeyPatch, rule: Any, trials: list[SceneEdit] = TRIALS, **more: Any) -> pd.DataFrame:
    monkeypatch.setattr(module, "open_judges", lambda _spec, _device: [Told(rule)])
    return judge_checks(JudgedVIE("whoever", **more), trials, 64, silent)


def graded(change: Any) -> Any:
    """The knowing judge, but for questions with numbers: `change` is told the question and its number."""
    return lambda q: (
        knowing(q) if q.ask.name == "preference" else dict.fromkeys(q.ask.answers, change(q, knowing(q)[q.ask.answers[0]]))
    )


def black(question: Question) -> bool:
    return not question.pictures[-1].any()


def copied(question: Question) -> bool:
    return len(question.pictures) == 2 and np.array_equal(*question.pictures)


def test_a_judge_that_knows_passes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    table = checked(monkeypatch, knowing)
    assert list(table.columns) == list(COLUMNS)
    assert failed(table) == []
    asked = table.set_index("check")["asked"]
    assert asked.drop("state").eq(NUMBER).all()
    assert asked["state"] < NUMBER, "things that have one state only cannot have a wrong one"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (graded(lambda q, n: 9 if black(q) else n), {"black picture"}),
        (graded(lambda q, n: 2 if q.repeat else n), {"repeated call"}),
        (graded(lambda q, n: n / 10), {"ground truth"}),
        (lambda q: {"answer": "first"} if q.ask.name == "preference" else knowing(q), {"swapped order", "right one preferred"}),
        (lambda q: {"answer": "tie"} if q.ask.name == "preference" else knowing(q), {"right one preferred"}),
        (graded(lambda q, n: 9), {"black picture", "source copied", "another text", "text removed", *PLACES}),
        (lambda q: Failure("refused") if black(q) else knowing(q), {"black picture"}),
    ],
    ids=["black", "repeat", "harsh", "place", "tie", "constant", "silent"],
)
def test_a_judge_that_is_blind_fails_where_it_is(monkeypatch: pytest.MonkeyPatch, rule: Any, expected: set[str]) -> None:
    assert set(failed(checked(monkeypatch, rule))) == expected


def test_a_copy_that_passes_for_an_edit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = graded(lambda q, n: 9 if q.ask.name == "quality" or copied(q) else n)
    assert "source copied" in failed(checked(monkeypatch, rule))


def test_to_decline_without_a_text_is_to_have_seen_it(monkeypatch: pytest.MonkeyPatch) -> None:
    table = checked(monkeypatch, lambda q: {"refused": "no text"} if not q.text else knowing(q))
    assert failed(table) == []
    table = checked(monkeypatch, lambda q: "garbage" if not q.text else knowing(q)).set_index("check")
    assert not table.loc["text removed", "passed"]
    assert table.loc["text removed", "failures"] == f"{NUMBER} unparsable"


def test_no_check_is_passed_on_a_handful_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not checked(monkeypatch, knowing, TRIALS[:4])["passed"].any()


@pytest.mark.slow
def test_toyboxs_own_judge_sees_what_it_was_trained_to_see() -> None:
    table = judge_checks(JudgedVIE(embedded.network("judge")), TRIALS[:24], 64, silent)
    assert set(failed(table)) <= {"state"}, "of which there are few, so that one mistake fails it"
