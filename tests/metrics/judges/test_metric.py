"""Judged metrics: the card holds all that changes a score, and a failure is NaN to whoever asks for numbers alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judges_told import Told, brightness

from metrics.base import MetricError, PairBatch
from metrics.judges import metric as module
from metrics.judges.answers import Failure
from metrics.judges.metric import JudgedMetric, JudgedQuestions, JudgedRubric, JudgedVIE
from metrics.judges.toybox import SceneJudge


@pytest.fixture
def by(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A judged metric whose judges are given as they are."""

    def make(kind: type[JudgedMetric], *judges: Told, **more: Any) -> Any:
        monkeypatch.setattr(module, "open_judges", lambda _spec, _device: list(judges))
        return kind("whoever", **more)

    return make


def batch(*levels: int, text: str = "brighter") -> PairBatch:
    edits = [np.full((4, 4, 3), level, dtype=np.uint8) for level in levels]
    sources = [np.zeros((4, 4, 3), dtype=np.uint8) for _ in levels]
    n = len(levels)
    return PairBatch(edits, sources, [text] * n, [None] * n, [None] * n, [None] * n)


def test_scores_are_on_the_scale_of_their_form(by: Any) -> None:
    for kind, expected in ((JudgedVIE, [0, 10]), (JudgedRubric, [1, 5]), (JudgedQuestions, [0, 1])):
        found = by(kind, Told(brightness))
        np.testing.assert_allclose(found.score(batch(0, 255)), expected)
        assert list(found.bounds) == expected


def test_a_failure_is_nan_among_numbers_and_has_its_kind_among_verdicts(by: Any) -> None:
    found = by(JudgedRubric, Told(lambda q: Failure("safety") if q.pictures[1].mean() == 0 else brightness(q)))
    np.testing.assert_allclose(found.score(batch(0, 255)), [np.nan, 5.0])
    first, second = found.verdicts(batch(0, 255))
    assert (first.failure, second.failure) == (Failure("safety"), None)


def test_everything_that_changes_a_score_changes_the_fingerprint(by: Any) -> None:
    other = Told(brightness, "other")
    dated = Told(brightness)
    dated.snapshot = "2"
    warm = Told(brightness)
    warm.sampling = "temperature=1"
    made = [
        by(JudgedVIE, Told(brightness)),
        by(JudgedVIE, Told(brightness), part="sc"),
        by(JudgedVIE, Told(brightness), repeats=3),
        by(JudgedVIE, Told(brightness), repeats=3, aggregate="median"),
        by(JudgedVIE, Told(brightness), repeats=3, least=1),
        by(JudgedVIE, other),
        by(JudgedVIE, dated),
        by(JudgedVIE, warm),
        by(JudgedVIE, Told(brightness), other),
        by(JudgedQuestions, Told(brightness)),
        by(JudgedQuestions, Told(brightness), questions=["Is it bright?"]),
        by(JudgedQuestions, Told(brightness), questions=["Is it dark?"]),
    ]
    assert len({metric.card.fingerprint for metric in made}) == len(made)
    assert by(JudgedVIE, Told(brightness)).card.fingerprint == made[0].card.fingerprint


@pytest.mark.parametrize(
    ("kind", "wrong", "said"),
    [
        (JudgedVIE, {"part": "best"}, "judge_vie part: expected one of overall, sc, pq"),
        (JudgedQuestions, {"questions": []}, "questions: expected a list"),
        (JudgedQuestions, {"questions": ["Is it?", 3]}, "questions: expected texts, got 3"),
    ],
)
def test_what_cannot_be_asked_is_refused(by: Any, kind: type[JudgedMetric], wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(MetricError, match=said):
        by(kind, Told(brightness), **wrong)


def test_a_scene_judge_refuses_what_it_does_not_know(scenes_folder: Path, judge_folder: Path) -> None:
    found = JudgedQuestions(f"local-dir:{scenes_folder}")
    assert {verdict.failure for verdict in found.verdicts(batch(9, text="a dog"))} == {None}
    (unknown,) = found.verdicts(batch(9, text="a zebra"))
    assert unknown.failure is not None
    assert str(unknown.failure) == "refused: the text is no caption of the 4 that I know"
    own = JudgedQuestions(f"local-dir:{scenes_folder}", questions=["Is it a good edit?"])
    assert str(own.verdicts(batch(9, text="a dog"))[0].failure).startswith("refused: I answer about object, state")
    with pytest.raises(MetricError, match=r"scenes\.json"):
        SceneJudge(f"local-dir:{judge_folder}")
