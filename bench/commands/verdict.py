"""The verdict of a check for its readers: the terminal, Markdown for a job's summary, JUnit XML for a CI server, JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from rich.markup import escape
from rich.table import Table

from bench.analysis.baseline_file import written
from bench.analysis.check import Outcome, Verdict, Word
from bench.commands import console
from bench.commands.console import visible
from bench.commands.markdown import code, number, sentence, table
from reports.text import printable

__all__ = ["TOLD", "headline", "junit", "markdown", "plain", "show"]

TOLD: tuple[Word, ...] = ("regressed", "not comparable", "improved")
"""What is listed; the rest is counted."""
SHOWN = 20
"""Cells of a kind that a summary lists."""


def headline(verdict: Verdict) -> str:
    """The verdict in a line."""
    counts = {word: len(verdict.of(word)) for word in TOLD}
    said = [f"{count} {word}" for word, count in counts.items() if count]
    alike = "no regression" if not counts["regressed"] else ""
    return f"{', '.join(filter(None, [alike, *said]))} among {len(verdict.outcomes)} cell{'s' * (len(verdict.outcomes) != 1)}"


def show(verdict: Verdict) -> None:
    """The verdict on the terminal: the worst of what is worse, cannot be compared or is better, and what it was held against."""
    for word in TOLD:
        outcomes = verdict.of(word)
        if outcomes:
            shown = Table(title=f"{len(outcomes)} {word}", box=None, header_style="bold", title_justify="left", pad_edge=False)
            for name in ("editor", "value", "metric", "baseline", "run", "loss", "tolerance", "worst sample"):
                shown.add_column(name)
            for each in outcomes[:SHOWN]:
                worst = each.worst[0][0] if each.worst and word != "improved" else ""
                numbers = (number(each.before), number(each.after), f"{each.loss:+.3g}", f"{each.tolerance:.3g}")
                shown.add_row(escape(each.editor), f"{each.value:g}", escape(each.metric), *numbers, escape(each.reason or worst))
            console.out.print(shown)
    lines = [headline(verdict), verdict.how, *verdict.notes]
    if verdict.unchecked:
        lines.append(f"not in the baseline: {', '.join(verdict.unchecked)}")
    for line in lines:
        console.out.print(line, markup=False, highlight=False, soft_wrap=True)


def markdown(verdict: Verdict) -> str:
    """The verdict for a pull request's comment or a job's summary."""
    sign = {0: "✅", 1: "❌", 2: "⚠️"}[verdict.exit_code]
    lines = [f"### {sign} {headline(verdict)}", "", f"{code(verdict.spec)}: {sentence(verdict.how)}.", ""]
    for word in TOLD:
        outcomes = verdict.of(word)
        if outcomes:
            more = f", of {len(outcomes)} the first {SHOWN}" if len(outcomes) > SHOWN else ""
            titles = ("editor", "metric", "value", "baseline", "run", "loss", "tolerance")
            rows = table(titles, (_row(each) for each in outcomes[:SHOWN]), left=2)
            lines += [f"**{word.capitalize()}**{more}", "", *rows, ""]
            lines += [f"- {line}" for each in outcomes[:SHOWN] if word != "improved" for line in _details(each)]
            lines += [""] if lines[-1] else []
    lines += [f"- {sentence(note)}" for note in verdict.notes]
    if verdict.unchecked:
        lines.append(f"- not in the baseline: {', '.join(map(code, verdict.unchecked[:SHOWN]))}")
    return "\n".join(lines).rstrip() + "\n"


def junit(verdict: Verdict) -> bytes:
    """The verdict as JUnit XML: a test case a cell, regressions as failures, what cannot be compared as errors."""
    counts = {"tests": len(verdict.outcomes) + len(verdict.unchecked), "failures": len(verdict.of("regressed"))}
    counts |= {"errors": len(verdict.of("not comparable")), "skipped": len(verdict.unchecked)}
    numbers = {name: str(count) for name, count in counts.items()}
    root = ElementTree.Element("testsuites", {"name": "etabench check"} | numbers)
    suite = ElementTree.SubElement(root, "testsuite", {"name": _xml(verdict.spec)} | numbers)
    properties = ElementTree.SubElement(suite, "properties")
    for name, text in (("run", verdict.run), ("compared", verdict.how)):
        ElementTree.SubElement(properties, "property", {"name": name, "value": _xml(text)})
    for each in verdict.outcomes:
        about = {"classname": _xml(each.editor), "name": _xml(f"{each.metric} at {each.value:g}")}
        case = ElementTree.SubElement(suite, "testcase", about)
        kind = {"regressed": "failure", "not comparable": "error"}.get(each.word)
        if kind:
            about = {"type": each.word, "message": _xml(_sentence(each))}
            ElementTree.SubElement(case, kind, about).text = _xml("\n".join(map(_worst, each.worst)))
    for text in verdict.unchecked:
        case = ElementTree.SubElement(suite, "testcase", {"classname": "not in the baseline", "name": _xml(text)})
        ElementTree.SubElement(case, "skipped", {"message": "the baseline does not have it"})
    if verdict.notes:
        ElementTree.SubElement(suite, "system-out").text = _xml("\n".join(verdict.notes))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def plain(verdict: Verdict) -> dict[str, Any]:
    """The verdict as JSON has it: null is undefined, "inf" infinite."""
    found = asdict(verdict) | {"verdict": headline(verdict), "exit_code": verdict.exit_code}
    for each in found["outcomes"]:
        each |= {name: written(each[name]) for name in ("before", "after", "loss", "tolerance")}
        each["worst"] = [[sample, written(before), written(after)] for sample, before, after in each["worst"]]
    return found


def _row(each: Outcome) -> tuple[str, ...]:
    numbers = (number(each.before), number(each.after), number(each.loss, signed=True), f"{each.tolerance:.3g}")
    return code(each.editor), code(each.metric), f"{each.value:g}", *numbers


def _details(each: Outcome) -> Iterator[str]:
    """What of a cell no column has: what is no number, and the worst samples."""
    name = f"{code(each.editor)} at {each.value:g}, {code(each.metric)}"
    if each.reason:
        yield f"{name}: {sentence(each.reason)}"
    if each.worst:
        yield f"{name}: " + ", ".join(f"{code(sample)} {number(old)} → {number(new)}" for sample, old, new in each.worst)


def _sentence(each: Outcome) -> str:
    said = f"{number(each.before)} → {number(each.after)}, a loss of {number(each.loss)}, tolerance {each.tolerance:.3g}"
    return "; ".join(filter(None, [said if each.n else "", each.reason]))


def _worst(row: tuple[str, float, float]) -> str:
    sample, before, after = row
    return f"{sample}: {number(before)} → {number(after)}"


def _xml(text: str) -> str:
    return printable(visible(text))[:2000]
