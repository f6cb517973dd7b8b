"""Commands that only look: what there is, what is odd about a manifest, what is installed."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from bench.cli.app import Json, app
from bench.commands import console

__all__ = ["doctor", "lint", "list_"]


class Kind(StrEnum):
    """What there is to list."""

    editors = "editors"
    metrics = "metrics"
    manifests = "manifests"
    published = "published"
    protocols = "protocols"
    models = "models"
    specs = "specs"


@app.command("list")
def list_(
    kind: Annotated[Kind, typer.Argument(help="what to list")],
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="everything about this one, parameters included")] = "",
    as_json: Json = False,
) -> None:
    """Show what there is: editors, metrics, manifests, printed numbers and protocols of benchmarks, models, specs."""
    from bench.commands import catalogue

    rows = {
        Kind.editors: catalogue.editors,
        Kind.metrics: catalogue.metrics,
        Kind.manifests: catalogue.manifests,
        Kind.published: catalogue.printed,
        Kind.protocols: catalogue.protocols,
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
def doctor(
    gib: Annotated[
        float | None, typer.Option(min=1, help="say what has room on a card of so many GiB, in place of those that are here")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what is installed, which device and which weights there are, and what has room; exit 1 if something needed is missing."""
    from bench.commands import catalogue

    rows = catalogue.health(gib)
    console.print_rows(rows, as_json)
    if any(row["status"] == "missing" for row in rows):
        raise typer.Exit(1)
