"""The command `etabench`. Only the standard library, typer and rich are imported before a command needs more."""

from __future__ import annotations

import io
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands import console
from bench.commands.console import log, out
from bench.interrupts import told_to_stop

if TYPE_CHECKING:
    from bench.store import Run

__all__ = ["app", "main"]

app = typer.Typer(
    name="etabench",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
INTERRUPTED = 130

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="a run folder")]
SpecArgument = Annotated[
    str, typer.Argument(metavar="SPEC", help="a spec file, or the name of a shipped one (`etabench list specs`)")
]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override a value of the spec")]
Trust = Annotated[bool, typer.Option("--trust", help="run the code that the spec inside a run folder from elsewhere names")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]


class Executor(StrEnum):
    """Where workers run."""

    auto = "auto"
    inline = "inline"
    local = "local"
    ray = "ray"
    slurm = "slurm"


class Kind(StrEnum):
    """What there is to list."""

    editors = "editors"
    metrics = "metrics"
    manifests = "manifests"
    published = "published"
    models = "models"
    specs = "specs"


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        out.print(f"etabench {version('etabench')}", markup=False, highlight=False)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    """Measure text-guided image editors: edits over the whole range of their knobs, scored, drawn, compared."""


@app.command()
def run(
    spec: SpecArgument,
    *,
    folder: Annotated[Path | None, typer.Option("--out", help="run folder; default runs/<name>")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="only the first N samples")] = None,
    settings: Settings = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan, time a few steps of each editor, and stop")] = False,
    no_score: Annotated[bool, typer.Option("--no-score", help="make the edits only")] = False,
    workers: Annotated[int, typer.Option(min=0, help="worker processes; 0 is one per GPU, or per core up to four")] = 0,
    executor: Annotated[Executor, typer.Option(help="where workers run")] = Executor.auto,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads per worker; another number can change the last bits")] = 1,
    batch: Annotated[
        int | None, typer.Option(min=1, help="samples given at once to editors that can; overrides the spec's")
    ] = None,
    fail_on_error: Annotated[bool, typer.Option("--fail-on-error", help="stop at the first failed unit")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="exit 1 if any unit or metric failed")] = False,
    trust: Trust = False,
) -> None:
    """Make the edits of a spec, score them, and write the report. An existing folder is continued."""
    from bench import api
    from bench.commands.outlook import failures, forecast, unscored
    from bench.progress import shown
    from bench.workers.crew import Options

    overrides = [*(settings or []), *([f"limit={limit}"] if limit else []), *([f"batch={batch}"] if batch else [])]
    if dry_run:
        from bench.plan.prompts import cut_prompts
        from bench.store import Run

        resolved = api.open_spec(spec, overrides, trust=trust)
        place = folder or api.default_folder(resolved)
        resolved, pins = api.pin(resolved, Run(place))
        planned, manifest = api.plan(resolved, pins)
        ahead = forecast(resolved, planned, manifest, Run(place), threads)
        console.print_plan(resolved.name, place, planned, ahead, cut_prompts(resolved, planned))
        if not no_score:
            from bench.scoring import preflight

            preflight(resolved, planned)
        return
    options = Options(executor=executor.value, workers=workers, threads=threads, fail_on_error=fail_on_error)
    try:
        progress, scorable = shown(log), not no_score
        finished = api.run(spec, folder, overrides=overrides, options=options, progress=progress, scorable=scorable, trust=trust)
        failed = [failures(finished)]
        if no_score:
            out.print(f"edits in {finished.path}; `etabench score {finished.path}` scores them", markup=False, soft_wrap=True)
        else:
            failed.append(unscored(api.score(finished, progress=progress)))
    except KeyboardInterrupt:
        log.print("interrupted; what is finished is kept, run the same command again to continue", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    if not no_score:
        _report(finished)
    _last_words(failed, strict)


@app.command()
def fetch(
    spec: SpecArgument,
    *,
    settings: Settings = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="fetch without asking")] = False,
) -> None:
    """Bring checkpoints, data set and metric weights of a spec to this machine, once it is told what they are and how large."""
    from bench.commands.fetch import bring, wanted, whole
    from bench.progress import shown
    from bench.spec import load_spec

    downloads = wanted(load_spec(spec, settings or []))
    out.print("\n".join([*map(str, downloads), whole(downloads)]), markup=False, highlight=False, soft_wrap=True)
    if downloads and (yes or typer.confirm("fetch? (--yes does not ask)", abort=True)):
        bring(downloads, shown(log))


@app.command()
def score(
    run: RunArgument,
    device: Annotated[str | None, typer.Option(metavar="DEVICE", help="cpu, cuda or cuda:N; default: the run's own")] = None,
    trust: Trust = False,
    strict: Annotated[bool, typer.Option("--strict", help="exit 1 if any metric failed")] = False,
) -> None:
    """Score what is not scored yet."""
    from bench import api
    from bench.commands.outlook import unscored
    from bench.progress import shown

    scores = api.score(run, device=device, progress=shown(log), trust=trust)
    out.print(
        f"{len(scores.pairs)} pair scores and {len(scores.sets)} set scores in {run / 'scores'}", markup=False, soft_wrap=True
    )
    _last_words([unscored(scores)], strict)


@app.command()
def report(run: RunArgument) -> None:
    """Write report/index.html with its figures and tables."""
    from bench.store import Run

    _report(Run.open(run))


@app.command()
def check(
    run: RunArgument,
    *,
    baseline: Annotated[Path | None, typer.Option("--baseline", metavar="FILE", help="a baseline file")] = None,
    update: Annotated[bool, typer.Option("--update", help="write the baseline instead of comparing with it")] = False,
    published: Annotated[str, typer.Option(metavar="BENCHMARK", help="compare with the printed numbers of a benchmark")] = "",
) -> None:
    """Compare with a baseline or with printed numbers: exit 0 if all agrees, 1 if something differs, 2 if nothing can be compared."""
    from bench.analysis.baseline import compare, write_baseline
    from bench.analysis.published import beside
    from bench.store import Run

    if (baseline is None) == (not published):
        raise typer.BadParameter("give --baseline FILE or --published BENCHMARK, one of the two")
    if baseline is None:
        found = beside(Run.open(run), published)
        console.print_rows([each.as_row() for each in found], as_json=False)
        verdicts = {each.verdict for each in found}
        raise typer.Exit(1 if "differs" in verdicts else 0 if "agrees" in verdicts else 2)
    if update:
        number = write_baseline(Run.open(run), baseline)
        out.print(f"{number} scores in {baseline}", markup=False, soft_wrap=True)
        return
    verdict = compare(Run.open(run), baseline)
    console.print_verdict(verdict)
    raise typer.Exit(1 if verdict.regressions else 2 if verdict.failed else 0)


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
    out.print(f"{found.edits} edits in {target}{missing}", markup=False, soft_wrap=True)


@app.command("validate-metrics")
def validate_metrics(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="a spec on ToyBox whose metrics are judged")] = "validate",
    folder: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="run folder (default: runs/<name>)")] = None,
    table: Annotated[
        Path | None, typer.Option("--table", metavar="FILE", help="also write a Markdown page and its figure")
    ] = None,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Judge metrics by ToyBox, where the truth is known: run the spec, score it, and tell which metric to trust for what."""
    from bench import api
    from bench.analysis import judges
    from bench.progress import shown

    finished = api.run(spec, folder, progress=shown(log), trust=trust)
    scores = api.score(finished, progress=shown(log)).whole()
    plan = finished.plan
    judged = judges.judges_of(plan, scores)
    whole = [{str(key): value for key, value in row.items()} for row in judged.round(3).to_dict("records")]
    console.print_rows(whole if as_json else judges.brief(judged), as_json)
    _report(finished)
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


@app.command("list")
def list_(
    kind: Annotated[Kind, typer.Argument(help="what to list")],
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="everything about this one, parameters included")] = "",
    as_json: Json = False,
) -> None:
    """Show what there is: editors, metrics, manifests, printed numbers of benchmarks, models, specs."""
    from bench.commands import catalogue

    rows = {
        Kind.editors: catalogue.editors,
        Kind.metrics: catalogue.metrics,
        Kind.manifests: catalogue.manifests,
        Kind.published: catalogue.printed,
        Kind.models: catalogue.embedded_models,
        Kind.specs: catalogue.specs,
    }
    if name and kind is Kind.published:
        console.print_rows(catalogue.printed_of(name), as_json)
    elif name:
        console.print_facts(catalogue.one(kind.value, name, rows[kind]()), as_json)
    else:
        console.print_rows(rows[kind](), as_json, hide=catalogue.DETAILS)


@app.command()
def lint(
    manifest: Annotated[str, typer.Argument(metavar="MANIFEST", help="a shipped name, a file or a folder")],
    benchmark: Annotated[str, typer.Option(help="the folder is a copy of this published benchmark")] = "",
    split: Annotated[str, typer.Option(help="split of the benchmark")] = "",
    as_json: Json = False,
) -> None:
    """Report everything that is wrong or odd in a manifest; exit 2 if a run would refuse it."""
    from dataclasses import asdict

    from bench.manifest.lint import lint as examine
    from bench.spec import ManifestRef

    ref = ManifestRef(benchmark=benchmark, root=manifest, split=split or None) if benchmark else manifest
    findings = examine(ref)
    errors = sum(finding.severity == "error" for finding in findings)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        console.print_findings(manifest, findings)
    if errors:
        raise typer.Exit(2)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what is installed, which device there is, and which weights are present; exit 1 if something needed is missing."""
    from bench.commands import catalogue

    rows = catalogue.health()
    console.print_rows(rows, as_json)
    if any(row["status"] == "missing" for row in rows):
        raise typer.Exit(1)


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


def _last_words(failed: list[str], strict: bool) -> None:
    """Say what failed, one line each, and with `strict` exit 1 where anything did."""
    for line in filter(None, failed):
        log.print(line, markup=False, highlight=False, soft_wrap=True)
    if strict and any(failed):
        raise typer.Exit(1)


def _report(run: Run) -> None:
    from bench.commands.report import report_run

    page, data = report_run(run)
    console.print_leaderboard(data)
    for warning in data.warnings:
        log.print(f"note: {warning}", markup=False, highlight=False, soft_wrap=True)
    out.print(f"report: {page}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
