"""Commands on studies: people look at edits of runs and vote."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.app import Json, app
from bench.commands import console

__all__ = ["study"]

study = typer.Typer(
    no_args_is_help=True, help="Let people vote on edits: draw a study from runs, serve it, say what the votes say."
)
app.add_typer(study, name="study")
StudyArgument = Annotated[Path, typer.Argument(metavar="DIR", help="the folder of a study")]


class Form(StrEnum):
    """What is asked."""

    pairs = "pairs"
    ratings = "ratings"


class Rule(StrEnum):
    """Whom a report leaves out."""

    none = "none"
    gold = "gold"
    duplicate = "duplicate"
    any = "any"


@study.command()
def make(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="run folders on the same samples")],
    *,
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="a new folder for the study")],
    form: Annotated[Form, typer.Option(help="pairs: which of two edits is better; ratings: one edit, on SC and PQ")] = Form.pairs,
    editors: Annotated[str, typer.Option(help="labels, by commas; default all but anchors")] = "",
    against: Annotated[
        str, typer.Option(metavar="EDITOR", help="only pairs with this editor, as one method against its rivals")
    ] = "",
    value: Annotated[
        list[str] | None, typer.Option(metavar="EDITOR=VALUE", help="knob value; default the operating point")
    ] = None,
    values: Annotated[Path | None, typer.Option(metavar="FILE", help="CSV of knob values: editor, sample_id, value")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="only so many samples, drawn at random")] = None,
    votes: Annotated[int, typer.Option(min=1, help="raters for each pair")] = 3,
    trials: Annotated[int, typer.Option(min=1, help="pairs for each rater")] = 20,
    duplicates: Annotated[int, typer.Option(min=0, help="of these shown twice, with sides changed")] = 1,
    golds: Annotated[int, typer.Option(min=0, help="further trials whose answer is known")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="of what is drawn, of orders and sides")] = 0,
    consent: Annotated[Path | None, typer.Option(metavar="FILE", help="text that raters agree to")] = None,
    completion_code: Annotated[str, typer.Option(help="code shown at the end; default one for each rater")] = "",
    completion_url: Annotated[str, typer.Option(help="link shown at the end")] = "",
    margin: Annotated[float, typer.Option(help="difference of vote shares that the study should be able to show, 0..1")] = 0.2,
    ties: Annotated[float, typer.Option(help="share of votes for neither that is expected")] = 0.2,
    rater_icc: Annotated[float, typer.Option(help="how alike votes of one rater are: intra-class correlation")] = 0.05,
    source_icc: Annotated[float, typer.Option(help="how alike votes on one source picture are")] = 0.1,
    pilot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="votes of a pilot, whose design effect replaces both")
    ] = None,
) -> None:
    """Draw a study from runs, and say what it can show."""
    from bench.raters.draw import Draw, draw_study, read_values
    from bench.raters.outlook import outlook
    from bench.store import Run

    known = read_values(values) if values else {}
    for each in value or []:
        name, _, number = each.rpartition("=")
        try:
            known[name] = float(number)
        except ValueError as error:
            raise typer.BadParameter(f"{each!r} is not EDITOR=VALUE", param_hint="--value") from error
    asked = Draw(
        form=form.value,
        seed=seed,
        votes=votes,
        trials=trials,
        duplicates=duplicates,
        golds=golds,
        editors=tuple(filter(None, editors.split(","))),
        against=against,
        values=known,
        samples=samples,
        completion_code=completion_code,
        completion_url=completion_url,
    )
    if consent is not None:
        asked = replace(asked, consent=consent.read_text(encoding="utf-8"))
    made = draw_study([Run.open(run) for run in runs], folder, asked)
    for line in outlook(made, margin=margin, ties=ties, rater_icc=rater_icc, source_icc=source_icc, pilot=pilot):
        console.out.print(line, markup=False, highlight=False, soft_wrap=True)
    console.out.print(f"next: etabench study serve {folder}", markup=False, highlight=False, soft_wrap=True)


@study.command()
def serve(
    folder: StudyArgument,
    *,
    host: Annotated[str, typer.Option(help="address to listen on; the default is this machine alone")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8765,
    open_: Annotated[bool, typer.Option("--open", help="open it in the browser")] = False,
) -> None:
    """Serve a study to raters until Ctrl-C. Votes are on the disk before a rater sees the next pair."""
    from bench.raters.server import PLATFORM, serve_study
    from bench.raters.study import StudyFolder

    def started(address: str) -> None:
        console.out.print(f"raters open {address}", markup=False, highlight=False, soft_wrap=True)
        ids = "&".join(f"{name}=..." for name in PLATFORM.values())
        console.out.print(f"a recruiting platform adds its ids: &{ids}", markup=False, highlight=False, soft_wrap=True)
        if open_:
            typer.launch(address)

    serve_study(StudyFolder(folder), host=host, port=port, started=started)


@study.command()
def report(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="the folder of a study, or a file of votes (.parquet, .csv)")],
    *,
    folder: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="default DIR/report, or beside the file")] = None,
    exclude: Annotated[
        Rule, typer.Option(help="raters to leave out: who failed gold trials, contradicted themselves, or any of it")
    ] = Rule.none,
    as_json: Json = False,
) -> None:
    """Say what the votes of a study say, or those of judges in the same form: a page, tables, and the votes themselves."""
    from bench.raters.report import report_votes

    page, rows = report_votes(source, folder, exclude.value)
    console.print_rows(rows, as_json)
    if not as_json:
        console.out.print(f"report: {page}", markup=False, highlight=False, soft_wrap=True)
