"""Two runs side by side for their readers: names from outside are no markup, and the pictures of the worst are there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_specs import ALL_METRICS, SpecMaker, editor
from fixtures_manifest import row, write_folder

from bench import api
from bench.analysis.compare import Change, Comparison, compare
from bench.commands import comparison
from bench.store import Run
from bench.workers.crew import Options

NASTY = "<script>alert(1)</script>|`x`**b**[a](http://x.y)@octocat'\"📷"


@pytest.fixture
def two(make_spec: SpecMaker, tmp_path: Path) -> Callable[..., tuple[Run, Run]]:
    """Two scored runs of an editor, the second with twice the noise, over eight pictures."""

    def make(label: str = "Fade", **changes: Any) -> tuple[Run, Run]:
        folder = write_folder(tmp_path / "eight", [row(i, **changes) for i in range(8)], pictures=8)
        runs = []
        for preset in ("", "loud"):
            item = editor("Fade", label=label) | ({"preset": preset} if preset else {})
            spec = make_spec(item, manifest={"path": str(folder)}, metrics=ALL_METRICS)
            runs.append(api.run(spec, tmp_path / f"run{preset}", options=Options(executor="inline")))
            api.score(runs[-1])
        return runs[0], runs[1]

    return make


def test_the_page_is_one_file_with_the_pictures_of_the_worst(two: Callable[..., tuple[Run, Run]], tmp_path: Path) -> None:
    runs = two()
    found = compare(*runs)
    page = comparison.page(found, *runs, tmp_path / "new" / "page")
    assert page == tmp_path / "new" / "page" / "index.html"
    text = page.read_text(encoding="utf-8")
    assert text.count("<article>") == len(found.worst) == 8
    assert text.count('src="data:image/png;base64,') == 3 * 8
    assert "Fade: gain 1.0 → 2.0" in text
    assert found.worst[0].sample in text
    assert list(page.parent.iterdir()) == [page]
    again = comparison.page(found, *runs, tmp_path / "compare.html")
    assert again.read_text(encoding="utf-8") == text


def test_markdown_and_json(two: Callable[..., tuple[Run, Run]]) -> None:
    found = compare(*two())
    text = comparison.markdown(found)
    assert text.startswith("### The second run is worse in ")
    assert "**Whole curves, second less first**" in text
    assert "| `Fade` | `lpips` | 0.5 |" in text
    assert "<details><summary>Largest losses of single samples</summary>" in text
    told = json.loads(json.dumps(comparison.plain(found), allow_nan=False))
    assert {each["word"] for each in told["cells"]} >= {"worse", "equal", ""}
    assert told["cells"][-1]["p"] is None, "a set has no test"
    assert len(told["worst"]) == 8


def change(difference: float, p_holm: float, value: float = 0.5) -> Change:
    """A cell of eight samples in which higher is better."""
    far = abs(difference) / 2
    ends = (difference - far, difference + far)
    return Change("e", value, "clip", 1.0, 1.0 + difference, difference, *ends, p_holm, 8, 1.0, {}, p_holm=p_holm)


@pytest.mark.parametrize(
    ("cells", "curves", "said"),
    [
        ([change(-1, 0.2), change(0, 1)], [], "not told apart in any of 2 cells, equal in 1"),
        ([change(0, 1), change(0, 1)], [change(0, 1)], "equal in all 2 cells"),
        ([change(0, 1)], [], "equal in the one cell"),
        ([change(-1, 0.01)], [], "worse in 1 of 1 cell"),
        ([change(-1, 0.01), change(1, 0.2)], [change(1, 0.3)], "worse in 1 of 2 cells"),
        (
            [change(-1, 0.2)],
            [change(-1, 0.03), change(1, 0.03), change(1, 0.5)],
            "not told apart in the one cell; over whole curves worse in 1, better in 1 of 3 numbers",
        ),
    ],
)
def test_the_headline_denies_nothing_that_a_table_says(cells: list[Change], curves: list[Change], said: str) -> None:
    found = Comparison("a", "b", tuple(cells), tuple(curves), ())
    assert comparison.headline(found) == f"the second run is {said} (5 %, after Holm's correction within a metric)"


def test_names_from_outside_are_no_markup(two: Callable[..., tuple[Run, Run]], tmp_path: Path) -> None:
    runs = two(NASTY, target_text=f"\u202ean image of {NASTY * 50}")
    found = compare(*runs)
    text = comparison.markdown(found)
    for mark in ("<script", "](", "@octocat", "**b**", "\u202e", "http://"):
        assert mark not in text
    widths = {
        line.count("|") for line in text.splitlines() if line.startswith("| ") and "Fade" not in line and "&#124;" not in line
    }
    assert widths <= {7, 10}, "a name is no further cell"
    page = comparison.page(found, *runs, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    json.dumps(comparison.plain(found), allow_nan=False)


def test_a_picture_that_is_gone_is_a_box(two: Callable[..., tuple[Run, Run]], tmp_path: Path) -> None:
    runs = two()
    found = compare(*runs)
    for file in runs[1].path.glob("units/*/0*.png"):
        file.unlink()
    text = comparison.page(found, *runs, tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count('class="missing"') == 8
