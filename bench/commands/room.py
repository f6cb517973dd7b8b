"""What a card has room for, by the memory that was measured of editors at models of published sizes (docs/memory.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bench.store import write_atomically

__all__ = ["BESIDE", "WEIGHTS", "measured", "room", "write_measured"]

TABLE = Path(__file__).parent / "memory.json"
WEIGHTS = "weights alone"
"""The row of the table that is no editor."""
BESIDE = 1.0
"""GiB that the CUDA context and the workspaces of cuDNN and cuBLAS take beside what torch allocates, at the most."""


@cache
def measured() -> Mapping[str, Mapping[str, float]]:
    """GiB at the peak in float16, by model and its side ("SD 1.5, 512 px"), then by editor, the weights alone among them."""
    found: Mapping[str, Mapping[str, float]] = json.loads(TABLE.read_text(encoding="utf-8"))
    return found


def write_measured(found: Mapping[str, Mapping[str, float]]) -> None:
    """Write what was measured, in tenths of a GiB."""
    rounded = {model: {row: round(gib, 1) for row, gib in rows.items()} for model, rows in found.items()}
    write_atomically(TABLE, (json.dumps(rounded, indent=1, ensure_ascii=False) + "\n").encode())
    measured.cache_clear()


def room(gib: float) -> list[dict[str, Any]]:
    """Rows for `etabench doctor`: of a card of so many GiB, which editors it takes in full batches, by model.

    `status` is ok where some do and absent where not even the weights do.
    """
    rows = []
    for model, peaks in measured().items():
        free = gib - BESIDE
        editors = {name: peak for name, peak in peaks.items() if name != WEIGHTS}
        over = {name: peak for name, peak in editors.items() if peak > free}
        least = min(peaks.values())
        if least > free:
            status, detail = "absent", f"no room: its weights take {least:.1f} GiB"
        elif over:
            told = ", ".join(f"{name} ({peak:.1f} GiB)" for name, peak in over.items())
            fit = [name for name in editors if name not in over]
            status, detail = "ok", f"in full batches {', '.join(fit) or 'nothing'}; in smaller ones or not at all {told}"
        else:
            status, detail = "ok", f"in full batches {', '.join(editors)}"
        rows.append({"item": f"{gib:.0f} GiB, {model}", "status": status, "detail": detail})
    return rows
