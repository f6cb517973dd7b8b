"""The command `etabench`. Only the standard library, typer and rich are imported before a command needs more.

`app` has the application, `making`, `watching`, `gating`, `judging`, `judges`, `boards`, `protocols`, `sidecars`, `looking` and
`study` its commands.
"""

from __future__ import annotations

import io
import sys

from bench.cli import making  # noqa: F401 - which adds its commands: those of a run come first

# isort: split
from bench.cli import watching  # noqa: F401

# isort: split
from bench.cli import boards, gating, judges, judging, looking, protocols, sidecars, study  # noqa: F401
from bench.cli.app import app
from bench.commands import console
from bench.interrupts import told_to_stop

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line. What a user can mend is one line on stderr and exit code 2, never a traceback."""
    for stream in (sys.stdout, sys.stderr):  # names in any script are shown as far as the terminal's encoding goes
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with told_to_stop():
            app()
    except Exception as error:
        sys.exit(console.tell(error))
