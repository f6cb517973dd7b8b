"""Commands on finished runs: metrics judged, and edits for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.app import Json, RunArgument, Trust, app, show_report
from bench.commands import console

__all__ = ["blended_precision", "export", "validate_metrics"]


@app.command()
def export(
    run: RunArgument,
    *,
    by: Annotated[
        str, typer.Option("--by", help="folders, of editor, value, sample and seed; the rest names the file")
    ] = "editor/value",
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="an empty or new folder; default RUN/export")
    ] = None,
    link: Annotated[bool, typer.Option("--link", help="hard links instead of copies")] = False,
) -> None:
    """Write the edits as plain folders of pictures for other tools, with their sources and a table, pairs.csv."""
    from bench.commands.export import export_run
    from bench.store import Run

    target = folder or run / "export"
    found = export_run(Run.open(run), target, by, link=link)
    missing = f", {found.missing} of the plan are missing" if found.missing else ""
    console.out.print(f"{found.edits} edits in {target}{missing}", markup=False, soft_wrap=True)


@app.command("validate-metrics")
def validate_metrics(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="a spec on ToyBox whose metrics are judged")] = "validate",
    *,
    folder: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="run folder (default: runs/<name>)")] = None,
    table: Annotated[
        Path | None, typer.Option("--table", metavar="FILE", help="also write a Markdown page and its figure")
    ] = None,
    votes: Annotated[
        list[Path] | None,
        typer.Option("--votes", metavar="FILE", help="votes of people or judges on the edits, another truth; repeatable"),
    ] = None,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Judge metrics by ToyBox, where the truth is known, or by votes: run the spec, score it, and tell which metric to trust for what."""
    from bench import api
    from bench.analysis import judges
    from bench.analysis.votes import names_of, of_run, read_votes
    from bench.commands.judges import plain
    from bench.commands.report import report_run
    from bench.progress import shown
    from bench.scoring.validations import DAGGER

    files = votes or []
    read = [(name, file, read_votes(file)) for name, file in zip(names_of(files), files, strict=True)]  # before hours of work
    finished = api.run(spec, folder, progress=shown(console.log), trust=trust)
    scores = api.score(finished, progress=shown(console.log)).whole()
    plan = finished.plan
    given = {f"votes of {name}": of_run(table, plan, str(file)) for name, file, table in read}
    judged = judges.judges_of(plan, scores, given)
    if as_json:
        console.print_rows(plain(judged.round(3)), as_json)
        report_run(finished)
    else:
        console.print_rows(judges.brief(judged), as_json)
        for name, doubt in dict(zip(judged["metric"], judged["doubt"], strict=True)).items():
            if doubt:
                console.log.print(f"note: {name} {DAGGER}: {doubt}", markup=False, highlight=False, soft_wrap=True)
        show_report(finished)
    if table is not None:
        picture = table.with_suffix(".png")
        picture.write_bytes((finished.report / "judges.png").read_bytes())
        table.write_text(judges.markdown(judged, judges.note(plan), picture.name), encoding="utf-8")


@app.command("blended-precision")
def blended_precision(
    run: RunArgument,
    *,
    classifier: Annotated[str, typer.Option("--classifier", help="folder:PATH of an image classifier")] = "",
    ranker: Annotated[str, typer.Option("--ranker", help="open_clip model:tag, or local-dir:PATH")] = "",
    lpips: Annotated[str, typer.Option("--lpips", help="alex, vgg, squeeze or folder:PATH")] = "",
    weights: Annotated[str, typer.Option("--lpips-weights", help="the trunk's file, where the network needs one")] = "",
    as_json: Json = False,
) -> None:
    """Batch precision, best-result precision and batch diversity over the seeds of a run, as Blended Latent Diffusion has them."""
    from bench.scoring.blended import blended_scores, open_networks
    from bench.store import Run

    opened = Run.open(run)
    table = blended_scores(opened, open_networks(opened, classifier=classifier, ranker=ranker, net=lpips, weights=weights))
    console.print_rows([{str(key): value for key, value in row.items()} for row in table.to_dict("records")], as_json)
