"""What is known of judges: which passed `etabench validate-judge`, and which checks others failed.

A validation belongs to the fingerprint of a judged metric, not to a run, so it is kept beside what the account trusts, in
`$XDG_STATE_HOME/etabench/judges/` (by default below `~/.local/state`), and every later scoring puts what speaks against the judge into the card.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.store import write_atomically
from bench.store.files import json_bytes

__all__ = ["DAGGER", "Validation", "doubt", "doubt_of_judge", "recall", "remember"]

DAGGER = "\N{DAGGER}"
"""Stands beside the name of what a doubtful judge says."""

UNTRIED = "its judge was never put to the test: `etabench validate-judge`"


class Validation(BaseModel):
    """How a judge did: names of the checks that it passed and of those that it failed, and the day.

    identities: 12 hex over each judge of the panel and how it is asked, as `scores/preferences.parquet` has them.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    metric: str
    judges: str
    day: str
    passed: list[str]
    failed: list[str]
    identities: list[str] = []


def remember(print_: str, validation: Validation) -> None:
    """Keep a validation over what was known before. Where nothing can be written, nothing is kept."""
    path = _path(print_)
    if path is not None:
        with suppress(OSError):
            write_atomically(path, json_bytes(validation.model_dump()))


def recall(print_: str) -> Validation | None:
    """What is known of a judge, None where it is nothing."""
    path = _path(print_)
    try:
        return None if path is None else Validation.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def doubt(print_: str) -> str:
    """What stands beside a judge's numbers, "" where it passed every check."""
    known = recall(print_)
    return UNTRIED if known is None else _failures(known)


def doubt_of_judge(identity: str) -> str:
    """The same beside the preferences of a judge, by whatever form it was tried alone; "" where it passed every check of each."""
    folder = _path("any")
    files = sorted(folder.parent.glob("*.json")) if folder is not None else []
    tried = [known for file in files if (known := recall(file.stem)) is not None and known.identities == [identity]]
    return next(filter(None, map(_failures, tried)), "") if tried else UNTRIED


def _failures(known: Validation) -> str:
    number = len(known.passed) + len(known.failed)
    return f"its judge failed {len(known.failed)} of {number} checks: {', '.join(known.failed)}" if known.failed else ""


def _path(print_: str) -> Path | None:
    with suppress(RuntimeError):  # no home
        state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        return Path(state) / "etabench" / "judges" / f"{print_}.json"
    return None
