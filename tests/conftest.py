"""How the tests are shared out among processes: group by group, the longest first.

A group is run by one process, so that what its tests share (a finished run, a laboratory, the edits that the checks of an editor compare
with) is made once.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.browser import browser, context, page

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

__all__ = ["browser", "context", "page"]

LONGEST = (
    "tests/test_ci_spec.py",
    "tests/bench/studies/test_findings.py",
    "tests/editors/test_on_card.py",
    "tests/bench/benchmarks/test_benchmarks.py",
    "tests/bench/studies/test_calibrate.py",
)
"""Groups of half a minute and more, the longest first. The other groups with slow tests follow, then the rest, which even out the ends."""


def group(nodeid: str) -> str:
    """The name of the group a test is in: its file, and in the file of the conformance checks the editor, as in ``[sdedit-cost]``."""
    file, _, test = nodeid.partition("::")
    return test.partition("-")[0] if file == "tests/test_conformance.py" and "[" in test else file


def pytest_configure() -> None:
    """Ctrl-C is heard in tests of it, whoever started them: a job in the background of a script ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests let in (`bench.trust`) is written into a folder of theirs, also by commands that they start."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest groups first, the tests of a group side by side; the order is random where this leaves it open."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        groups.setdefault(group(item.nodeid), []).append(item)

    def place(name: str) -> int:
        slow = any(item.get_closest_marker("slow") for item in groups[name])
        return LONGEST.index(name) if name in LONGEST else len(LONGEST) + (not slow)

    items[:] = [item for name in sorted(groups, key=place) for item in groups[name]]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Hand out whole groups in their order, whatever ``--dist`` says (``loadgroup`` of xdist 3.8 has no effect under pytest 9.2)."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    config.option.loadscopereorder = False  # else the groups with most tests would come first
    return ByGroup(config, log)
