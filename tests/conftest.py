"""How the tests are shared out among processes (`--dist loadgroup --no-loadscope-reorder`): group by group, the longest first.

A group is run by one process, so that what its tests share (a finished run, a laboratory, the edits that the checks of an editor compare
with) is made once. A file is a group, unless it marks its tests with `xdist_group`.
"""

from __future__ import annotations

import pytest

LONGEST = (
    "tests/test_ci_spec.py",
    "tests/bench/studies/test_findings.py",
    "tests/bench/benchmarks/test_benchmarks.py",
    "tests/bench/studies/test_calibrate.py",
)
"""Groups of half a minute and more, the longest first. The other groups with slow tests follow, then the rest, which even out the ends."""


def _group(item: pytest.Item) -> str:
    """The item's group; an item that has none is put into one named after its file."""
    mark = item.get_closest_marker("xdist_group")
    if mark is not None:
        return str(mark.args[0])
    file = item.nodeid.partition("::")[0]
    item.add_marker(pytest.mark.xdist_group(file))
    return file


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest groups first, the tests of a group side by side; the order is random where this leaves it open."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        groups.setdefault(_group(item), []).append(item)

    def place(name: str) -> int:
        slow = any(item.get_closest_marker("slow") for item in groups[name])
        return LONGEST.index(name) if name in LONGEST else len(LONGEST) + (not slow)

    items[:] = [item for name in sorted(groups, key=place) for item in groups[name]]
