"""Who is shown what, and every vote: SQLite, so that a process may die at any instant and lose nothing that it has confirmed.

Each change is one transaction that is on the disk before anyone hears of it (write-ahead log, `synchronous=FULL`; a power cut may take only
when a page was looked at). It begins by taking the write lock, so that servers side by side never draw the same trial or write over
each other. A vote is inserted once and never updated: of two votes on one trial, as after a double click or in two tabs, the first stands.

A session is drawn whole when its rater consents, and is what it is from then on. It takes the items that fewest have, chance deciding among
equals, so that no item is ahead of another by more than one. The side of an edit alternates from rater to rater of the item, beginning
on a random one. Trials that nobody answered go back when their session has been silent for long; whoever returns finds it as it was.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.errors import RunError
from bench.raters.study import Item, Study

__all__ = ["Answer", "Ledger", "Session", "Trial", "roles"]

SCHEMA = """
create table if not exists items (item text primary key, drawn integer not null, held integer not null, side integer not null) without rowid;
create table if not exists sessions (
    session text primary key, number integer not null unique, participant text not null, platform_study text not null,
    platform_session text not null, code text not null, arrived real not null, consented real, finished real, seen real not null,
    lapsed integer not null default 0
) without rowid;
create unique index if not exists participants on sessions (participant) where participant != '';
create table if not exists trials (
    session text not null, position integer not null, item text not null, kind text not null, first_side text not null, shown real,
    primary key (session, position)
) without rowid;
create table if not exists votes (
    session text not null, position integer not null, answer text not null, sc real, pq real, seconds real, waited real, received real not null,
    primary key (session, position)
) without rowid;
"""
PATIENCE = 30.0
"""Seconds that a change waits for another process to end its own."""


@dataclass(frozen=True)
class Answer:
    """What a rater says: of a pair `left`, `right`, `tie` or `both_bad`; of a single edit two scores. `seconds` as the page measured them."""

    choice: Literal["left", "right", "tie", "both_bad", ""] = ""
    sc: float | None = None
    pq: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Trial:
    """One question of a session. `first_side` is where the first edit of the item lies; `total` counts the session's trials."""

    position: int
    total: int
    item: Item
    kind: Literal["trial", "duplicate", "gold"]
    first_side: Literal["left", "right"]


@dataclass(frozen=True)
class Session:
    """Where a rater stands: `new` before consent, `voting` with the next trial, `done` with a completion code, `full` if nothing was left."""

    state: Literal["new", "voting", "done", "full"]
    trial: Trial | None = None
    code: str = ""


class Ledger:
    """The votes of a study. One object serves one thread at a time; any number of processes may have one each."""

    def __init__(self, path: Path, study: Study) -> None:
        self.path, self.study = path, study
        self._items = {item.id: item for item in study.items}
        try:
            self._db = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
            weakref.finalize(self, self._db.close)
            self._db.execute("pragma journal_mode=wal")
            self._db.executescript(SCHEMA)
            sides = np.random.default_rng(study.seed).integers(2, size=len(study.items)).tolist()
            rows = [(item.id, 0, 0, side) for item, side in zip(study.items, sides, strict=True)]
            with self._change():
                self._db.executemany("insert or ignore into items values (?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise RunError(f"{path} is no ledger of votes, or the disk does not take it: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def arrive(self, participant: str = "", platform_study: str = "", platform_session: str = "") -> str:
        """The secret name of a rater's session, a new one unless the participant has one. Without a participant it is always new."""
        with self._change():
            if participant and (known := self._one("select session from sessions where participant = ?", participant)):
                return str(known[0])
            session, now = secrets.token_urlsafe(16), time.time()
            code = self.study.completion_code or secrets.token_hex(4).upper()
            number = self._one("select count(*) from sessions")[0]
            self._db.execute(
                "insert into sessions values (?, ?, ?, ?, ?, ?, ?, null, null, ?, 0)",
                (session, number, participant, platform_study, platform_session, code, now, now),
            )
            return session

    def look(self, session: str) -> Session | None:
        """Where the session stands; None for one that does not exist. The first look at a trial is noted as the time it was shown."""
        about = self._one("select consented, finished, code from sessions where session = ?", session)
        if about is None:
            return None
        if about[0] is None:
            return Session("new")
        trial = self._next(session)
        if trial is None:
            total = self._one("select count(*) from trials where session = ?", session)[0]
            return Session("done" if total else "full", code=str(about[2]) if total else "")
        with self._change(durable=False):
            now = time.time()
            self._db.execute(
                "update trials set shown = coalesce(shown, ?) where session = ? and position = ?", (now, session, trial.position)
            )
            self._revive(session, now)
        return Session("voting", trial)

    def consent(self, session: str) -> None:
        """Draw the trials of a session, once."""
        with self._change():
            about = self._one("select number, consented from sessions where session = ?", session)
            if about is None or about[1] is not None:
                return
            now = time.time()
            self._release(now - 60 * self.study.release_minutes)
            self._db.execute("update sessions set consented = ?, seen = ? where session = ?", (now, now, session))
            self._draw(session, np.random.default_rng([self.study.seed, about[0]]))

    def vote(self, session: str, position: int, answer: Answer) -> bool:
        """Store a vote on the trial at `position`. False where the session has no such trial, or an earlier one is still open.

        True means that the disk has a vote on this trial: this one, or one that was there before.
        """
        with self._change():
            trial = self._one("select shown from trials where session = ? and position = ?", session, position)
            if trial is None:
                return False
            if self._one("select 1 from votes where session = ? and position = ?", session, position):
                return True
            earlier = self._one("select count(*) from votes where session = ? and position < ?", session, position)[0]
            if earlier != position:
                return False
            now = time.time()
            waited = now - trial[0] if trial[0] else None
            self._revive(session, now)
            self._db.execute(
                "insert into votes values (?, ?, ?, ?, ?, ?, ?, ?)",
                (session, position, answer.choice, answer.sc, answer.pq, answer.seconds, waited, now),
            )
            if self._one("select count(*) from trials where session = ?", session)[0] == position + 1:
                self._db.execute("update sessions set finished = ? where session = ?", (now, session))
            return True

    def picture(self, session: str, position: int, role: str) -> tuple[str, list[str]] | None:
        """Names of the picture that a session sees as `role` (source, left, right, edit) now, and of all that this trial shows.

        None where this is not the trial that the session is at.
        """
        trial = self._next(session)
        if trial is None or trial.position != position:
            return None
        shown = roles(trial)
        return (shown[role], list(shown.values())) if role in shown else None

    def votes(self) -> list[dict[str, Any]]:
        """All votes, by session and position, each with its trial: what the query names."""
        return self._all(
            "select number, position, item, kind, first_side, answer, sc, pq, seconds, waited, received from votes "
            "join trials using (session, position) join sessions using (session) order by number, position"
        )

    def sessions(self) -> list[dict[str, Any]]:
        """All sessions in the order of arrival: what the query names."""
        return self._all(
            "select number, participant, platform_study, platform_session, code, arrived, consented, finished, "
            "(select count(*) from trials t where t.session = s.session) as trials, "
            "(select count(*) from votes v where v.session = s.session) as answered from sessions s order by number"
        )

    def held(self) -> dict[str, int]:
        """How many raters have each item that counts, or had it and answered."""
        real = {item.id for item in self.study.real}
        return {name: count for name, count in self._db.execute("select item, held from items") if name in real}

    def _next(self, session: str) -> Trial | None:
        row = self._one(
            "select position, item, kind, first_side, (select count(*) from trials where session = t.session) from trials t "
            "where session = ? and position = (select count(*) from votes where session = t.session)",
            session,
        )
        return Trial(row[0], row[4], self._items[row[1]], row[2], row[3]) if row else None

    def _draw(self, session: str, rng: np.random.Generator) -> None:
        """Draw the trials of a session: the items that fewest have, gold and duplicates among them."""
        study = self.study
        table = {name: tuple(rest) for name, *rest in self._db.execute("select item, held, drawn, side from items")}
        open_ = [item.id for item in study.real if table[item.id][0] < study.votes]
        order = rng.permutation(len(open_))
        least = sorted(order.tolist(), key=lambda number: table[open_[number]][0])[: study.trials]
        names = [open_[number] for number in rng.permutation(least).tolist()]
        if not names:
            return
        plan: list[tuple[str, str, str]] = []
        for name in names:
            _, drawn, side = table[name]
            plan.append((name, "trial", ("left", "right")[(drawn + side) % 2]))
        for name in rng.permutation([item.id for item in study.gold])[: study.golds].tolist():
            _, drawn, side = table[name]
            plan.insert(int(rng.integers(1, len(plan) + 1)), (name, "gold", ("left", "right")[(drawn + side) % 2]))
        early = [trial for trial in plan[: (len(plan) + 1) // 2] if trial[1] == "trial"]
        for number in rng.permutation(len(early))[: study.duplicates].tolist():
            name, _, side = early[number]
            place = int(rng.integers((len(plan) + 1) // 2 + 1, len(plan) + 1)) if len(plan) > 1 else 1
            plan.insert(place, (name, "duplicate", "right" if side == "left" else "left"))
        rows = [(session, position, *trial) for position, trial in enumerate(plan)]
        self._db.executemany("insert into trials values (?, ?, ?, ?, ?, null)", rows)
        once = [(name,) for name, kind, _ in plan if kind != "duplicate"]
        self._db.executemany("update items set held = held + 1, drawn = drawn + 1 where item = ?", once)

    def _release(self, before: float) -> None:
        """Give back what silent sessions have not answered."""
        silent = "select session from sessions where finished is null and lapsed = 0 and consented is not null and seen < ?"
        for (session,) in self._db.execute(silent, (before,)).fetchall():
            self._shift(session, -1)
            self._db.execute("update sessions set lapsed = 1 where session = ?", (session,))

    def _revive(self, session: str, now: float) -> None:
        """Note a sign of life, and take back what a returning session was given."""
        if self._one("select lapsed from sessions where session = ?", session)[0]:
            self._shift(session, 1)
        self._db.execute("update sessions set lapsed = 0, seen = ? where session = ?", (now, session))

    def _shift(self, session: str, by: int) -> None:
        self._db.execute(
            "update items set held = held + ? where item in (select item from trials t where session = ? and kind = 'trial' and not exists "
            "(select 1 from votes v where v.session = t.session and v.position = t.position))",
            (by, session),
        )

    def _one(self, query: str, *values: Any) -> Any:
        return self._db.execute(query, values).fetchone()

    def _all(self, query: str) -> list[dict[str, Any]]:
        cursor = self._db.execute(query)
        names = [name for name, *_ in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    @contextmanager
    def _change(self, *, durable: bool = True) -> Iterator[None]:
        """One transaction that has the write lock from the start, and is on the disk when the block ends.

        One that is not `durable` is on the disk with the next that is: a power cut may take it, a dying process does not.
        """
        self._db.execute(f"pragma synchronous={'full' if durable else 'normal'}")
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")


def roles(trial: Trial) -> dict[str, str]:
    """What the trial shows: role (source and left, right or edit) to the name of the picture."""
    item = trial.item
    if item.second is None:
        return {"source": item.source, "edit": item.first.picture}
    left, right = (item.first, item.second) if trial.first_side == "left" else (item.second, item.first)
    return {"source": item.source, "left": left.picture, "right": right.picture}
