"""Commands over runs: a leaderboard, and bundles that bring runs to one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.app import Json, RunArgument, app
from bench.commands import console

__all__ = ["leaderboard", "pack", "verify"]


@app.command()
def pack(
    run: RunArgument,
    *,
    file: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="the bundle; default RUN.zip beside the run")] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="with the edits and the samples, so that scores can be made again")
    ] = False,
) -> None:
    """Make one file of a scored run to hand on: spec, environment, plan, records, scores, and digests of all."""
    from bench.bundles.pack import pack as pack_run
    from bench.store import Run

    target = file or run.resolve().with_name(f"{run.resolve().name}.zip")
    made = pack_run(Run.open(run), target, pictures=pictures)
    console.out.print(
        f"{made.files} files, {made.bytes} bytes in {made.path}; sha256 of the list {made.digest}", markup=False, soft_wrap=True
    )


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="a file that `etabench pack` made")],
    *,
    units: Annotated[int, typer.Option(min=1, help="units whose edits are scored again, drawn by chance")] = 16,
    draw: Annotated[int | None, typer.Option(min=0, metavar="SEED", help="draw the same units as another time")] = None,
    device: Annotated[str, typer.Option(metavar="DEVICE", help="cpu, cuda or cuda:N")] = "auto",
    as_json: Json = False,
) -> None:
    """Check a bundle and run no code of it: exit 0 if scores on both axes were made again and agree, 1 if anything contradicts, else 2."""
    from dataclasses import asdict

    from bench.bundles.verify import verify as check
    from bench.progress import shown

    found = check(bundle, units=units, draw=draw, device=device, progress=shown(console.log))
    console.print_rows([asdict(each) for each in found.checks], as_json)
    verdict = {0: "verified", 1: "contradicts itself", 2: "cannot be verified"}[found.exit_code]
    console.log.print(f"{bundle}: {verdict}; --draw {found.draw} draws the same units again", markup=False, soft_wrap=True)
    raise typer.Exit(found.exit_code)


@app.command()
def leaderboard(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="run folders, and bundles of `etabench pack`")],
    *,
    folder: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="a new folder, or that of a board, which keeps its history")
    ],
    title: Annotated[str, typer.Option(help="heading of the board")] = "",
    votes: Annotated[
        Path | None, typer.Option("--votes", metavar="STUDY", help="results of a study (study.json or its folder), as a column")
    ] = None,
    hub: Annotated[
        Path | None,
        typer.Option("--hub", metavar="DIR", help="also write a data set, a Space and results for the hub; pushes nothing"),
    ] = None,
    dataset: Annotated[str, typer.Option("--dataset", metavar="OWNER/NAME", help="what the data set is called on the hub")] = "",
) -> None:
    """Rank the editors of runs that were made anywhere, and write a page and tables; exit 2, with all that differs, if they do not compare."""
    from bench.boards.write import write_board
    from bench.errors import BoardError

    if bool(hub) != bool(dataset):
        raise typer.BadParameter("--hub DIR and --dataset OWNER/NAME go together")
    try:
        board = write_board(runs, folder, title=title, votes=votes)
    except BoardError as error:
        console.print_rows([dict(row) for row in error.differences], as_json=False)
        raise
    for division in board.data.divisions:
        console.out.print(f"{division.name}:", markup=False, highlight=False, soft_wrap=True)
        console.print_leaderboard(division.data)
    for note in board.data.notes:
        console.log.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    said = f"version {board.latest.version} ({'; '.join(board.latest.why)})"
    console.log.print(console.visible(said), markup=False, highlight=False, soft_wrap=True)
    console.out.print(f"board: {folder / 'index.html'}", markup=False, soft_wrap=True)
    if hub is not None:
        from bench.boards.hub import write_hub

        files = write_hub(board, hub, dataset)
        console.out.print(f"for the hub: {len(files)} files in {hub}", markup=False, soft_wrap=True)
