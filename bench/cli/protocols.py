"""Commands about published protocols."""

from __future__ import annotations

import math
from typing import Any

from bench.cli.app import Json, RunArgument, app
from bench.commands import console

__all__ = ["protocol"]


@app.command()
def protocol(run: RunArgument, as_json: Json = False) -> None:
    """Show a scored run by the printed columns of its protocol, as published and corrected; exit 2 if it has none."""
    from bench.analysis.protocol import by_protocol, note
    from bench.errors import RunError
    from bench.scoring import read_scores
    from bench.store import Run

    opened = Run.open(run)
    if opened.spec.protocol is None:
        raise RunError(
            f"{run} follows no protocol; `etabench run SPEC --protocol NAME` does, `etabench list protocols` shows all"
        )
    table = by_protocol(opened.spec, opened.plan, read_scores(opened))
    rows = [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
    console.print_rows(rows if as_json else _brief(rows), as_json)
    if not as_json:
        console.log.print(note(opened.spec, opened.plan), markup=False, highlight=False, soft_wrap=True)


def _brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What fits a terminal; a column without any value is one line."""

    def value(row: dict[str, Any], prefix: str) -> str:
        mean, low, high = (row[f"{prefix}{name}"] for name in ("mean", "low", "high"))
        ends = f" [{low:.4g}, {high:.4g}]" if math.isfinite(low) else ""
        return f"{mean:.4g}{ends}" if math.isfinite(mean) else ""

    shown: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        values = {"as published": value(row, ""), "corrected": value(row, "corrected_")}
        who = {"editor": row["editor"], "knob": row["value"]} if any(values.values()) else {"editor": "all", "knob": ""}
        line = {"column": row["column"], **who, **values, "n": row["n"], "remark": row["reason"]}
        shown.setdefault((row["column"], f"{who}"), line)
    return list(shown.values())
