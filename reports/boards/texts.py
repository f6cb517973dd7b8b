"""A board in Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reports.boards.data import BoardData
from reports.boards.escape import SENTENCES, latex, markdown
from reports.boards.tables import Grid, categories, looks_of, ranking
from reports.cells import Cell

__all__ = ["as_latex", "as_markdown"]

_ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}
RULE = (
    "Editors are ranked by the mean of both axes, each on its scale, on the samples that all ranked editors of the division have. "
    "Several ranks stand where paired swap tests by source picture, corrected for all pairs (Holm, 0.05), leave them open. "
    "Brackets are 95 % intervals clustered by source picture."
)
"""How to read the tables; in every form of the board."""


def as_markdown(data: BoardData) -> str:
    """The board as a page of GitHub's Markdown."""
    look = looks_of(data)
    parts = [f"# {markdown(data.title)}", "\n".join(f"- {markdown(k)}: {markdown(v)}" for k, v in data.about.items()), RULE]
    if data.notes:
        parts.append("\n".join(f"> - {markdown(note, SENTENCES)}" for note in data.notes))
    for division in data.divisions:
        grid = ranking(division, look)
        parts.append(f"## {markdown(division.name)}")
        parts += [markdown(sentence, SENTENCES) for sentence in grid.lead]
        parts.append("\n".join(_markdown_rows(grid, data.owners)))
        parts += [markdown(sentence, SENTENCES) for sentence in division.data.powerless]
        for each in categories(division, look):
            parts.append(f"### {markdown(each.title)} by category")
            parts.append("\n".join(_markdown_rows(each, {})))
    if data.versions:
        lines = (
            f"- Version {v.version}, {markdown(v.date)}: {'; '.join(markdown(reason, SENTENCES) for reason in v.why)}"
            for v in data.versions
        )
        parts.append("## Versions\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _markdown_rows(grid: Grid, owners: Mapping[str, str]) -> Iterator[str]:
    heads = ["editor", *(column.title + _ARROWS[column.better] for column in grid.columns), *(["run"] if owners else [])]
    yield f"| {' | '.join(map(markdown, heads))} |"
    yield f"|---|{''.join('---:|' if column.numeric else '---|' for column in grid.columns)}{'---|' if owners else ''}"
    for row in grid.rows:
        name = f"{row.editor}, anchor" if row.anchor else f"{row.editor}, {row.point}" if row.point else row.editor
        cells = [_markdown_cell(cell) for cell in row.cells] + ([markdown(owners.get(row.editor, ""))] if owners else [])
        yield f"| {' | '.join([markdown(name), *cells])} |"


def _markdown_cell(cell: Cell) -> str:
    mean = f"**{markdown(cell.text)}**" if cell.best else markdown(cell.text)
    parts = [mean, cell.interval, f"({markdown(cell.note)})" if cell.note else ""]
    return " ".join(filter(None, parts))


def as_latex(data: BoardData) -> str:
    """The board as tables for a paper, with the package booktabs."""
    look = looks_of(data)
    parts = ["% \\usepackage{booktabs, graphicx, textcomp}; labels that are not Latin want LuaLaTeX or XeLaTeX"]
    for number, division in enumerate(data.divisions, 1):
        grid = ranking(division, look)
        caption = f"{latex(data.title)}: {latex(division.name)}. {latex(' '.join([*grid.lead, RULE]), SENTENCES)}"
        parts.append(_latex_table(grid, caption, f"tab:board-{number}"))
    return "\n".join(parts)


def _latex_table(grid: Grid, caption: str, label: str) -> str:
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{caption}}}", rf"\label{{{label}}}", r"\resizebox{\linewidth}{!}{%"]
    lines.append(rf"\begin{{tabular}}{{l{''.join('r' if column.numeric else 'l' for column in grid.columns)}}}")
    heads = ["editor", *(column.title + _ARROWS[column.better] for column in grid.columns)]
    lines += [r"\toprule", rf"{' & '.join(map(latex, heads))} \\", r"\midrule"]
    ranked = [row for row in grid.rows if not row.anchor]
    anchors = [row for row in grid.rows if row.anchor]
    for rows, rule in ((ranked, r"\midrule" if anchors and ranked else ""), (anchors, "")):
        for row in rows:
            name = f"{row.editor}, {row.point}" if row.point else row.editor
            lines.append(rf"{' & '.join([latex(name), *map(_latex_cell, row.cells)])} \\")
        lines += [rule] if rule else []
    lines += [r"\bottomrule", r"\end{tabular}}", r"\end{table}", ""]
    return "\n".join(lines)


def _latex_cell(cell: Cell) -> str:
    mean = rf"\textbf{{{latex(cell.text)}}}" if cell.best else latex(cell.text)
    return rf"{mean} {{\scriptsize {latex(cell.interval)}}}" if cell.interval else mean
