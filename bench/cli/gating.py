"""Commands that compare runs: a baseline and the check against it, two runs side by side, and how many samples tell editors apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.app import Json, RunArgument, Settings, SpecArgument, Trust, app
from bench.commands import console

__all__ = ["baseline", "check", "compare", "power"]


@app.command()
def baseline(
    spec: SpecArgument,
    *,
    file: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="the baseline; default <name>.json")] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--runs", metavar="DIR", help="where the runs are made or continued; default runs/<name>-baseline"),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="draws: runs with other seeds each; the first has the spec's")] = 5,
    repeats: Annotated[int, typer.Option(min=0, max=3, help="further runs of the first draw, for what the machine adds")] = 2,
    settings: Settings = None,
    workers: Annotated[int, typer.Option(min=0, help="worker processes; 0 is one per GPU, or per core up to four")] = 0,
    trust: Trust = False,
) -> None:
    """Measure what chance does to a spec, by several draws of seeds and repeats, and write the baseline that `check` holds a run against."""
    from bench import api, baselines
    from bench.analysis.check import spreads
    from bench.progress import shown

    overrides, options = settings or [], api.Options(workers=workers)
    path = file or Path(f"{api.open_spec(spec, overrides, trust=trust).name.replace('/', '-')}.json")
    found = baselines.baseline(
        spec,
        path,
        folder,
        seeds=seeds,
        repeats=repeats,
        overrides=overrides,
        options=options,
        progress=shown(console.log),
        trust=trust,
    )
    console.print_rows(spreads(found), as_json=False)
    console.out.print(f"baseline: {path}", markup=False, soft_wrap=True)


@app.command()
def check(
    run: RunArgument,
    *,
    baseline: Annotated[Path | None, typer.Option("--baseline", metavar="FILE", help="a file of `etabench baseline`")] = None,
    published: Annotated[str, typer.Option(metavar="BENCHMARK", help="compare with the printed numbers of a benchmark")] = "",
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="also write JUnit XML")] = None,
    summary: Annotated[
        Path | None, typer.Option("--summary", metavar="FILE", help="append Markdown, as to $GITHUB_STEP_SUMMARY")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare with a baseline or with printed numbers: exit 0 if all agrees, 1 if something differs, 2 if something cannot be compared."""
    from bench.store import Run

    if (baseline is None) == (not published):
        raise typer.BadParameter("give --baseline FILE or --published BENCHMARK, one of the two")
    if baseline is None:
        from bench.analysis.published import beside

        if junit or summary:
            raise typer.BadParameter("--junit and --summary are of a check against --baseline")
        found = beside(Run.open(run), published)
        console.print_rows([each.as_row() for each in found], as_json)
        verdicts = {each.verdict for each in found}
        raise typer.Exit(1 if "differs" in verdicts else 0 if "agrees" in verdicts else 2)
    from bench.analysis import check as checking
    from bench.analysis.baseline_file import read_baseline
    from bench.commands import verdict as words

    verdict = checking.check(Run.open(run), read_baseline(baseline), str(baseline))
    if junit is not None:
        junit.write_bytes(words.junit(verdict))
    if summary is not None:
        with summary.open("a", encoding="utf-8") as lines:
            lines.write(words.markdown(verdict))
    if as_json:
        print(json.dumps(words.plain(verdict), indent=1, allow_nan=False))
    else:
        words.show(verdict)
    raise typer.Exit(verdict.exit_code)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="a scored run folder")],
    second: Annotated[Path, typer.Argument(metavar="B", help="another of the same manifest")],
    *,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="also write a pull request's comment")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE|DIR", help="also write a page with the pictures of the worst samples")
    ] = None,
    as_json: Json = False,
) -> None:
    """Lay run B beside run A, sample by sample: what is worse or better, by how much, and the samples that lost most."""
    from bench.analysis import compare as comparing
    from bench.commands import comparison
    from bench.store import Run

    runs = Run.open(first), Run.open(second)
    found = comparing.compare(*runs)
    if markdown is not None:
        markdown.write_text(comparison.markdown(found), encoding="utf-8")
    page = comparison.page(found, *runs, html) if html is not None else None
    if as_json:
        print(json.dumps(comparison.plain(found), indent=1, allow_nan=False))
    else:
        comparison.show(found)
    if page is not None:
        console.log.print(f"page: {page}", markup=False, soft_wrap=True)


@app.command()
def power(
    run: RunArgument,
    *,
    first: Annotated[str, typer.Option(metavar="EDITOR", help="one of the two; default all pairs")] = "",
    second: Annotated[str, typer.Option(metavar="EDITOR", help="the other")] = "",
    metric: Annotated[str, typer.Option(metavar="NAME", help="a pair metric; default the axis of editability")] = "",
    difference: Annotated[
        float | None, typer.Option(help="what is to be told, in the metric's units, whoever is ahead; default what the run shows")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say how many source pictures and seeds tell two editors apart, in 80 and 90 of 100 benchmarks, from the spread in a run."""
    from bench.analysis import sample_size as planning
    from bench.store import Run

    rows = planning.power(Run.open(run), first=first, second=second, metric=metric, difference=difference)
    if as_json:
        print(json.dumps(rows, indent=1, allow_nan=False))
        return
    console.print_rows(
        [
            {name: f"> {planning.MOST}" if value is None and "pictures" in name else value for name, value in row.items()}
            for row in rows
        ],
        False,
        hide={"unit"},
    )
    console.log.print(
        f"difference, standard deviations and told are in units of {rows[0]['metric']}: {rows[0]['unit'] or 'its card has none'}",
        markup=False,
        soft_wrap=True,
    )
    console.log.print(
        "difference: first less second; pictures 80 and 90: source pictures with which it is told in so many of 100 benchmarks; "
        "told: the least difference that the run's own pictures tell in 80, blank where so few tell none",
        soft_wrap=True,
    )
    if rows[0]["seed_sd"] is None:
        console.log.print("the run has one seed: what seeds add is in picture_sd, and more of them are not reckoned with")
