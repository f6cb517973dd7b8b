"""The application that commands are added to, and what they share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from bench.commands import console
from bench.errors import RunError, origin_of

if TYPE_CHECKING:
    from bench.store import Run

__all__ = [
    "Address",
    "Json",
    "RunArgument",
    "Scratch",
    "Settings",
    "SpecArgument",
    "Trust",
    "app",
    "last_words",
    "scratch_at",
    "show_report",
]


class Commands(typer.core.TyperGroup):
    """Commands that say how they end: code of others that calls for an exit inside one is an error."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SystemExit as error:
            if isinstance(error.__context__, BrokenPipeError):  # so rich leaves where nobody reads any more, as of `| head`
                raise typer.Exit(1) from None
            raise RunError(f"code that an editor, a metric or a library runs called for an exit: {origin_of(error)}") from error


app = typer.Typer(
    name="etabench",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="a run folder, or the URL of one")]
SpecArgument = Annotated[
    str, typer.Argument(metavar="SPEC", help="a spec file, or the name of a shipped one (`etabench list specs`)")
]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override a value of the spec")]
Trust = Annotated[bool, typer.Option("--trust", help="run the code that the spec inside a run folder from elsewhere names")]
Address = Annotated[
    str,
    typer.Option(
        metavar="HOST:PORT", help="of a Ray cluster that is there; without it $RAY_ADDRESS, else one is started on this machine"
    ),
]
Scratch = Annotated[
    Path | None,
    typer.Option(
        help="where this machine, and every one that works for it, keeps its part of a run at a URL; $ETABENCH_SCRATCH says so too"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        console.out.print(f"etabench {version('etabench')}", markup=False, highlight=False)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    """Measure text-guided image editors: edits over the whole range of their knobs, scored, drawn, compared."""


def scratch_at(folder: Path | None) -> None:
    """Keep what belongs to runs at a URL below `folder`, in this process and in those that it starts."""
    if folder is not None:
        os.environ["ETABENCH_SCRATCH"] = str(folder.resolve())


def last_words(failed: list[str], strict: bool) -> None:
    """Say what failed, one line each, and with `strict` exit 1 where anything did."""
    for line in filter(None, failed):
        console.log.print(line, markup=False, highlight=False, soft_wrap=True)
    if strict and any(failed):
        raise typer.Exit(1)


def show_report(run: Run, *, anew: bool = True, width: float | None = None, single_file: bool = False) -> None:
    """Write the report of a scored run, unless `anew` only if it would be another, and say what it shows and where it is."""
    from bench.commands.report import report_run

    page, data = report_run(run, anew=anew, width=width, single_file=single_file)
    console.print_leaderboard(data)
    console.print_statements(data)
    for warning in data.warnings:
        console.log.print(f"note: {warning}", markup=False, highlight=False, soft_wrap=True)
    console.out.print(f"report: {page}", markup=False, soft_wrap=True)
