"""A verdict for its readers: what it says, and that names from outside are no markup anywhere."""

from __future__ import annotations

import json
import math
from xml.etree import ElementTree

import pytest

from bench.analysis.check import Outcome, Verdict
from bench.commands.markdown import code, sentence
from bench.commands.verdict import headline, junit, markdown, plain

NASTY = "</td><script>alert(1)</script>|`x`**b** [a](http://x.y) @octocat #1 \x1b[2J\x00\u202e\ud800 📷 \nnew & \"q\" 'r'"
LOST = Outcome("sdedit", 0.4, "clip", 80.0, 75.0, 5.0, 0.4, 16, "regressed", "", (("taxi", 81.0, 60.0),))
GONE = Outcome("diffedit", 0.4, "lpips", math.nan, math.nan, 0.0, 1e-6, 0, "not comparable", "16 of 16 scores are missing")
WON = Outcome("sdedit", 0.8, "clip", 80.0, math.inf, -math.inf, 0.4, 16, "improved")
SAME = Outcome("copy", 0.0, "clip", 60.0, 60.0, 0.0, 0.3, 16, "unchanged")


def verdict(*outcomes: Outcome, **more: object) -> Verdict:
    return Verdict("runs/ci", "ci", "seed 0 on cpu float32, as in the baseline", outcomes or (LOST, GONE, WON, SAME), **more)  # type: ignore[arg-type]


def test_the_headline_counts() -> None:
    assert headline(verdict()) == "1 regressed, 1 not comparable, 1 improved among 4 cells"
    assert headline(verdict(SAME)) == "no regression among 1 cell"


def test_markdown_shows_what_is_worse_first() -> None:
    text = markdown(verdict(notes=("versions since the baseline: torch 2 → 3",), unchecked=("psnr",)))
    assert text.startswith("### ❌ 1 regressed, 1 not comparable, 1 improved among 4 cells\n")
    assert "| `sdedit` | `clip` | 0.4 | 80 | 75 | +5 | 0.4 |" in text
    assert "- `sdedit` at 0.4, `clip`: `taxi` 81 → 60" in text
    assert "- `diffedit` at 0.4, `lpips`: 16 of 16 scores are missing" in text
    assert "| `sdedit` | `clip` | 0.8 | 80 | infinite | -infinite | 0.4 |" in text
    assert text.index("**Regressed**") < text.index("**Not comparable**") < text.index("**Improved**")
    assert "- not in the baseline: `psnr`" in text
    assert markdown(verdict(GONE)).startswith("### ⚠️ no regression, 1 not comparable")
    assert markdown(verdict(SAME)).startswith("### ✅ no regression among 1 cell")


def test_junit_has_a_case_a_cell() -> None:
    root = ElementTree.fromstring(junit(verdict(unchecked=("psnr",), notes=("a note",))))
    (suite,) = root
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    cases = {(case.get("classname"), case.get("name")): case for case in suite.iter("testcase")}
    assert len(cases) == 5
    (failure,) = cases["sdedit", "clip at 0.4"]
    assert (failure.tag, failure.get("message"), failure.text) == (
        "failure",
        "80 → 75, a loss of 5, tolerance 0.4",
        "taxi: 81 → 60",
    )
    assert cases["diffedit", "lpips at 0.4"][0].get("message") == "16 of 16 scores are missing"
    assert list(cases["copy", "clip at 0"]) == []
    assert suite.find("system-out").text == "a note"  # type: ignore[union-attr]


def test_json_holds_no_number_that_is_none() -> None:
    found = json.loads(json.dumps(plain(verdict()), allow_nan=False))
    assert (found["exit_code"], found["outcomes"][1]["before"], found["outcomes"][2]["after"]) == (1, None, "inf")
    assert found["outcomes"][0]["worst"] == [["taxi", 81.0, 60.0]]


@pytest.mark.parametrize("name", [NASTY, "x" * 10_000, "../../etc/passwd", "مرحبا", "", "=1+1", "a\\|b"])
def test_names_from_outside_are_no_markup(name: str) -> None:
    each = Outcome(name, 0.4, name, 80.0, 75.0, 5.0, 0.4, 16, "regressed", name, ((name, 81.0, 60.0),))
    found = verdict(each, notes=(name,), unchecked=(name,))
    text = markdown(found)
    assert len(text) < 6000
    assert not set(text) & set("\x1b\x00\u202e\ud800")
    for row in (line for line in text.splitlines() if line.startswith("| ")):
        assert row.count("|") == 8, "a name is no further cell"
    for mark in ("<script", "](", "@octocat", "**b**", "http://"):
        assert mark not in text
    root = ElementTree.fromstring(junit(found))
    assert len(list(root.iter("testcase"))) == 2
    text.encode()
    json.dumps(plain(found))


def test_code_and_sentences_are_inert() -> None:
    assert code("blended_latent") == "`blended_latent`"
    assert code("a|b") == "<code>a&#124;b</code>"
    assert code("x" * 100) == f"<code>{'x' * 59}&#8230;</code>"
    assert code("a\n\tb") == "`a b`"
    assert sentence("see www.evil.com, https://evil.com or @you: a-b") == (
        "see www&#46;evil.com, https:&#47;&#47;evil.com or &#64;&#8288;you: a-b"
    )
