"""Commands about published protocols."""

from __future__ import annotations

import math

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
    console.print_rows(rows if as_json else [_brief(row) for row in rows], as_json)
    if not as_json:
        console.log.print(note(opened.spec, opened.plan), markup=False, highlight=False, soft_wrap=True)


def _brief(row: dict[str, object]) -> dict[str, object]:
    """What fits a terminal."""

    def value(prefix: str) -> str:
        mean, low, high = (float(str(row[f"{prefix}{name}"])) for name in ("mean", "low", "high"))
        ends = f" [{low:.4g}, {high:.4g}]" if math.isfinite(low) else ""
        return f"{mean:.4g}{ends}" if math.isfinite(mean) else ""

    return {
        "editor": row["editor"],
        "knob": row["value"],
        "column": row["column"],
        "as published": value(""),
        "corrected": value("corrected_"),
        "n": row["n"],
        "remark": row["reason"],
    }
