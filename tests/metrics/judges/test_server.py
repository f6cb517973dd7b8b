"""A server that misbehaves in every way gives typed failures and never numbers."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest
from judge_server import MODEL, JudgeServer, judge_server

from metrics.base import MetricError
from metrics.judges.answers import Question, Reply
from metrics.judges.forms import VIE
from metrics.judges.opening import open_judge
from metrics.judges.parsing import read
from metrics.judges.server import ServerJudge

ASK = VIE["sc"].asks[0]
KEY = "ETABENCH_TEST_KEY"


def judge(server: JudgeServer, **more: Any) -> ServerJudge:
    found = open_judge({"server": server.url, "model": MODEL, "key": KEY, "timeout": 5.0, "retries": 2} | more)
    assert isinstance(found, ServerJudge)
    return found


def questions(number: int = 1) -> list[Question]:
    pictures = [np.full((8, 12, 3), level, dtype=np.uint8) for level in range(number + 1)]
    return [Question(ASK, f"a dog {n}", (pictures[0], pictures[n + 1])) for n in range(number)]


def asked(who: ServerJudge, given: list[Question]) -> list[Reply]:
    found: dict[int, Reply] = {}
    who.ask(given, found.__setitem__)
    return [found[place] for place in range(len(given))]


def kind(server: JudgeServer, **more: Any) -> tuple[str, str]:
    """Kind and detail of the failure of one question."""
    (reply,) = asked(judge(server, **more), questions())
    failure = read(ASK, reply)
    assert hasattr(failure, "kind"), failure
    return failure.kind, failure.detail


def test_a_proper_answer_is_read_and_the_request_is_what_the_card_says() -> None:
    with judge_server("ok") as server:
        (reply,) = asked(judge(server, seed=5), questions())
        assert read(ASK, reply) == {"success": 5.0, "restraint": 5.0}
        assert reply.model == MODEL
        assert reply.facts["attempts"] == 1
        assert reply.facts["fingerprint"] == "fp_1"
        (body,) = server.requests
        assert (body["model"], body["seed"], body["temperature"]) == (MODEL, 5, 0.0)
        content = body["messages"][0]["content"]
        assert [part["type"] for part in content] == ["image_url", "image_url", "text"]
        assert content[0]["image_url"]["url"].startswith("data:image/png;base64,")
        assert '"a dog 0"' in content[-1]["text"]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("refuse", "refused"),
        ("decline", "refused"),
        ("rubbish", "unparsable"),
        ("range", "unparsable"),
        ("half", "unparsable"),
        ("cut", "cut_off"),
        ("filter", "safety"),
        ("filter400", "safety"),
        ("drift", "drifted"),
        ("drop", "transport"),
        ("html", "transport"),
        ("later", "transport"),
    ],
)
def test_what_is_no_answer_is_a_failure_of_its_kind(what: str, expected: str) -> None:
    with judge_server(what) as server:
        assert kind(server, retries=0)[0] == expected


def test_silence_times_out() -> None:
    with judge_server("stall") as server:
        assert kind(server, timeout=0.2, retries=0) == ("timed_out", "nothing within 0.2 s")


def test_what_may_pass_is_asked_again_and_what_is_declined_is_not() -> None:
    with judge_server("busy", "dated", "ok") as server:
        (reply,) = asked(judge(server), questions())
        assert read(ASK, reply) == {"success": 5.0, "restraint": 5.0}
        assert reply.facts["attempts"] == len(server.requests) == 3
    with judge_server("refuse", "ok") as server:
        assert kind(server)[0] == "refused"
        assert len(server.requests) == 1


def test_a_server_that_stays_away_is_given_up_after_the_retries() -> None:
    with judge_server("busy") as server:
        assert kind(server, retries=2) == ("transport", "status 429: slow down")
        assert len(server.requests) == 3


def test_a_server_that_wants_an_hour_is_not_waited_for() -> None:
    with judge_server("later") as server:
        assert "asks to wait 3600 s" in kind(server, retries=5)[1]
        assert len(server.requests) == 1


def test_the_budget_is_calls_that_were_made() -> None:
    with judge_server("ok") as server:
        who = judge(server, budget=3, concurrency=1)
        said = [read(ASK, reply) for reply in asked(who, questions(5))]
        assert sum(isinstance(each, dict) for each in said) == 3 == len(server.requests)
        assert {each.kind for each in said if not isinstance(each, dict)} == {"over_budget"}


def test_no_more_connections_than_asked_for() -> None:
    with judge_server("ok") as server:
        asked(judge(server, concurrency=2), questions(12))
        assert server.most_at_once <= 2


def test_calls_start_no_closer_than_the_rate_allows() -> None:
    with judge_server("ok") as server:
        began = time.monotonic()
        asked(judge(server, per_minute=1200), questions(5))
        assert time.monotonic() - began >= 4 * 60 / 1200  # five starts have four gaps; slower is no fault


@pytest.mark.parametrize(("what", "said"), [("key", f"set {KEY}"), ("nomodel", "no such model"), ("moved", "not followed")])
def test_what_no_question_fares_better_with_is_an_error(what: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "sk-very-secret")
    with judge_server(what) as server, pytest.raises(MetricError, match=said) as error:
        asked(judge(server), questions(3))
    assert "sk-very-secret" not in str(error.value)


def test_the_key_is_sent_from_the_environment_and_shows_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "sk-very-secret")
    with judge_server("ok") as server:
        who = judge(server)
        (reply,) = asked(who, questions())
        assert server.headers[0]["Authorization"] == "Bearer sk-very-secret"
        assert "sk-very-secret" not in f"{who.identity} {vars(who)} {reply}"
    monkeypatch.delenv(KEY)
    with judge_server("ok") as server:
        asked(judge(server), questions())
        assert "Authorization" not in server.headers[0]


def test_an_answer_that_cannot_be_kept_stops_the_asking_with_its_own_error() -> None:
    def full(_place: int, _reply: Reply) -> None:
        raise OSError("disk full")

    with judge_server("ok") as server:
        with pytest.raises(OSError, match="disk full"):
            judge(server, concurrency=1).ask(questions(8), full)
        assert len(server.requests) < 8


def test_it_works_inside_a_running_loop() -> None:
    async def within() -> list[Reply]:
        with judge_server("ok") as server:
            return asked(judge(server), questions())

    assert read(ASK, asyncio.run(within())[0]) == {"success": 5.0, "restraint": 5.0}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"server": "ftp://x/v1", "model": "m"}, "judge server: expected an address"),
        ({"server": "http://me:pass@x/v1", "model": "m"}, "judge server: the address holds a name or password"),
        ({"server": "http://x/v1"}, "judge model: Field required"),
        ({"server": "http://x/v1", "model": "m", "modle": 1}, "judge modle: .*known are server, model"),
        ({"server": "http://x/v1", "model": "m", "temperature": 3.0}, "judge temperature"),
        ("gpt", "judge: expected local-dir:PATH, folder:PATH"),
    ],
)
def test_a_judge_that_cannot_be_is_refused_in_one_line(given: Any, said: str) -> None:
    with pytest.raises(MetricError, match=said) as error:
        open_judge(given)
    assert "pass@" not in str(error.value)
    assert "\n" not in str(error.value)
