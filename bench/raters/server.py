"""The web app that raters vote in: pages, pictures and votes of one study, by Starlette.

    GET  /?token=...&PROLIFIC_PID=...    begin, or go on where one left off; redirects to the session
    GET  /s/SESSION                      what the session is at: consent, a trial, the end
    POST /s/SESSION/consent              draw the trials
    POST /s/SESSION/vote                 store a vote, then redirect to the session
    GET  /s/SESSION/POSITION/ROLE.png    a picture of the trial that the session is at

The server alone knows what lies on which side. A rater gets pages that name no editor and pictures that tell nothing but themselves: encoded
anew and without metadata, under addresses of session, trial and role, without ETag and modification date, and all pictures of a trial of one
length: the shorter ones are filled up with a chunk that decoders skip. Only the pictures of the present trial are there.

Pages work without scripts; with them they take keys, zoom, flicker, measure times, and send a vote again until it is stored. They ask
nothing of another host, and say so in their Content-Security-Policy.
"""

from __future__ import annotations

import hmac
import math
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs

from bench.errors import RunError
from bench.raters.ledger import Answer, Ledger, Session
from bench.raters.study import Study, StudyFolder
from reports.text import printable

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["PLATFORM", "application", "filled", "serve_study"]

PAGES = Path(__file__).parent / "pages"
PLATFORM = {"participant": "PROLIFIC_PID", "platform_study": "STUDY_ID", "platform_session": "SESSION_ID"}
"""Parameters of the address by which a recruiting platform says who comes, named as Prolific names them. Others can be told to use them."""
LONGEST_ID, LONGEST_BODY = 128, 4096
PICTURES_KEPT = 512
COOKIE = "rater"
LACKING = "serving a study needs starlette and uvicorn: pip install 'etabench[study]'"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
STATIC = {"vote.css": "text/css; charset=utf-8", "vote.js": "text/javascript; charset=utf-8"}
CHOICES: dict[str, Literal["left", "right", "tie", "both_bad"]] = {
    "left": "left",
    "right": "right",
    "tie": "tie",
    "both_bad": "both_bad",
}
SCORES = {"0": 0.0, "0.5": 0.5, "1": 1.0}


def application(folder: StudyFolder) -> Starlette:
    """The app of a study. Raises RunError where the study or its votes cannot be read."""
    try:
        from starlette.applications import Starlette
        from starlette.routing import Route
    except ImportError as error:
        raise RunError(LACKING) from error
    app = App(folder)
    routes = [
        Route("/", app.begin),
        Route("/static/{name}", app.static),
        Route("/s/{session}", app.page),
        Route("/s/{session}/consent", app.consent, methods=["POST"]),
        Route("/s/{session}/vote", app.vote, methods=["POST"]),
        Route("/s/{session}/{position:int}/{role}.png", app.picture),
    ]
    return Starlette(routes=routes)


def serve_study(folder: StudyFolder, *, host: str, port: int, started: Callable[[str], None] | None = None) -> None:
    """Serve a study until told to stop. `started` hears the address, token and all, once it can be opened.

    Raises RunError where the address is taken.
    """
    import socket

    try:
        import uvicorn
    except ImportError as error:
        raise RunError(LACKING) from error
    app = application(folder)
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048)
    except OSError as error:
        raise RunError(
            f"{host}:{port} cannot be listened on ({error.strerror}): choose another with --host and --port"
        ) from error
    with listener:
        if started is not None:
            named = f"[{host}]" if ":" in host else host
            started(f"http://{named}:{listener.getsockname()[1]}/?token={folder.token()}")
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, lifespan="off", timeout_graceful_shutdown=5
        )
        uvicorn.Server(config).run(sockets=[listener])


def filled(png: bytes, length: int) -> bytes:
    """The PNG with a chunk before its end that decoders skip, so that it has `length` bytes; 12 bytes more are the fewest that can be added."""
    lacking = length - len(png)
    if not lacking:
        return png
    kind, data = b"prVt", bytes(lacking - 12)
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return png[:-12] + chunk + png[-12:]


class App:
    """What answers. All state is in the ledger; each answer is one step of the event loop, so votes are stored one after another."""

    def __init__(self, folder: StudyFolder) -> None:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        self.folder, self.study = folder, folder.read()
        self.ledger = Ledger(folder.ledger, self.study)
        self.token = folder.token()
        self.png = lru_cache(PICTURES_KEPT)(folder.picture)
        self.pages = Environment(
            loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )

    async def begin(self, request: Request) -> Response:
        """A session for who has the token: the one that the platform's id or, without one, the cookie remembers, or else a new one."""
        asked = request.query_params
        if not hmac.compare_digest(asked.get("token", "").encode(), self.token.encode()):
            return self._say(403, "This address is not complete", "Please use the whole link that you were given.")
        ids = {name: asked.get(parameter, "").strip() for name, parameter in PLATFORM.items()}
        if any(len(each) > LONGEST_ID for each in ids.values()):
            return self._say(
                400, "This address is not right", "An id in it is too long. Please use the link that you were given."
            )
        known = request.cookies.get(COOKIE, "")
        if ids["participant"] or not known or self.ledger.look(known) is None:
            known = self.ledger.arrive(**ids)
        response = _to(f"/s/{known}")
        if not ids["participant"]:
            response.set_cookie(COOKIE, known, max_age=30 * 86_400, httponly=True, samesite="lax")
        return response

    async def page(self, request: Request) -> Response:
        """What the session is at."""
        session = request.path_params["session"]
        found = self.ledger.look(session)
        return self._unknown() if found is None else self._show(session, found)

    async def consent(self, request: Request) -> Response:
        """Draw the trials, if that has not happened."""
        session = request.path_params["session"]
        if self.ledger.look(session) is None:
            return self._unknown()
        self.ledger.consent(session)
        return _to(f"/s/{session}")

    async def vote(self, request: Request) -> Response:
        """Store a vote; a redirect to the session says that it is stored."""
        session = request.path_params["session"]
        fields = await _fields(request)
        answer = self._answer(fields) if fields is not None else None
        if fields is None or answer is None or not fields.get("position", "").isdecimal():
            return self._say(400, "That was no answer", "Please go back and answer again.")
        if not self.ledger.vote(session, int(fields["position"][:9]), answer):
            return self._unknown()
        return _to(f"/s/{session}")

    async def picture(self, request: Request) -> Response:
        """A picture of the present trial."""
        from starlette.responses import Response

        where = request.path_params
        found = self.ledger.picture(where["session"], where["position"], where["role"])
        if found is None:
            return self._unknown()
        name, together = found
        length = max(len(self.png(each)) for each in together)
        least = max((12 for each in together if len(self.png(each)) != length), default=0)
        return Response(filled(self.png(name), length + least), media_type="image/png", headers=HEADERS)

    async def static(self, request: Request) -> Response:
        """Style and script of the pages."""
        from starlette.responses import Response

        name = request.path_params["name"]
        if name not in STATIC:
            return self._unknown()
        kept = HEADERS | {"Cache-Control": "no-cache"}
        return Response((PAGES / name).read_bytes(), media_type=STATIC[name], headers=kept)

    def _show(self, session: str, found: Session) -> Response:
        if found.trial is None:
            return self._render(f"{found.state}.html", session=session, code=found.code, **self._about())
        trial = found.trial
        return self._render(
            f"{self.study.form}.html",
            session=session,
            position=trial.position,
            total=trial.total,
            source_text=printable(trial.item.source_text),
            target_text=printable(trial.item.target_text),
            **self._about(),
        )

    def _about(self) -> dict[str, Any]:
        study: Study = self.study
        number = min(study.trials, len(study.real)) + study.golds + study.duplicates
        return {"consent": printable(study.consent), "number": number, "form": study.form, "completion_url": study.completion_url}

    def _answer(self, fields: Mapping[str, str]) -> Answer | None:
        """What a form says; None where that is no answer to what the study asks."""
        seconds = _seconds(fields.get("seconds", ""))
        if self.study.form == "pairs":
            choice = CHOICES.get(fields.get("answer", ""))
            return Answer(choice, seconds=seconds) if choice else None
        scores = [SCORES.get(fields.get(name, "")) for name in ("sc", "pq")]
        return None if None in scores else Answer(sc=scores[0], pq=scores[1], seconds=seconds)

    def _unknown(self) -> Response:
        return self._say(404, "There is nothing here", "Please use the link that you were given; it leads to where you were.")

    def _say(self, status: int, title: str, text: str) -> Response:
        return self._render("message.html", status, title=title, text=text)

    def _render(self, page: str, status: int = 200, **content: Any) -> Response:
        from starlette.responses import HTMLResponse

        return HTMLResponse(self.pages.get_template(page).render(**content), status, headers=HEADERS)


def _to(address: str) -> Response:
    from starlette.responses import RedirectResponse

    return RedirectResponse(address, 303, headers=HEADERS)


async def _fields(request: Request) -> dict[str, str] | None:
    """The fields of a small form; None for anything else."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            return None
    try:
        return {name: values[-1] for name, values in parse_qs(body.decode("ascii"), strict_parsing=bool(body)).items()}
    except ValueError:
        return None


def _seconds(text: str) -> float | None:
    """Seconds as the page measured them, if that can be."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and 0 <= seconds < 1e6 else None
