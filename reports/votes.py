"""The page of a study: what votes say, as a figure, tables and files. Statistics are made by the caller; nothing here is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.cells import Cell, Column, finite, interval_cell, p_cell, plain_cell, whole_cell
from reports.drawing import Drawing, blank, rendered
from reports.html import inline_svg
from reports.style import INK, MUTED, RC
from reports.tables import Line, Table
from reports.text import inert, printable

__all__ = ["VotesData", "votes_report"]

_HERE = Path(__file__).parent
Row = Mapping[str, Any]
_UNIT, _SIGNED = (0.0, 1.0), (-1.0, 1.0)


def _none() -> pd.DataFrame:
    return pd.DataFrame()


@dataclass(frozen=True)
class VotesData:
    """All that the page of a study shows. A frame without rows has no table."""

    title: str
    """Name of the study."""
    meta: Mapping[str, str]
    """Header lines in order."""
    warnings: Sequence[str] = ()
    """Sentences the reader must see before the figures."""
    strengths: pd.DataFrame = field(default_factory=_none)
    """editor, strength, low, high, rank, share, votes; without a strength NaN."""
    differences: pd.DataFrame = field(default_factory=_none)
    """first, second, difference, low, high, p, p_holm."""
    preferences: pd.DataFrame = field(default_factory=_none)
    """first, second, n, raters, sources, wins, losses, ties, both_bad, share, wilson_low, wilson_high, low, high, margin, margin_low,
    margin_high, design_effect, p, p_holm."""
    categories: pd.DataFrame = field(default_factory=_none)
    """The same by category."""
    ratings: pd.DataFrame = field(default_factory=_none)
    """editor, score, mean, low, high, n."""
    agreement: pd.DataFrame = field(default_factory=_none)
    """question, alpha, low, high, items, raters."""
    sides: pd.DataFrame = field(default_factory=_none)
    """left, low, high, wilson_low, wilson_high, n, lean, lean_low, lean_high."""
    raters: pd.DataFrame = field(default_factory=_none)
    """rater, answers, failures, gold, gold_wrong, duplicates, contradictions, left, undecided, seconds, counts (bool)."""


def votes_report(data: VotesData) -> dict[str, bytes]:
    """The files of the report by name, the page ``index.html`` last.

    Before it ``report.md``, a CSV file per table, and ``strengths.svg`` and ``.png``. The same data gives the same bytes.
    """
    data = printable(data)
    tables = [table for table in _tables(data) if table.lines]
    drawing = _strengths_figure(data)
    files = {f"{table.name}.csv": inert(table.frame).to_csv(index=False, lineterminator="\n").encode("utf-8") for table in tables}
    files["report.md"] = _markdown(data, tables, drawing).encode("utf-8")
    figure = Markup()
    if drawing.figure is not None:
        files["strengths.svg"], files["strengths.png"] = rendered(drawing.figure, drawing.name)
        figure = inline_svg(files["strengths.svg"], drawing.name)
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = Markup((_HERE / "style.css").read_text(encoding="utf-8"))
    page = environment.get_template("votes.html").render(data=data, tables=tables, drawing=drawing, figure=figure, style=style)
    return files | {"index.html": page.encode("utf-8")}


def _tables(data: VotesData) -> list[Table]:
    pairs = (
        "Votes on each pair of editors. The share is that of the first among the votes that chose one of the two; ties and both bad stand "
        "beside it and are in neither. Brackets: 95 % intervals, clustered by rater and by source picture. Wilson's interval takes all votes "
        "for independent, as printed ones do; the design effect says how many times the variance of independent votes theirs is."
    )
    return [
        _table("strengths", "How strong each editor is", _STRENGTHS_LEAD, data.strengths, _STRENGTHS),
        _table("differences", "Strengths compared", _DIFFERENCES_LEAD, data.differences, _DIFFERENCES),
        _table("ratings", "Ratings", _RATINGS_LEAD, data.ratings, _RATINGS),
        _table("preferences", "Preferences", pairs, data.preferences, _PREFERENCES),
        _table("categories", "Preferences by category", pairs, data.categories, (_text("category", ""), *_PREFERENCES)),
        _table("agreement", "Agreement of raters", _AGREEMENT_LEAD, data.agreement, _AGREEMENT),
        _table("sides", "Lean to a side", _SIDES_LEAD, data.sides, _SIDES),
        _table("raters", "Raters", _RATERS_LEAD, data.raters, _RATERS),
    ]


Maker = tuple[Column, Callable[[Row], Cell]]


def _table(name: str, title: str, lead: str, frame: pd.DataFrame, columns: Sequence[Maker]) -> Table:
    rows = [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
    lines = tuple(Line(tuple(make(row) for _, make in columns)) for row in rows)
    return Table(name, title, lead, tuple(column for column, _ in columns), lines, frame)


def _text(name: str, meaning: str, title: str = "") -> Maker:
    return Column(title or name, meaning, numeric=False), lambda row: Cell(str(row[name]), str(row[name]))


def _whole(name: str, meaning: str, title: str = "") -> Maker:
    return Column(title or name.replace("_", " "), meaning), lambda row: whole_cell(row[name])


def _plain(name: str, meaning: str, digits: int, title: str = "") -> Maker:
    return Column(title or name.replace("_", " "), meaning), lambda row: plain_cell(row[name], digits)


def _p(name: str, meaning: str, title: str) -> Maker:
    return Column(title, meaning), lambda row: p_cell(row[name])


def _ends(names: tuple[str, str, str], meaning: str, title: str, span: tuple[float, float], better: str = "") -> Maker:
    """A value with its interval, which is drawn within ``span``; one that begins below zero is drawn around it."""
    value, low, high = names
    signed = span[0] < 0
    column = Column(title, meaning, better)
    return column, lambda row: interval_cell(row[value], row[low], row[high], 2, span, signed=signed)


def _wilson(row: Row) -> Cell:
    low, high = finite(row["wilson_low"]), finite(row["wilson_high"])
    return Cell("–", "") if low is None or high is None else Cell(f"[{low:.2f}, {high:.2f}]", repr(low))


def _rater_counts(row: Row) -> Cell:
    return Cell("yes", "1") if row["counts"] else Cell("left out", "0", alarm="short")


_STRENGTHS_LEAD = (
    "Bradley and Terry's strengths with ties (Davidson 1970) and the side on which an edit was shown (Davidson and Beaver 1977), fitted "
    "together. Their mean is 0; a difference of d means odds of exp(d) where one is chosen. The share is that of chosen votes against an "
    "editor of strength 0. An editor without a strength won, or lost, every vote against the others."
)
_STRENGTHS = (
    _text("editor", ""),
    _ends(
        ("strength", "low", "high"),
        "log-odds, 95 % interval clustered by rater and source picture",
        "strength",
        (-3.0, 3.0),
        "higher",
    ),
    _whole("rank", "1 is the strongest"),
    _plain("share", "of chosen votes against an editor of strength 0", 2),
    _whole("votes", "votes on its edits"),
)
_DIFFERENCES_LEAD = "First less second. p is of a difference of zero; Holm's correction is over all pairs of this table."
_DIFFERENCES = (
    _text("first", ""),
    _text("second", ""),
    _ends(("difference", "low", "high"), "of strengths, 95 % interval", "difference", (-4.0, 4.0)),
    _p("p", "Student's t", "p"),
    _p("p_holm", "corrected for all pairs", "p, Holm"),
)
_RATINGS_LEAD = (
    "Means of the scores 0, 0.5 and 1 (ImagenHub): SC, does it do what the text says and only that; PQ, does it look like a good picture; "
    "O, the square root of SC × PQ of each answer. Brackets: 95 % intervals clustered by rater and source picture."
)
_RATINGS = (
    _text("editor", ""),
    _text("score", "SC, PQ or O"),
    _ends(("mean", "low", "high"), "0..1", "mean", _UNIT, "higher"),
    _whole("n", "answers"),
)
_PREFERENCES = (
    _text("first", ""),
    _text("second", ""),
    _whole("wins", "votes for the first"),
    _whole("losses", "votes for the second"),
    _whole("ties", "votes for equally good"),
    _whole("both_bad", "votes for both are bad"),
    _ends(("share", "low", "high"), "of the first among chosen votes, clustered interval", "share", _UNIT),
    (Column("Wilson", "interval of the share as if votes were independent"), _wilson),
    _ends(
        ("margin", "margin_low", "margin_high"), "share of all votes for the first less that for the second", "margin", _SIGNED
    ),
    _plain("design_effect", "variance of the margin over that of independent votes", 2),
    _p("p", "of a margin of zero, Student's t", "p"),
    _p("p_holm", "corrected for all rows", "p, Holm"),
)
_AGREEMENT_LEAD = (
    "Krippendorff's alpha over the edits that several raters saw: 1 is agreement, 0 is chance. Preferences are nominal, ratings ordinal. "
    "Brackets: 95 % intervals, the jackknife over source pictures."
)
_AGREEMENT = (
    _text("question", ""),
    _ends(("alpha", "low", "high"), "Krippendorff's alpha", "alpha", _SIGNED),
    _whole("items", "with two raters or more"),
    _whole("raters", ""),
)
_SIDES_LEAD = (
    "The share of choices that fell on the left edit. Lean: the same as a parameter of the model of strengths; 0 is none."
)
_SIDES = (
    _ends(("left", "low", "high"), "share of choices, clustered interval", "left", _UNIT),
    (Column("Wilson", "as if votes were independent"), _wilson),
    _ends(("lean", "lean_low", "lean_high"), "log-odds of left against right between equal edits", "lean", (-2.0, 2.0)),
    _whole("n", "choices"),
)
_RATERS_LEAD = (
    "Gold trials have an answer that cannot be missed; a contradiction is the opposite answer when the same came again."
)
_RATERS = (
    _text("rater", ""),
    (Column("counts", "whether the rule leaves the rater in", numeric=False), _rater_counts),
    _whole("answers", ""),
    _whole("failures", "questions that got no answer"),
    _whole("gold", "gold trials answered"),
    _whole("gold_wrong", "of these wrong"),
    _whole("duplicates", "trials answered again"),
    _whole("contradictions", "of these the opposite way"),
    _plain("left", "share of choices that fell on the left edit", 2),
    _plain("undecided", "share of preferences for neither", 2),
    _plain("seconds", "median time to an answer", 1),
)


def _strengths_figure(data: VotesData) -> Drawing:
    """One line per editor with a strength, the strongest on top."""
    name, title = "strengths", "How strong each editor is"
    known = data.strengths.dropna(subset=["strength"]) if len(data.strengths) else data.strengths
    if known.empty:
        return Drawing(name, title, "", known, None, "There are no strengths to draw.")
    with mpl.rc_context(RC):
        figure = blank(6.4, 0.9 + 0.36 * len(known))
        ax = figure.subplots()
        ax.axvline(0, color=MUTED, linewidth=0.9, zorder=1)
        for place, row in enumerate(known.to_dict("records")):
            low, high = finite(row["low"]), finite(row["high"])
            if low is not None and high is not None:
                ax.plot([low, high], [-place, -place], color="#0072b2", linewidth=2.4, alpha=0.5, solid_capstyle="butt", zorder=2)
            ax.plot(
                [row["strength"]], [-place], marker="o", color="#0072b2", markeredgecolor="white", markeredgewidth=0.6, zorder=3
            )
        ax.set_yticks([-place for place in range(len(known))], [str(editor) for editor in known["editor"]], color=INK)
        ax.set_ylim(-len(known) + 0.4, 0.6)
        ax.set_xlabel("strength (log-odds of being chosen)")
    caption = "Strengths of the editors, right is better. Bars: 95 % intervals clustered by rater and source picture."
    return Drawing(name, title, caption, known, figure)


def _markdown(data: VotesData, tables: Sequence[Table], drawing: Drawing) -> str:
    lines = [f"# {_cell(data.title)}", ""]
    lines += [f"- {_cell(key)}: {_cell(value)}" for key, value in data.meta.items()]
    lines += ["", *(f"> {_cell(warning)}\n" for warning in data.warnings)]
    if drawing.figure is not None:
        lines += [f"![{drawing.caption}]({drawing.name}.png)", ""]
    for table in tables:
        lines += [f"## {table.title}", "", table.lead, ""]
        lines.append("| " + " | ".join(column.title for column in table.columns) + " |")
        lines.append("|" + "---|" * len(table.columns))
        for line in table.lines:
            cells = (_cell(f"{cell.text} {cell.interval}".strip()) for cell in line.cells)
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """A text that stays one cell and starts no markup."""
    escaped = "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in text)
    return " ".join(escaped.split())
