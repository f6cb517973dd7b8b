"""Judges behind any server that speaks OpenAI's chat completions: commercial ones, vLLM, llama.cpp and the like.

Answers come in order of arrival over a few connections at a time. What a server is at fault for (429, 5xx, a connection that breaks,
an answer that is none) is asked again after the time that `Retry-After` names, or after 1, 2, 4... seconds; what it declines is
not. Redirects are not followed. The key is read from the environment when it is needed; it is in no card, journal, message or `repr`.

An answer counts only if it comes from the model that was named: what a server says of itself in `model` must be `snapshot`.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from metrics.base import MetricError
from metrics.card import Sight
from metrics.judges.answers import Failure, Judge, Question, Reply, Take
from metrics.judges.params import Strict
from metrics.judges.pictures import ENCODING, data_url, geometry

__all__ = ["ServerJudge", "ServerParams"]

MOST_BYTES = 4 << 20
"""Largest answer that is read."""
LONGEST_WAIT = 300.0
"""Seconds of `Retry-After` that are waited; a server that wants more is given up for now."""
AT_FAULT = frozenset({408, 409, 425, 429, *range(500, 600)})
"""Statuses after which the same question may well be answered."""
WRONG = {401: "wants another key", 403: "forbids this", 404: "has no such model or address"}
"""Statuses that no other question will fare better with."""
FILTERED = ("content_filter", "content_policy", "safety", "moderation", "responsible_ai")
"""What codes of errors hold where a filter stopped a question."""


class ServerParams(Strict):
    """A model behind a server."""

    server: str = Field(description="address up to and with /v1, such as http://127.0.0.1:8000/v1")
    model: str = Field(min_length=1, description="model as the server knows it; name a dated one where there is one")
    snapshot: str = Field(default="", description="what the server says answered; empty: the same as model")
    key: str = Field(default="OPENAI_API_KEY", description="environment variable that holds the key; sent where it is set")
    temperature: float = Field(default=0.0, ge=0, le=2)
    seed: int = Field(default=0, ge=0, lt=2**31, description="of the first repeat")
    max_tokens: int = Field(default=1024, ge=16)
    tokens_as: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    extra: dict[str, Any] = Field(default_factory=dict, description="further fields of the request")
    side: int = Field(default=1024, ge=0, le=8192, description="longest side of a picture in pixels; 0 sends it as it is")
    timeout: float = Field(default=120.0, gt=0, description="seconds for one answer")
    retries: int = Field(default=4, ge=0, le=20)
    concurrency: int = Field(default=4, ge=1, le=256)
    per_minute: int = Field(default=0, ge=0, description="calls a minute at most; 0 is no limit")
    budget: int = Field(default=0, ge=0, description="calls of one scoring, retries counted; 0 is no limit")

    @field_validator("server")
    @classmethod
    def _plain_address(cls, server: str) -> str:
        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("expected an address such as http://127.0.0.1:8000/v1")
        if parts.username or parts.password:
            raise ValueError("the address holds a name or password, which would be stored; name an environment variable as key")
        return server.rstrip("/")


class ServerJudge(Judge):
    """Ask a server. One event loop a call to `ask`, in a thread of its own, so that it works in notebooks too.

    Args:
        params: who is asked, and how.

    Raises:
        MetricError: the extra `judges` is not installed.
    """

    def __init__(self, params: ServerParams) -> None:
        try:
            import httpx2  # noqa: F401
        except ImportError:
            raise MetricError("a judge behind a server needs the extra judges: pip install 'etabench[judges]'") from None
        self._params = params
        self.name, self.snapshot = params.model, params.snapshot or params.model
        extra = f" extra={json.dumps(params.extra, sort_keys=True)}" if params.extra else ""
        self.sampling = f"temperature={params.temperature:g} seed={params.seed}+repeat max_tokens={params.max_tokens}{extra}"
        self.sight = Sight(network=f"server: {self.snapshot}", weights="", **geometry(params.side), value_range=ENCODING)  # type: ignore[typeddict-item]
        self.calls = 0

    def ask(self, questions: Sequence[Question], take: Take) -> None:
        from anyio.from_thread import start_blocking_portal

        with start_blocking_portal() as portal:
            wrong = portal.call(self._ask_all, questions, take)
        if isinstance(wrong, str):
            raise MetricError(f"judge {self.name}: {self._params.server} {wrong}")
        if wrong:
            raise wrong

    async def _ask_all(self, questions: Sequence[Question], take: Take) -> str | Exception | None:
        """Ask all; what is wrong with the server where no question can be answered, or the error of `take`, after which nothing is asked."""
        import anyio
        import httpx2

        p, wrong = self._params, list[str | Exception]()
        limiter, pace = anyio.CapacityLimiter(p.concurrency), _Pace(p.per_minute)
        async with (
            httpx2.AsyncClient(timeout=p.timeout, headers=self._headers(), follow_redirects=False) as client,
            anyio.create_task_group() as group,
        ):

            async def one(place: int, question: Question) -> None:
                async with limiter:
                    reply = await self._reply(client, question, pace)
                try:
                    if isinstance(reply, Reply):
                        take(place, reply)
                    else:
                        wrong.append(reply)
                except Exception as error:
                    wrong.append(error)
                if wrong:
                    group.cancel_scope.cancel()

            for place, question in enumerate(questions):
                group.start_soon(one, place, question)
        return wrong[0] if wrong else None

    async def _reply(self, client: Any, question: Question, pace: _Pace) -> Reply | str:
        """The reply after as many attempts as it takes and `retries` allows, or what is wrong with the server."""
        import anyio

        p, began, last = self._params, time.monotonic(), Failure("transport")
        body = json.dumps(self._body(question)).encode()
        for attempt in range(p.retries + 1):
            if p.budget and self.calls >= p.budget:
                return Reply(failure=Failure("over_budget", f"{p.budget} calls were made"))
            self.calls += 1
            await pace.wait()
            found = await self._attempt(client, body)
            if isinstance(found, Reply | str):
                facts = {"seconds": round(time.monotonic() - began, 3), "attempts": attempt + 1}
                return replace(found, facts={**found.facts, **facts}) if isinstance(found, Reply) else found
            last = found.failure
            if found.wait > LONGEST_WAIT:
                last = Failure("transport", f"the server asks to wait {found.wait:.0f} s: {last.detail}")
                break
            if attempt < p.retries:
                await anyio.sleep(found.wait if found.wait >= 0 else 2**attempt * random.Random().uniform(0.5, 1.0))
        return Reply(failure=last, facts={"seconds": round(time.monotonic() - began, 3), "attempts": attempt + 1})

    async def _attempt(self, client: Any, body: bytes) -> Reply | str | _Again:
        import anyio
        import httpx2

        try:
            with anyio.fail_after(self._params.timeout):
                async with client.stream("POST", f"{self._params.server}/chat/completions", content=body) as response:
                    content = bytearray()
                    async for chunk in response.aiter_bytes():
                        content += chunk
                        if len(content) > MOST_BYTES:
                            return Reply(failure=Failure("transport", f"an answer of more than {MOST_BYTES} bytes"))
            return self._read(response.status_code, response.headers, bytes(content))
        except (TimeoutError, httpx2.TimeoutException):
            return _Again(Failure("timed_out", f"nothing within {self._params.timeout:g} s"))
        except httpx2.HTTPError as error:
            return _Again(Failure("transport", self._clean(f"{type(error).__name__}: {error}")))

    def _read(self, status: int, headers: Mapping[str, str], content: bytes) -> Reply | str | _Again:
        try:
            data = json.loads(content)
        except (ValueError, RecursionError):
            data = None
        if status == 200:
            reply = self._completion(data)
            return reply or _Again(
                Failure("transport", f"no chat completion: {self._clean(content[:120].decode(errors='replace'))}")
            )
        said = self._clean(_message(data) or content[:120].decode(errors="replace"))
        if status in AT_FAULT:
            return _Again(Failure("transport", f"status {status}: {said}"), _wait(headers))
        if any(word in said.lower() or word in _code(data) for word in FILTERED):
            return Reply(text=said, failure=Failure("safety", said))
        if status in WRONG or 300 <= status < 400:
            advice = f"; set {self._params.key}" if status == 401 else ""
            return f"{WRONG.get(status, 'answers from elsewhere, which is not followed')} (status {status}: {said}){advice}"
        return Reply(failure=Failure("transport", f"status {status}: {said}"))

    def _completion(self, data: Any) -> Reply | None:
        """The reply of a chat completion, None where it is none."""
        try:
            choice = data["choices"][0]
            message, finish = choice["message"], choice.get("finish_reason")
            content, refusal = message.get("content"), message.get("refusal")
            if isinstance(content, list):
                content = "".join(part.get("text", "") for part in content)
            model, usage = str(data.get("model") or ""), data.get("usage")
            print_ = data.get("system_fingerprint")
        except (KeyError, IndexError, TypeError, AttributeError):
            return None
        text = self._clean(str(content or refusal or ""))
        failure = None
        if model != self.snapshot:
            failure = Failure("drifted", f"{model or 'nobody'} answered, {self.snapshot} was named")
        elif finish == "content_filter":
            failure = Failure("safety", text)
        elif refusal:
            failure = Failure("refused", text)
        elif finish == "length":
            failure = Failure("cut_off", f"at {self._params.max_tokens} tokens")
        facts = {"finish": str(finish), "usage": usage if isinstance(usage, dict) else {}, "fingerprint": str(print_ or "")}
        return Reply(text, failure, model, facts)

    def _body(self, question: Question) -> dict[str, Any]:
        p = self._params
        pictures = [{"type": "image_url", "image_url": {"url": data_url(image, p.side)}} for image in question.pictures]
        return {
            "model": p.model,
            "messages": [{"role": "user", "content": [*pictures, {"type": "text", "text": question.prompt}]}],
            "temperature": p.temperature,
            "seed": p.seed + question.repeat,
            p.tokens_as: p.max_tokens,
            **p.extra,
        }

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(self._params.key, "")
        return {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def _clean(self, text: str) -> str:
        """The text without the key, should a server say it back."""
        key = os.environ.get(self._params.key, "")
        return text.replace(key, "***") if key else text


@dataclass(frozen=True)
class _Again:
    """An attempt that failed in a way that may pass; `wait` in seconds as the server wants it, negative where it does not say."""

    failure: Failure
    wait: float = -1.0


class _Pace:
    """Starts of calls, evenly spaced to `per_minute`; 0 does not wait."""

    def __init__(self, per_minute: int) -> None:
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0

    async def wait(self) -> None:
        import anyio

        now = time.monotonic()
        start = max(now, self._next)
        self._next = start + self._gap
        if start > now:
            await anyio.sleep(start - now)


def _wait(headers: Mapping[str, str]) -> float:
    """Seconds that `Retry-After` asks for, as a number or a date; negative where it is not there or no such thing."""
    said = headers.get("retry-after", "").strip()
    try:
        return max(float(said), 0.0)
    except ValueError:
        pass
    try:
        return max((parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return -1.0


def _error(data: Any) -> Mapping[str, Any]:
    error = data.get("error") if isinstance(data, dict) else None
    return error if isinstance(error, dict) else {}


def _message(data: Any) -> str:
    return str(_error(data).get("message") or "")[:300]


def _code(data: Any) -> str:
    return f"{_error(data).get('code')} {_error(data).get('type')}".lower()
