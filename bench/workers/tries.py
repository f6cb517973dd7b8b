"""Another try for a unit: which errors the spec gives one, how long it waits, and what of it the record keeps."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from bench.errors import message_of

__all__ = ["Tries", "kinds", "pause"]

TRANSPORT = frozenset(
    {"ConnectionError", "TimeoutError", "TransportError", "IncompleteRead", "ChunkedEncodingError", "ProtocolError"}
)
"""Classes by which Python and the usual clients tell that a connection broke; `Transport` in a spec stands for all of them."""
LONGEST_PAUSE = 30.0
POLL_SECONDS = 0.1


class Tries:
    """The tries of one unit under a spec's `retry`. `before` is what was raised in those that did not count."""

    def __init__(self, allowed: Mapping[str, int]) -> None:
        self._allowed, self._used = allowed, Counter[str]()
        self.before: tuple[dict[str, str], ...] = ()

    def note(self, error: BaseException, then: str) -> None:
        """Keep what was raised, and what is changed for the next try."""
        self.before += ({"type": type(error).__name__, "message": message_of(error)[:300], "then": then},)

    def another(self, error: BaseException) -> float | None:
        """Seconds to wait before another try, which is noted; None where the spec gives `error` none, or no more."""
        found = kinds(error)
        for kind, most in self._allowed.items():
            if kind in found and self._used[kind] < most:
                seconds = min(2.0 ** self._used[kind], LONGEST_PAUSE)
                self._used[kind] += 1
                self.note(error, f"tried again after {seconds:g} s, {self._used[kind]} of {most} for {kind}")
                return seconds
        return None


def kinds(error: BaseException) -> frozenset[str]:
    """The names by which a spec may call an error: its class, those it is derived from, and those of what it was raised from."""
    names = frozenset(cls.__name__ for each in _chain(error) for cls in type(each).__mro__) - {"object"}
    return names | {"Transport"} if names & TRANSPORT else names


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__


def pause(seconds: float, stop: Callable[[], bool]) -> None:
    """Wait, unless told to stop."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stop():
        time.sleep(min(POLL_SECONDS, seconds))
