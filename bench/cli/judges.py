"""Commands about judges: put them to the test, let them compare, and lay them beside people and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.app import Json, RunArgument, Settings, app
from bench.commands import console

__all__ = ["agreement", "judge_pairs", "validate_judge"]


@app.command("validate-judge")
def validate_judge(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="a spec whose judged metrics are tried")] = "judged",
    *,
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="where answers and tables are kept")] = Path(
        "runs/validate-judge"
    ),
    number: Annotated[int, typer.Option("--samples", min=2, help="edits to ask about; with few, no check can be passed")] = 40,
    size: Annotated[int, typer.Option("--size", min=32, max=4096, help="side of the pictures in pixels")] = 256,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Put judges to the test before they are believed: exit 0 if each passes every check, 1 if one fails any."""
    from bench import api
    from bench.commands import judges
    from bench.progress import shown

    resolved = api.open_spec(spec, settings or ())
    found = judges.validate(resolved, folder, number=number, size=size, progress=shown(console.log))
    if as_json:
        console.print_rows([{"metric": name, **row} for name, table in found.items() for row in judges.plain(table)], as_json)
    for name, table in () if as_json else found.items():
        wrong = [row["check"] for row in judges.plain(table) if not row["passed"]]
        verdict = f"fails {', '.join(wrong)}" if wrong else f"passes all {len(table)} checks"
        console.out.print(f"{name}: {verdict}", markup=False, highlight=False, soft_wrap=True)
        rows = judges.brief(table, {"right": ("low", "high")})
        console.print_rows([row | {"passed": "yes" if row["passed"] else "no"} for row in rows], as_json=False)
    raise typer.Exit(int(any(not table["passed"].all() for table in found.values())))


@app.command("judge-pairs")
def judge_pairs(
    run: RunArgument,
    *,
    judge: Annotated[str, typer.Option("--judge", metavar="JUDGE", help="toybox, folder:PATH, or a judge or list in YAML")],
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="how often each pair is asked about, in both orders")] = 1,
    device: Annotated[str | None, typer.Option("--device", help="where local judges run (default: the run's)")] = None,
    as_json: Json = False,
) -> None:
    """Let a judge compare the editors of a scored run two by two, at their operating points and in both orders."""
    import yaml

    from bench.commands import judges
    from bench.errors import ScoreError
    from bench.progress import shown
    from bench.store import Run

    try:
        given = yaml.safe_load(judge)
    except yaml.YAMLError as error:
        raise ScoreError(f"--judge is not YAML: {error}") from error
    table = judges.compare_editors(Run.open(run), given, repeats=repeats, device=device, progress=shown(console.log))
    rows = judges.standings(table)
    spans = {"preferred": ("low", "high")}
    console.print_rows(judges.plain(rows) if as_json else judges.brief(rows, spans), as_json)
    for name, doubt in dict(zip(rows["judge"], rows["doubt"], strict=True)).items():
        if doubt:
            console.log.print(f"note: {name} {judges.DAGGER}: {doubt}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def agreement(
    run: RunArgument,
    *,
    votes: Annotated[
        list[Path] | None, typer.Option("--votes", metavar="FILE", help="votes on the run's edits; repeatable")
    ] = None,
    as_json: Json = False,
) -> None:
    """Who agrees with whom on a run: judges and people's votes with each other and with every metric."""
    from bench.commands import judges
    from bench.store import Run

    opened = Run.open(run)
    table = judges.agreement(opened, votes or [])
    spans = {name: (f"{name}_low", f"{name}_high") for name in ("alpha", "agreement", "tau")}
    console.print_rows(judges.plain(table) if as_json else judges.brief(table, spans), as_json)
    for doubt in judges.doubts(opened):
        console.log.print(f"note: {doubt}", markup=False, highlight=False, soft_wrap=True)
