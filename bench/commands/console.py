"""What the command line prints. Texts from manifests and plug-ins are escaped: they may hold rich's markup, or orders to the terminal."""

from __future__ import annotations

import json
import math
import sys
import traceback
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rich.console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bench.errors import EtabenchError, message_of

if TYPE_CHECKING:
    from bench.commands.outlook import Forecast
    from bench.manifest.lint import Finding
    from bench.plan import Plan
    from reports import ReportData

__all__ = [
    "Console",
    "log",
    "out",
    "print_facts",
    "print_findings",
    "print_leaderboard",
    "print_plan",
    "print_rows",
    "print_statements",
    "tell",
    "visible",
]

LEAVES = {"editors.task": "EditorError", "metrics.base": "MetricError", "reports.data": "ReportError"}
"""The trees of errors that are printed like the conductor's own, once their modules are there."""
FAULT = 70
"""Exit code of etabench's own fault: 1 is what a command found, as a regression."""
PIPED_WIDTH = 1000
"""Columns where nobody looks: a table is as wide as it is, and nothing is cut."""


_ORDERS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_ORDERS |= {code: f"\\u{code:04x}" for code in (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}
"""Control characters, and those that turn the direction of writing, as they are shown."""


def visible(text: str) -> str:
    """The text with what a terminal would obey written out, as in ``\\x1b[2J``."""
    return text.translate(_ORDERS)


class Console(rich.console.Console):
    """A console that gives the terminal no orders but its own."""

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str(visible(text), **settings)


def console(stderr: bool = False) -> Console:
    """A console on a standard stream, as wide as the terminal if it is one."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else PIPED_WIDTH)


out, log = console(), console(stderr=True)

SHOWN_METRICS = 8
"""Columns of the leaderboard on the console; all are in the report."""


def tell(error: Exception) -> int:
    """Say what went wrong on stderr, and the exit code: one line for what a user can mend, the traceback of our own fault."""
    if isinstance(error, UnicodeEncodeError) and (locale := sys.getfilesystemencoding()) != "utf-8":
        print(f"etabench: the locale's encoding, {locale}, cannot hold {error.object!a}; set PYTHONUTF8=1", file=sys.stderr)
        return 2
    leaves = tuple(getattr(sys.modules[module], name) for module, name in LEAVES.items() if module in sys.modules)
    if not isinstance(error, (EtabenchError, OSError, *leaves)):
        traceback.print_exception(error)
        return FAULT
    print(f"etabench: {visible(message_of(error))}", file=sys.stderr)
    return int(getattr(error, "exit_code", 2))


def print_plan(name: str, place: str, plan: Plan, ahead: Forecast, notes: Sequence[str] = ()) -> None:
    """Units and edits of a plan, what is done, what is left to do and how long that takes, and further `notes`, a line each."""
    from bench.progress import duration

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("editor", "knob", "units", "edits", "done", "failed", "to do", "time left"):
        table.add_column(title, justify="left" if title in {"editor", "knob"} else "right")
    for entry, look in zip(plan.entries, ahead.looks, strict=True):
        knob = f"{entry.knob} {', '.join(f'{value:g}' for value in entry.values)}" if entry.knob else "none"
        time = "unknown" if math.isnan(look.seconds) else duration(look.seconds)
        counts = (look.units, look.edits, look.done, look.failed, look.units - look.done)
        table.add_row(escape(entry.label), escape(knob), *map(str, counts), time)
    out.print(
        f"{name}: {len(plan.samples)} samples, {len(plan.units)} units, {plan.edits} edits in {place}",
        markup=False,
        soft_wrap=True,
    )
    size = f"{plan.resolution} px" if plan.resolution else "pictures as the manifest gives them"
    identity = f"manifest {plan.manifest_hash[:12]}, model {plan.model[:12] or 'none'}, {size}, {plan.dtype}"
    out.print(identity, markup=False, highlight=False)
    out.print(table)
    for look in ahead.looks:
        for field, number in look.lacking.items():
            out.print(f"{number} samples lack {field}: {look.editor} will fail on them", markup=False, soft_wrap=True)
    for note in notes:
        out.print(note, markup=False, highlight=False, soft_wrap=True)
    out.print(str(ahead), markup=False)
    bases: dict[tuple[bool, str], list[str]] = {}
    for look in ahead.looks:
        bases.setdefault((look in ahead.unknown, look.basis), []).append(look.editor)
    for (unknown, basis), editors in bases.items():
        text = f"  {', '.join(editors)}: {'unknown, ' if unknown else ''}{basis}"
        out.print(text, markup=False, highlight=False, soft_wrap=True)


def print_rows(rows: list[dict[str, Any]], as_json: bool, hide: Collection[str] = ()) -> None:
    """Rows with the same keys, as JSON or as a table without the columns in ``hide``."""
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    shown = [name for name in (rows[0] if rows else ()) if name not in hide]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, name in enumerate(shown):
        table.add_column(name.replace("_", " "), overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in shown))
    out.print(table)


def print_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    """One thing with all its fields, as JSON or one field a line."""
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    for name, value in facts.items():
        if value in ("", [], (), {}, None):
            continue
        if isinstance(value, Mapping):
            out.print(f"{name.replace('_', ' ')}:", markup=False, highlight=False)
            for key, text in value.items():
                out.print(f"  {key}: {_words(text)}", markup=False, highlight=False, soft_wrap=True)
        else:
            out.print(f"{name.replace('_', ' ')}: {_words(value)}", markup=False, highlight=False, soft_wrap=True)


def _words(value: Any) -> str:
    """A list of names with commas, a tuple of statements with semicolons, numbers before their names and texts after them."""
    if isinstance(value, Mapping):
        known = {name: each for name, each in value.items() if each not in {None, ""}}
        said = (f"{name} {each}" if isinstance(each, str) else f"{each} {name}" for name, each in known.items())
        return ", ".join(said) or "unknown"
    return {list: ", ", tuple: "; "}[type(value)].join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return escape(", ".join(map(str, value)))
    return "" if value is None else escape(str(value))


def print_leaderboard(data: ReportData) -> None:
    """The columns of a leaderboard that fit a terminal: the run's axes, its set metrics, its others, and what an edit costs."""
    from reports.names import metric_names

    names, leaderboard = metric_names(data), data.leaderboard
    pairs = [str(name) for name in dict.fromkeys(data.curves["metric"]) if name not in data.plane.made_of]
    own = dict.fromkeys([data.plane.editability, data.plane.fidelity, *map(str, data.sets["metric"]), *pairs])
    metrics = [name for name in own if name in leaderboard]
    columns = {name: names[name].title.replace(" − ", "-").replace("−", "-") for name in metrics[:SHOWN_METRICS]}
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("editor", no_wrap=True)
    for title in ("rank", "knob", *columns.values(), "s/edit", "done", "scored"):
        table.add_column(escape(title), justify="right")
    for row in leaderboard.to_dict("records"):
        knob = f"{row['value']:g}" if isinstance(row["knob"], str) else ""
        counts = (f"{row['done']}/{row['expected']}", f"{row['scored']}/{row['expected']}")
        ends = dict.fromkeys((row["rank_low"], row["rank_high"]))
        rank = "" if math.isnan(row["rank"]) else "-".join(f"{end:.0f}" for end in ends)
        seconds = "< 0.001" if 0 < row["seconds_per_edit"] < 0.001 else _cell(row["seconds_per_edit"])
        table.add_row(escape(row["editor"]), rank, escape(knob), *(_cell(row[name]) for name in columns), seconds, *counts)
    out.print(table)
    if more := metrics[SHOWN_METRICS:]:
        out.print(f"not shown here, but in the report: {', '.join(more)}", markup=False, highlight=False, soft_wrap=True)
    for standing in filter(None, dict.fromkeys(leaderboard["standing"])):
        editors = ", ".join(leaderboard.loc[leaderboard["standing"] == standing, "editor"])
        out.print(f"{editors}: {standing}", markup=False, highlight=False, soft_wrap=True)


def print_statements(data: ReportData) -> None:
    """What the run shows, each sentence with the test that carries it."""
    for statement in data.statements:
        out.print(f"- {statement.text}", markup=False, highlight=False, soft_wrap=True)
        out.print(f"  ({statement.test})", markup=False, highlight=False, soft_wrap=True, style="dim")


def print_findings(manifest: str, findings: Sequence[Finding]) -> None:
    """What is odd about a manifest, one line each, and how many there are."""
    for finding in findings:
        parts = (f"row {finding.row}" if finding.row else "", f"id {finding.id!r}" if finding.id else "", finding.field)
        where = ": ".join(part for part in parts if part) or manifest
        said = finding.message if finding.message.startswith(where) else f"{where}: {finding.message}"
        out.print(f"{finding.severity:7} {said}", markup=False, highlight=False, soft_wrap=True)
    errors = sum(finding.severity == "error" for finding in findings)
    out.print(f"{manifest}: {errors} errors, {len(findings) - errors} other findings", markup=False, soft_wrap=True)
