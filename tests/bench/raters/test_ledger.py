from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from served_study import small_study

from bench.errors import RunError
from bench.raters import ledger as module
from bench.raters.export import participants, votes_of
from bench.raters.ledger import Answer, Ledger
from bench.raters.study import Study, StudyFolder

LEFT = Answer("left", seconds=1.5)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return small_study(tmp_path / "study")


def opened(folder: StudyFolder, **changes: object) -> Ledger:
    study = replace(folder.read(), **changes)  # type: ignore[arg-type]
    return Ledger(folder.ledger, study)


def begun(ledger: Ledger, name: str = "") -> str:
    session = ledger.arrive(name)
    ledger.consent(session)
    return session


def finish(ledger: Ledger, session: str, answer: Answer = LEFT) -> None:
    while (found := ledger.look(session)) is not None and found.trial is not None:
        assert ledger.vote(session, found.trial.position, answer)


def test_a_session_is_sealed_and_goes_on_where_it_was(folder: StudyFolder) -> None:
    ledger = opened(folder)
    session = begun(ledger, "P1")
    first = ledger.look(session)
    assert first is not None
    assert first.trial is not None
    ledger.vote(session, 0, LEFT)
    second = ledger.look(session)
    ledger.close()
    again = opened(folder)
    assert again.arrive("P1") == session, "the platform's id leads back"
    assert again.look(session) == second
    again.consent(session)
    assert again.look(session) == second, "consent draws once"


def test_a_session_has_its_trials_its_gold_and_its_duplicate(folder: StudyFolder) -> None:
    ledger, study = opened(folder), folder.read()
    for number in range(8):
        finish(ledger, begun(ledger, f"P{number}"))
    votes = votes_of(study, ledger)
    for _, own in votes.groupby("rater"):
        assert own["position"].tolist() == list(range(6))
        assert own["kind"].value_counts().to_dict() == {"trial": 4, "gold": 1, "duplicate": 1}
        assert own.loc[own["kind"] == "trial", "item"].is_unique
        assert own["kind"].iloc[0] == "trial", "nobody begins with a test"
        duplicate = own[own["kind"] == "duplicate"].iloc[0]
        original = own[(own["item"] == duplicate["item"]) & (own["kind"] == "trial")].iloc[0]
        assert duplicate["position"] > original["position"]
        assert {duplicate["first_side"], original["first_side"]} == {"left", "right"}, "shown again with sides changed"


def test_items_and_sides_are_dealt_evenly(folder: StudyFolder) -> None:
    ledger, study = opened(folder, votes=100), folder.read()
    for number in range(1, 28):
        finish(ledger, begun(ledger))
        held = Counter(ledger.held().values())
        assert max(held) - min(held) <= 1, f"after {number} raters"
    trials = votes_of(study, ledger).query("kind == 'trial'")
    sides = trials.groupby(["item", "first_side"]).size().unstack(fill_value=0)
    assert (sides["left"] - sides["right"]).abs().max() <= 1
    assert (trials.groupby("rater")["first_side"].nunique() == 2).mean() > 0, "chance, not one side a rater"


def test_the_draw_follows_the_seed(folder: StudyFolder, tmp_path: Path) -> None:
    other = small_study(tmp_path / "again")
    third = small_study(tmp_path / "third", seed=1)
    drawn = []
    for each in (folder, other, third):
        ledger = Ledger(each.ledger, each.read())
        finish(ledger, begun(ledger))
        drawn.append(votes_of(each.read(), ledger)[["item", "first_side", "kind"]].to_numpy().tolist())
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_first_of_two_votes_stands(folder: StudyFolder) -> None:
    ledger = opened(folder)
    session = begun(ledger)
    assert ledger.vote(session, 0, Answer("left"))
    assert ledger.vote(session, 0, Answer("right")), "it is stored, though not this one"
    (vote,) = ledger.votes()
    assert vote["answer"] == "left"


def test_no_trial_is_jumped_over_and_none_is_made_up(folder: StudyFolder) -> None:
    ledger = opened(folder)
    session = begun(ledger)
    assert not ledger.vote(session, 1, LEFT)
    assert not ledger.vote(session, 99, LEFT)
    assert not ledger.vote("nobody", 0, LEFT)
    assert not ledger.vote(ledger.arrive(), 0, LEFT), "not before consent"
    assert ledger.look("nobody") is None
    assert ledger.votes() == []


def test_two_servers_on_one_file_do_not_deal_the_same(folder: StudyFolder) -> None:
    ledgers = [opened(folder, votes=2), opened(folder, votes=2)]
    sessions = [(ledger, begun(ledger)) for _ in range(4) for ledger in ledgers]
    for ledger, session in sessions:
        finish(ledger, session)
    votes = votes_of(folder.read(), ledgers[0])
    assert len(votes) == 8 * 6
    assert set(ledgers[0].held().values()) <= {1, 2}
    assert not votes.duplicated(["rater", "position"]).any()


def test_what_a_silent_rater_left_goes_to_others(folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """18 pairs, one rater each, four a session: the fifth session gets two, and what the silent first one had open once it lapsed."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "time", lambda: now[0])
    ledger = opened(folder, votes=1, duplicates=0, golds=0)
    silent = begun(ledger, "silent")
    ledger.vote(silent, 0, LEFT)
    for _ in range(4):
        now[0] += 60
        finish(ledger, begun(ledger))
    assert sum(ledger.held().values()) == 18
    late = begun(ledger)
    found = ledger.look(late)
    assert found is not None
    assert found.trial is None, "all have their rater"
    assert found.state == "full"
    now[0] += 3600
    later = begun(ledger)
    finish(ledger, later)
    assert sum(ledger.held().values()) == 18
    assert len(ledger.votes()) == 1 + 14 + 3
    finish(ledger, silent)
    assert len(ledger.votes()) == 1 + 14 + 3 + 3, "who comes back finds the session as it was"
    assert max(ledger.held().values()) == 2


def test_votes_name_the_editor_whatever_its_side(folder: StudyFolder) -> None:
    ledger, study = opened(folder), folder.read()
    finish(ledger, begun(ledger, "P1"))
    items = {item.id: item for item in study.items}
    votes = votes_of(study, ledger)
    for row in votes.to_dict("records"):
        assert row["first"] == items[row["item"]].first.editor
        assert row["answer"] == ("first" if row["first_side"] == "left" else "second")
    assert set(votes["seconds"]) == {1.5}
    assert votes["rater"].unique().tolist() == ["r0001"], "no name of the platform's"
    people = participants(ledger)
    assert people.loc[0, ["rater", "participant", "answered", "trials"]].tolist() == ["r0001", "P1", 6, 6]
    assert people.loc[0, "finished"]


def test_ratings_are_two_rows(tmp_path: Path) -> None:
    folder = small_study(tmp_path / "ratings", form="ratings")
    ledger, study = Ledger(folder.ledger, folder.read()), folder.read()
    finish(ledger, begun(ledger), Answer(sc=0.5, pq=1.0))
    votes = votes_of(study, ledger)
    assert votes.groupby("question")["score"].unique().map(list).to_dict() == {"SC": [0.5], "PQ": [1.0]}
    gold = votes[votes["kind"] == "gold"].set_index("question")
    assert gold["expected"].to_dict() == {"SC": "0", "PQ": ""}


def test_a_file_that_is_no_ledger_is_named(folder: StudyFolder) -> None:
    folder.ledger.write_bytes(b"something else, and long enough to be read as a header of a file")
    with pytest.raises(RunError, match=r"votes\.sqlite is no ledger of votes"):
        Ledger(folder.ledger, folder.read())


def test_votes_are_flushed_before_they_are_confirmed(folder: StudyFolder) -> None:
    ledger = opened(folder)
    said: list[str] = []
    ledger._db.set_trace_callback(said.append)
    session = begun(ledger)
    said.clear()
    ledger.vote(session, 0, LEFT)
    assert said[0].lower() == "pragma synchronous=full"
    assert said[-1].lower() == "commit"
    assert ledger._db.execute("pragma journal_mode").fetchone() == ("wal",)
    with sqlite3.connect(folder.ledger) as other:
        assert other.execute("select count(*) from votes").fetchone() == (1,)
    other.close()


def test_a_study_smaller_than_a_session_is_one(tmp_path: Path) -> None:
    folder = small_study(tmp_path / "study")
    study: Study = replace(folder.read(), items=folder.read().items[:1], trials=1, golds=0, duplicates=1)
    ledger = Ledger(folder.ledger, study)
    finish(ledger, begun(ledger))
    assert [vote["kind"] for vote in ledger.votes()] == ["trial", "duplicate"]
