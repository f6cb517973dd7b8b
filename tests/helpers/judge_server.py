"""A server of chat completions on loopback that misbehaves as it is told, and notes every request.

What it does is a script: a list of behaviours, one for each request in turn; the last one goes on. `"ok"` answers what the question wants,
from numbers in the middle of the scale.

    ok        a proper answer             refuse      a refusal field              decline    a refusal in prose
    rubbish   prose without an answer     range       numbers beyond the scale     half       half of the JSON
    cut       the limit of tokens         filter      a filter on the answer       filter400  a filter on the question
    drift     another model answers       stall       silence until told to end    drop       the connection breaks
    busy      429 with Retry-After 0      later       429 that wants an hour       down       503
    html      a page instead of JSON      key         401 that says the key back   nomodel    404
    moved     a redirect elsewhere        dated       429 that names a date of the past
    say:...   the words after the colon
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "judge-2026-01-01"
FAULTS: dict[str, tuple[int, Any, dict[str, str]]] = {
    "busy": (429, {"error": {"message": "slow down"}}, {"Retry-After": "0"}),
    "dated": (429, {"error": {"message": "slow down"}}, {"Retry-After": "Wed, 01 Jan 2020 00:00:00 GMT"}),
    "later": (429, {"error": {"message": "quota"}}, {"Retry-After": "3600"}),
    "down": (503, {"error": {"message": "down"}}, {}),
    "nomodel": (404, {"error": {"message": "no such model"}}, {}),
    "moved": (307, {}, {"Location": "http://127.0.0.1:9/elsewhere"}),
    "filter400": (400, {"error": {"message": "blocked", "code": "content_policy_violation"}}, {}),
}
SHAPE = re.compile(r"of the form\n(\{.*?\})\n")


class JudgeServer:
    """Where it listens, what it was asked, and what it does next."""

    def __init__(self, script: Sequence[str]) -> None:
        self.script, self.url = list(script), ""
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.at_once, self.most_at_once = 0, 0
        self.lock, self.over = threading.Lock(), threading.Event()

    def next(self, body: dict[str, Any], headers: dict[str, str]) -> str:
        with self.lock:
            self.requests.append(body)
            self.headers.append(headers)
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]


def proper(body: dict[str, Any]) -> dict[str, Any]:
    """An answer to the question in the form that its last lines ask for."""
    prompt = body["messages"][0]["content"][-1]["text"]
    found = SHAPE.search(prompt)
    assert found, prompt
    answer: dict[str, Any] = {"reason": "it is so"}
    for name, kind in re.findall(r'"(\w+)": <([^">]*)>', found.group(1)):
        low_high = re.fullmatch(r"([\d.]+) to ([\d.]+)", kind)
        answer[name] = sum(map(float, low_high.groups())) / 2 if low_high else kind.partition(" |")[0]
    return answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        told: JudgeServer = self.server.told
        with told.lock:
            told.at_once += 1
            told.most_at_once = max(told.most_at_once, told.at_once)
        try:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(told, body, told.next(body, dict(self.headers)))
        finally:
            with told.lock:
                told.at_once -= 1

    def _answer(self, told: JudgeServer, body: dict[str, Any], what: str) -> None:
        right = what.removeprefix("say:") if what.startswith("say:") else json.dumps(proper(body))
        texts = {
            "decline": "I'm sorry, but I cannot evaluate these pictures.",
            "rubbish": "The edit is quite good, I would say 7 out of 10.",
            "half": right[: len(right) // 2],
            "range": re.sub(r"\d+\.\d+", "11", right),
        }
        if what == "stall":
            told.over.wait(20)
        elif what == "drop":
            self.close_connection = True
        elif what in FAULTS:
            self._send(*FAULTS[what])
        elif what == "html":
            self._send(200, "<html>hello</html>")
        elif what == "key":
            self._send(401, {"error": {"message": f"bad key {self.headers.get('Authorization')}"}})
        else:
            message: dict[str, Any] = {"role": "assistant", "content": texts.get(what, right)}
            if what == "refuse":
                message |= {"content": None, "refusal": "I will not."}
            finish = {"cut": "length", "filter": "content_filter"}.get(what, "stop")
            model = "judge-2026-06-30" if what == "drift" else MODEL
            choice = {"index": 0, "message": message, "finish_reason": finish}
            self._send(200, {"model": model, "choices": [choice], "usage": {"total_tokens": 9}, "system_fingerprint": "fp_1"})

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that went away is no news."""


@contextmanager
def judge_server(*script: str) -> Iterator[JudgeServer]:
    """Serve while the block runs."""
    told = JudgeServer(script or ("ok",))
    server = _Server(("127.0.0.1", 0), _Handler)
    server.told = told  # type: ignore[attr-defined]
    told.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield told
    finally:
        told.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
