"""Questions in authors' words come from a file, are sent as they are, and are read in the form that they ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judges_told import Told

from metrics.base import MetricError, PairBatch
from metrics.judges import metric as module
from metrics.judges.answers import Failure, Question, Reply
from metrics.judges.forms import Answers
from metrics.judges.metric import JudgedPrompts
from metrics.judges.parsing import read
from metrics.judges.published import published_forms

VIE = {"SC": "Two scores of 0 to 10. Editing instruction: <instruction>", "PQ": "Two scores of 0 to 10 for this picture, {json}."}
IMGEDIT = {"add": "Three grades. Editing instruction is : <edit_prompt>.", "style": "Three grades of style for <edit_prompt>"}


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(content: object) -> Path:
        file = tmp_path / "prompts.json"
        file.write_text(json.dumps(content))
        return file

    return write


@pytest.fixture
def by(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A metric whose judge is given as it is."""

    def make(judge: Told, **more: Any) -> JudgedPrompts:
        monkeypatch.setattr(module, "open_judges", lambda _spec, _device: [judge])
        return JudgedPrompts("whoever", **more)

    return make


def batch(*categories: str | None) -> PairBatch:
    n = len(categories)
    edits, sources = ([np.full((4, 4, 3), level, dtype=np.uint8) for _ in range(n)] for level in (9, 0))
    return PairBatch(edits, sources, ["add a hat"] * n, [None] * n, [None] * n, [None] * n, categories=list(categories))


def test_viescore_asks_in_the_files_words_and_joins_the_smaller_scores(by: Any, written: Any) -> None:
    def rule(question: Question) -> str:
        return 'Thus: {"score": [9, 4], "reasoning": "a hat"}' if question.ask.name == "SC" else '{"score" : [9.0, 10]}'

    judge = Told(rule)
    scores = {
        part: by(judge, form="viescore", prompts=str(written(VIE)), part=part).score(batch(None))
        for part in ("overall", "sc", "pq")
    }
    assert {part: float(score[0]) for part, score in scores.items()} == {"overall": 6.0, "sc": 4.0, "pq": 9.0}
    assert {question.prompt for question in judge.asked} == {VIE["SC"].replace("<instruction>", "add a hat"), VIE["PQ"]}
    assert {question.ask.name: len(question.pictures) for question in judge.asked} == {"SC": 2, "PQ": 1}


def test_imgedit_asks_by_the_type_of_edit(by: Any, written: Any) -> None:
    judge = Told(
        lambda q: f"Brief reasoning: fine\nPrompt Compliance: {2 if q.ask.name == 'add' else 5}\nVisual: 3\nPhysical: 4\n"
    )
    found = by(judge, form="imgedit", prompts=str(written(IMGEDIT)))
    verdicts = found.verdicts(batch("style", "add", None, "dance"))
    assert [verdict.score for verdict in verdicts[:2]] == [4.0, 3.0]
    assert [verdict.failure.kind for verdict in verdicts[2:] if verdict.failure] == ["unasked", "unasked"]
    assert {question.prompt for question in judge.asked} == {
        each.replace("<edit_prompt>", "add a hat") for each in IMGEDIT.values()
    }
    assert list(found.bounds) == [1, 5]


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("viescore", 'first {"score": [1, 1]} then {"score": [7, 8], "reasoning": "x"}', {"first": 7.0, "second": 8.0}),
        ("viescore", '{"score": [7]}', "unparsable"),
        ("viescore", '{"score": [7, 11]}', "unparsable"),
        ("viescore", '{"score": [7, true]}', "unparsable"),
        ("viescore", '{"score": 7}', "unparsable"),
        ("viescore", "I cannot judge this", "refused"),
        ("imgedit", "A: 1\nB: 5\n  C: 3  ", {"first": 1.0, "second": 5.0, "third": 3.0}),
        ("imgedit", "A: 1\nB: 5", "unparsable"),
        ("imgedit", "A: 1\nB: 5\nC: 3\nD: 2", "unparsable"),
        ("imgedit", "A: 1\nB: 6\nC: 3", "unparsable"),
        ("imgedit", "A: 1/5\nB: 5/5\nC: 3/5", "unparsable"),
        ("imgedit", "", "unparsable"),
    ],
)
def test_a_reply_is_read_whole_or_not_at_all(form: str, text: str, expected: Answers | str, written: Any) -> None:
    forms = published_forms(form, written(VIE if form == "viescore" else IMGEDIT))
    found = read(next(iter(forms.values())).asks[0], Reply(text))
    assert (found.kind if isinstance(found, Failure) else found) == expected


def test_every_word_is_in_the_card(by: Any, written: Any) -> None:
    judge = Told(lambda q: "")
    made = [by(judge, form="viescore", prompts=str(written(VIE))), by(judge, form="imgedit", prompts=str(written(IMGEDIT)))]
    made += [by(judge, form="viescore", prompts=str(written(VIE | {"PQ": "other words"})))]
    made += [by(judge, form="imgedit", prompts=str(written(IMGEDIT | {"style": "other words <edit_prompt>"})))]
    assert len({metric.card.prompt for metric in made}) == len({metric.card.fingerprint for metric in made}) == 4
    assert "from a file" in made[0].card.definition


@pytest.mark.parametrize(
    ("form", "content", "said"),
    [
        ("viescore", {"SC": VIE["SC"]}, "no prompt 'PQ'; it has SC"),
        ("viescore", VIE | {"SC": "no place for it"}, "'SC': no <instruction> in it"),
        ("imgedit", {"add": "no place"}, "'add': no <edit_prompt> in it"),
        ("imgedit", {}, "no prompt in it"),
        ("imgedit", ["x"], "expected a JSON object of prompts by name"),
        ("imgedit", {"add": 3}, "expected a JSON object of prompts by name"),
        ("kris", VIE, "form: expected one of viescore, imgedit, got 'kris'"),
    ],
)
def test_a_file_that_is_none_of_the_form_is_refused(form: str, content: object, said: str, written: Any) -> None:
    with pytest.raises(MetricError, match=said):
        JudgedPrompts("folder:none", form, str(written(content)))


def test_a_part_that_the_form_has_not_is_refused(written: Any, tmp_path: Path) -> None:
    with pytest.raises(MetricError, match="part: expected one of overall, sc, pq, got 'best'"):
        published_forms("viescore", written(VIE), "best")
    with pytest.raises(MetricError, match="imgedit has none but overall"):
        published_forms("imgedit", written(IMGEDIT), "sc")
    with pytest.raises(MetricError, match=r"none\.json cannot be read"):
        published_forms("imgedit", tmp_path / "none.json")
