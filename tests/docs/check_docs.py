"""Check that the documents agree with the program: ``python tests/docs/check_docs.py`` (``--write`` brings both up to date).

Five things are checked: docs/reference.md, the facts that ``etabench list`` shows and the schema of a spec are what the program says of
itself; every ``etabench`` command in a document exists with the options it is shown with; every relative link and picture points at a file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from typer.testing import CliRunner

from bench.cli import app
from bench.commands import catalogue, schema
from bench.spec import shipped_specs

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference.md"
LINK = re.compile(r"!?\[[^\]]*\]\(([^)#\s]+)")


def documents() -> list[Path]:
    """All Markdown files of the project."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "bench" / "toybox" / "MODEL_CARD.md"]


def commands() -> dict[str, set[str]]:
    """The options of every command of the program; those of a group follow it, as ``study make``."""
    return dict(_commands(typer.main.get_command(app), ""))


def _commands(group: Any, before: str) -> Iterator[tuple[str, set[str]]]:
    for name, command in group.commands.items():
        yield before + name, {option for parameter in command.params for option in parameter.opts} | {"--help"}
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before}{name} ")


def reference() -> str:
    """The generated page."""
    runner = CliRunner(env={"COLUMNS": "110", "TERM": "dumb", "NO_COLOR": "1"})
    parts = ["# Reference\n\nWritten by `python tests/docs/check_docs.py --write`; CI fails where it is stale.\n"]
    for name in commands():
        text = runner.invoke(app, [*name.split(), "--help"]).stdout
        text = "\n".join(line.rstrip() for line in text.strip().splitlines())
        parts.append(f"## etabench {name}\n\n```text\n{text}\n```\n")
    parts.append(
        "## Editors\n\n| name | knob | needs | presets | tested on | what |\n|---|---|---|---|---|---|\n"
        + "".join(_editor_rows())
    )
    parts.append("## Metrics\n\n| name | of | what |\n|---|---|---|\n" + "".join(_metric_rows()))
    parts.append("## Specs\n\n" + ", ".join(f"`{name}`" for name in sorted(shipped_specs())) + "\n")
    return "\n".join(parts)


def _editor_rows() -> Iterator[str]:
    for row in catalogue.editors(live=True):
        knob = f"`{row['knob']}`" if row["grid"] else "anchor"
        cells = (f"`{row['name']}`", knob, ", ".join(row["needs"]), ", ".join(row["presets"]), row["tested_on"], row["summary"])
        yield f"| {' | '.join(cells)} |\n"


def _metric_rows() -> Iterator[str]:
    for row in catalogue.metrics(live=True):
        yield f"| `{row['name']}` | {'edits' if row['kind'] == 'pair' else 'sets'} | {row['summary']} |\n"


def stale_commands(text: str) -> Iterator[str]:
    """What a document shows of ``etabench`` that does not exist."""
    known = commands()
    for line in re.findall(r"(?:^|`|\$ )etabench ([a-z][^\n`#|]*)", text, flags=re.MULTILINE):
        first, *words = line.split()
        name = " ".join([first, *words[:1]])
        name = name if name in known else first
        if name not in known:
            yield f"etabench {name}: no such command"
            continue
        for word in words:
            option = word.split("=")[0].rstrip("]").lstrip("[")
            if option.startswith("--") and option not in known[name]:
                yield f"etabench {name} {option}: no such option"


def broken_links(document: Path) -> Iterator[str]:
    """Relative links of a document that point nowhere."""
    for target in LINK.findall(document.read_text()):
        if "://" not in target and not (document.parent / target).exists():
            yield f"{target}: no such file"


def main(arguments: list[str]) -> int:
    if "--write" in arguments:
        catalogue.write_facts()
        schema.write_schema()
        REFERENCE.write_text(reference())
    problems = (
        [] if REFERENCE.read_text() == reference() else ["docs/reference.md is stale: python tests/docs/check_docs.py --write"]
    )
    if (catalogue.editors(), catalogue.metrics()) != (catalogue.editors(live=True), catalogue.metrics(live=True)):
        problems.append("bench/commands/facts.json is stale: python tests/docs/check_docs.py --write")
    if not schema.SCHEMA.is_file() or schema.read_schema() != schema.spec_schema():
        problems.append("bench/specs/spec.schema.json is stale: python tests/docs/check_docs.py --write")
    for document in documents():
        found = [*stale_commands(document.read_text()), *broken_links(document)]
        problems += [f"{document.relative_to(ROOT)}: {problem}" for problem in found]
    print("\n".join(problems) or f"{len(documents())} documents agree with the program")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
