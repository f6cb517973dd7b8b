"""What judges said, kept for good: `scores/answers.jsonl`, a line for every reply, in the order in which they came.

The file is only ever added to. A line is on the disk before its reply is used, so that whoever is killed has paid for no answer twice; of
two lines of one question the later counts. A line that a dead process left half is passed over, as is one that is damaged: its question is asked
again. Scores are read from the lines anew at each scoring, with the parser of the day.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bench.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path

    from metrics.judges.answers import Judge, Question, Reply

__all__ = ["AnswerBook"]

FILE = "answers.jsonl"


class AnswerBook:
    """The replies in a file, by the key of their question; `metrics.judges.answers.Journal`.

    Processes may share a file: each adds whole lines, and knows what was there when it opened the book and what it added.

    Raises RunError where the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._replies = dict(_lines(path))

    def find(self, key: str) -> Reply | None:
        return self._replies.get(key)

    def add(self, key: str, judge: Judge, question: Question, reply: Reply) -> None:
        line = {
            "key": key,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            **judge.identity,
            "ask": question.ask.name,
            "text": question.text,
            "question": question.digest,
            "repeat": question.repeat,
            "reply": reply.as_dict(),
        }
        self._append(json.dumps(line, ensure_ascii=True, allow_nan=False, default=str))
        self._replies[key] = reply

    def _append(self, line: str) -> None:
        """Add one line in one write and wait until the disk has it; after half a line, which ends in no newline, begin a new one."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a+b", buffering=0) as file:
                end = file.seek(0, os.SEEK_END)
                torn = False
                if end:
                    file.seek(end - 1)
                    torn = file.read(1) != b"\n"
                file.write(b"\n" * torn + line.encode() + b"\n")
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(f"{self._path}: an answer cannot be kept, so no more are asked for: {error}") from error


def _lines(path: Path) -> Iterator[tuple[str, Reply]]:
    """Key and reply of every sound line, in order."""
    from metrics.base import MetricError
    from metrics.judges.answers import Reply

    try:
        if not path.is_file():
            return
        with path.open("rb") as file:
            for line in file:
                try:
                    found: dict[str, Any] = json.loads(line)
                    yield str(found["key"]), Reply.of(found["reply"])
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError, MetricError):
                    continue
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error}") from error
