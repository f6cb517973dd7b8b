"""Commands that make something: edits, scores, reports, and what they need fetched."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.app import Address, RunArgument, Scratch, Settings, SpecArgument, Trust, app, last_words, scratch_at, show_report
from bench.commands import console

__all__ = ["fetch", "import_", "pack_units", "report", "run", "score"]

INTERRUPTED = 130
"""Exit code, as shells have it for SIGINT."""


class Executor(StrEnum):
    """Where workers run."""

    auto = "auto"
    inline = "inline"
    local = "local"
    ray = "ray"
    slurm = "slurm"


@app.command()
def run(
    spec: SpecArgument = "",
    *,
    protocol: Annotated[
        str, typer.Option(metavar="NAME", help="run SPEC's editors by this published protocol; without SPEC, the shipped ones")
    ] = "",
    folder: Annotated[
        Path | None, typer.Option("--out", help="run folder, or a URL such as s3://bucket/run; default runs/<name>")
    ] = None,
    scratch: Scratch = None,
    limit: Annotated[int | None, typer.Option(min=1, help="only the first N samples")] = None,
    settings: Settings = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="say what would be fetched, print the plan, time a few steps of each editor, and stop"),
    ] = False,
    no_score: Annotated[bool, typer.Option("--no-score", help="make the edits only")] = False,
    workers: Annotated[
        int, typer.Option(min=0, help="worker processes; 0 is one per GPU, or per core up to four; on Ray as many as fit")
    ] = 0,
    executor: Annotated[Executor, typer.Option(help="where workers run")] = Executor.auto,
    address: Address = "",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads per worker; another number can change the last bits")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N, mps or auto; overrides the spec's")] = "",
    batch: Annotated[
        int | None, typer.Option(min=1, help="samples given at once to editors that can; overrides the spec's")
    ] = None,
    fail_on_error: Annotated[bool, typer.Option("--fail-on-error", help="stop at the first failed unit: on_error=stop")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="exit 1 if any unit or metric failed")] = False,
    trust: Trust = False,
) -> None:
    """Make the edits of a spec, score them, and write the report. An existing folder is continued."""
    from bench import api
    from bench.commands.fetch import lacking, weights_lacking, whole
    from bench.commands.outlook import failures, forecast, room, unscored
    from bench.progress import shown
    from bench.workers.crew import Options

    scratch_at(scratch)
    spec = spec or protocol
    if not spec:
        raise typer.BadParameter("give a spec, or --protocol NAME")
    short = {"protocol": protocol or None, "limit": limit, "device": device or None, "batch": batch}
    short |= {"on_error": "stop" if fail_on_error else None}
    asked = {key: f"{key}={value}" for key, value in short.items() if value is not None}
    overrides = [*([asked.pop("protocol")] if protocol else []), *(settings or []), *asked.values()]
    if dry_run:
        from bench.plan.prompts import cut_prompts
        from bench.store import Run

        resolved = api.open_spec(spec, overrides, trust=trust)
        place = folder or api.default_folder(resolved)
        before = Run(place)
        before.refresh()
        resolved, pins = api.pin(resolved, before)
        needed, weights = lacking(resolved), [] if no_score else weights_lacking(resolved)
        if needed or weights:
            downloads = "\n".join([*map(str, needed), *map(str, weights), whole([*needed, *weights])])
            console.out.print(downloads, markup=False, highlight=False, soft_wrap=True)
        if needed:
            console.out.print(f"the plan and its hours can be told once it is here: `etabench fetch {spec}`", soft_wrap=True)
            return
        planned, manifest = api.plan(resolved, pins)
        if not no_score and not weights:
            from bench.scoring import preflight

            preflight(resolved, planned)
        ahead = forecast(resolved, planned, manifest, before, threads)
        notes = filter(None, (*cut_prompts(resolved, planned), room(planned, before.path)))
        console.print_plan(resolved.name, before.name, planned, ahead, list(notes))
        return
    options = Options(executor=executor.value, workers=workers, threads=threads, address=address)
    try:
        progress, scorable = shown(console.log), not no_score
        finished = api.run(spec, folder, overrides=overrides, options=options, progress=progress, scorable=scorable, trust=trust)
        failed = [failures(finished)]
        if no_score:
            console.out.print(
                f"edits in {finished.name}; `etabench score {finished.name}` scores them", markup=False, soft_wrap=True
            )
        else:
            failed.append(unscored(api.score(finished, progress=progress)))
    except KeyboardInterrupt:
        console.log.print("interrupted; what is finished is kept, run the same command again to continue", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    if not no_score:
        show_report(finished, anew=False)
    last_words(failed, strict)


@app.command("import")
def import_(
    layout: Annotated[str, typer.Argument(metavar="LAYOUT", help="of whom: tedbench, pie-bench, magicbrush, gedit-bench, ...")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="the folder of released edits")],
    *,
    folder: Annotated[Path, typer.Option("--out", help="run folder")],
    root: Annotated[
        Path | None, typer.Option("--root", metavar="COPY", help="your copy of the set; not for sets that the hub has")
    ] = None,
    split: Annotated[str, typer.Option(help="split of the set")] = "",
    label: Annotated[str, typer.Option(help="the method's name in tables; as printed, `check --published` finds its row")] = "",
    partial: Annotated[bool, typer.Option("--partial", help="take what is there; what is missing counts as missing")] = False,
    listing: Annotated[
        Path | None, typer.Option("--list", metavar="FILE", help="write the names of all missing and extra files")
    ] = None,
    settings: Settings = None,
) -> None:
    """Make a run of edits that others released, once it is told which are missing; exit 2 if any are, or others are there."""
    from bench import api
    from bench.commands.imports import check_some, delivered, layout_of, spec_of_import, stage
    from bench.commands.outlook import failures
    from bench.errors import RunError
    from bench.manifest import open_manifest
    from bench.progress import shown
    from bench.store import Run

    known = layout_of(layout)
    spec = spec_of_import(known, root, folder, split=split, label=label, overrides=settings or [])
    found = delivered(known, path, spec, open_manifest(spec.manifest, partial=spec.partial))
    if listing is not None:
        listing.write_text("".join(f"{line}\n" for line in found.lines(None)), encoding="utf-8")
    check_some(known, found)
    for line in found.lines():
        console.out.print(line, markup=False, highlight=False, soft_wrap=True)
    if not found.whole and not partial:
        raise RunError(f"{path} is not the whole delivery and nothing else; mend it, or take what is there with --partial")
    stage(known, found, Run.create(folder))
    finished = api.run(spec, folder, progress=shown(console.log), scorable=False)
    console.out.print(f"edits in {finished.path}; `etabench score {finished.path}` scores them", markup=False, soft_wrap=True)
    last_words([failures(finished)], strict=False)


@app.command()
def fetch(
    spec: SpecArgument,
    *,
    settings: Settings = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="fetch without asking")] = False,
    trust: Trust = False,
) -> None:
    """Bring checkpoints, data set and metric weights of a spec to this machine, once it is told what they are and how large."""
    from bench import api
    from bench.commands.fetch import bring, wanted, whole
    from bench.progress import shown

    downloads = wanted(api.open_spec(spec, settings or [], trust=trust))
    console.out.print("\n".join([*map(str, downloads), whole(downloads)]), markup=False, highlight=False, soft_wrap=True)
    if downloads and (yes or typer.confirm("fetch? (--yes does not ask)", abort=True)):
        bring(downloads, shown(console.log))


@app.command()
def score(
    run: RunArgument,
    *,
    device: Annotated[str | None, typer.Option(metavar="DEVICE", help="cpu, cuda or cuda:N; default: the run's own")] = None,
    workers: Annotated[int, typer.Option(min=0, help="workers; 0 is this process, of other executors one per GPU or core")] = 0,
    executor: Annotated[Executor, typer.Option(help="where workers run")] = Executor.auto,
    address: Address = "",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads per worker; another number can change the last bits")] = 1,
    scratch: Scratch = None,
    trust: Trust = False,
    strict: Annotated[bool, typer.Option("--strict", help="exit 1 if any metric failed")] = False,
) -> None:
    """Score what is not scored yet."""
    from bench import api
    from bench.commands.outlook import unscored
    from bench.progress import shown
    from bench.store.objects import url_of
    from bench.workers.crew import Options

    scratch_at(scratch)
    options = Options(executor=executor.value, workers=workers, threads=threads, address=address)
    scores = api.score(run, device=device, options=options, progress=shown(console.log), trust=trust)
    silent = f", {len(scores.unanswered)} edits without a judge's verdict" if len(scores.unanswered) else ""
    found = f"{len(scores.pairs)} pair scores and {len(scores.sets)} set scores in {url_of(run) or run}/scores{silent}"
    console.out.print(found, markup=False, soft_wrap=True)
    last_words([unscored(scores)], strict)


@app.command()
def pack_units(run: RunArgument) -> None:
    """Move finished units from a folder each into a few large parquet files; a run reads both. A large run does so by itself."""
    from bench.store import Run
    from bench.store.packing import pack_units as pack_them

    opened = Run.open(run)
    with opened.hold(opened.spec, opened.plan):
        packed = pack_them(opened)
    console.out.print(str(packed), markup=False, highlight=False, soft_wrap=True)


@app.command()
def report(
    run: RunArgument,
    width: Annotated[
        float | None,
        typer.Option(min=3.0, max=30.0, metavar="INCHES", help="width of the figures; default 5.5, a paper's text in one column"),
    ] = None,
    single_file: Annotated[
        bool, typer.Option("--single-file", help="also write report/report.html, a small run in one file, pictures and all")
    ] = False,
) -> None:
    """Write report/: index.html with figures and tables, and a viewer of all pictures; the folder opens without a server."""
    from bench.store import Run

    show_report(Run.open(run), width=width, single_file=single_file)
