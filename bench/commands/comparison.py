"""Two runs side by side for their readers: the terminal, Markdown for a pull request's comment, JSON, and a page with pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from bench.analysis.baseline_file import written
from bench.analysis.compare import Change, Comparison
from bench.commands import console
from bench.commands.markdown import code, number, sentence, table
from bench.store import Run

if TYPE_CHECKING:
    from reports.comparison import Exhibit

__all__ = ["headline", "markdown", "page", "plain", "show"]

SHOWN = 20
TITLES = ("editor", "metric", "value", "first", "second", "difference", "95 % interval", "p", "n")


def headline(found: Comparison) -> str:
    """What the tests say, in a line: of the cells, then of the numbers over whole curves, which may tell what no cell does."""
    tested, equal = [each for each in found.cells if not math.isnan(each.p)], len(found.of("equal"))
    if tested and equal == len(tested):
        cells = f"equal in {f'all {equal} cells' if equal > 1 else 'the one cell'}"
    elif words := _words(found.cells):
        cells = f"{words} of {len(tested)} cell{'s' * (len(tested) > 1)}{f', equal in {equal}' if equal else ''}"
    elif len(tested) == 1:
        cells = "not told apart in the one cell"
    else:
        cells = f"not told apart in any of {len(tested)} cells{f', equal in {equal}' if equal else ''}"
    told = _words(found.curves)
    curves = f"; over whole curves {told} of {sum(not math.isnan(each.p) for each in found.curves)} numbers" if told else ""
    return f"the second run is {cells}{curves} (5 %, after Holm's correction within a metric)"


def _words(changes: Sequence[Change]) -> str:
    counts = {word: sum(each.word == word for each in changes) for word in ("worse", "better", "other")}
    return ", ".join(f"{word} in {count}" for word, count in counts.items() if count)


def show(found: Comparison) -> None:
    """The comparison on the terminal."""
    for title, changes in _tables(found):
        shown = Table(title=title, box=None, header_style="bold", title_justify="left", pad_edge=False)
        for name in TITLES:
            shown.add_column(name)
        for each in changes[:SHOWN]:
            shown.add_row(escape(each.editor), escape(each.metric), *_numbers(each))
        console.out.print(shown)
    if found.worst:
        shown = Table(
            title="largest losses of single samples", box=None, header_style="bold", title_justify="left", pad_edge=False
        )
        for name in ("sample", "editor", "value", "metric", "first", "second"):
            shown.add_column(name)
        for loss in found.worst:
            ends = (number(loss.before), number(loss.after))
            shown.add_row(escape(loss.sample), escape(loss.editor), f"{loss.value:g}", escape(loss.metric), *ends)
        console.out.print(shown)
    for line in (headline(found), *_lines(found)):
        console.out.print(line, markup=False, highlight=False, soft_wrap=True)


def markdown(found: Comparison) -> str:
    """The comparison for a pull request's comment."""
    head = headline(found)
    lines = [f"### {head[0].upper()}{head[1:]}", "", f"First {code(found.first)}, second {code(found.second)}.", ""]
    for title, changes in _tables(found):
        rows = ((code(each.editor), code(each.metric), *_numbers(each)) for each in changes[:SHOWN])
        lines += [f"**{title[0].upper()}{title[1:]}**", "", *table(TITLES, rows, left=2), ""]
    if found.worst:
        rows_ = (
            (code(e.sample), code(e.editor), code(e.metric), f"{e.value:g}", number(e.before), number(e.after))
            for e in found.worst
        )
        titles = ("sample", "editor", "metric", "value", "first", "second")
        lines += [
            "<details><summary>Largest losses of single samples</summary>",
            "",
            *table(titles, rows_, left=3),
            "",
            "</details>",
            "",
        ]
    lines += [f"- {sentence(line)}" for line in _lines(found)]
    return "\n".join(lines).rstrip() + "\n"


def plain(found: Comparison) -> dict[str, Any]:
    """The comparison as JSON has it: null is undefined, "inf" infinite."""
    cells = {name: [_plain(asdict(each) | {"word": each.word}) for each in getattr(found, name)] for name in ("cells", "curves")}
    rest = {name: list(getattr(found, name)) for name in ("settings", "alone", "notes")}
    worst = [_plain(asdict(each)) for each in found.worst]
    return {"first": found.first, "second": found.second, "verdict": headline(found), **cells, "worst": worst, **rest}


def page(found: Comparison, first: Run, second: Run, target: Path) -> Path:
    """Write the comparison as a page, with the pictures of the worst samples inside, and return its path.

    `target` is a file that ends in .html, or else a folder, in which it is index.html.
    """
    from reports.comparison import Page, write_page

    path = target if target.suffix.lower() in (".html", ".htm") else target / "index.html"
    tables = [
        (title, [(each.word, each.editor, each.metric, *_numbers(each)) for each in changes]) for title, changes in _tables(found)
    ]
    lines = _lines(found)
    write_page(path, Page(headline(found), found.first, found.second, TITLES, tables, _exhibits(found, first, second), lines))
    return path


def _exhibits(found: Comparison, first: Run, second: Run) -> list[Exhibit]:
    """The worst samples with their pictures: source, and the edit of either run with its smallest seed."""
    from reports.comparison import Exhibit

    infos, exhibits = {sample.id: sample for sample in first.plan.samples}, []
    for loss in found.worst:
        info = infos[loss.sample]
        edits = [_edit(run, loss.editor, loss.sample, loss.value) for run in (first, second)]
        words = f"{loss.metric} {number(loss.before)} → {number(loss.after)}"
        where = f"{loss.editor} at {loss.value:g}"
        source = first.own(first.keep(info)["source"])
        exhibits.append(Exhibit(loss.sample, info.target_text, info.source_text or "", where, words, source, *edits))
    return exhibits


def _edit(run: Run, editor: str, sample: str, value: float) -> Path | None:
    """The file of an edit, by the smallest seed that has it."""
    plan = run.plan
    units = [unit for unit in plan.units if plan.entries[unit.entry].label == editor and plan.samples[unit.sample].id == sample]
    for unit in sorted(units, key=lambda unit: unit.seed):
        record = run.record(unit.key)
        for index, edit in enumerate(record.edits if record else ()):
            if record and edit.value == value:
                return run.own(run.edit_path(record, index))
    return None


def _tables(found: Comparison) -> list[tuple[str, Sequence[Change]]]:
    """What is shown of the changes: whole curves, and the cells of each kind that a test tells apart, or that cannot be compared."""
    titles = {word: f"{len(found.of(word))} cells in which the second is {word}" for word in ("worse", "better", "other")}
    strange = [each for each in found.cells if each.strange]
    sets = [each for each in found.cells if not each.n and not each.strange]
    shown = [("whole curves, second less first", found.curves), *((title, found.of(word)) for word, title in titles.items())]
    shown += [(f"{len(strange)} cells with scores on one side only", strange), ("metrics of sets, without a test", sets)]
    return [(title, changes) for title, changes in shown if changes]


def _numbers(each: Change) -> tuple[str, ...]:
    """The cells of a row, after editor and metric."""
    whole = math.isnan(each.value)
    ends = ("" if whole and math.isnan(end) else number(end) for end in (each.first, each.second))
    difference = "" if math.isnan(each.difference) else number(each.difference, signed=True)
    interval = "" if math.isnan(each.low) else f"[{each.low:+.3g}, {each.high:+.3g}]"
    odd = ", ".join(f"{count} {word}" for word, count in each.strange.items())
    p = "" if math.isnan(each.p_holm) else "< 0.001" if each.p_holm < 0.001 else f"{each.p_holm:.3f}"
    return "all" if whole else f"{each.value:g}", *ends, difference, odd or interval, p, str(each.n or "set")


def _lines(found: Comparison) -> list[str]:
    changed = [f"other: {line}" for line in found.settings]
    return [*changed, *found.alone, *found.notes]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: written(value) if isinstance(value, float) else value for name, value in row.items()}
