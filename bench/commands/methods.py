"""A paragraph for the methods section of a paper: what was edited, by what, how it was scored and how compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.commands.references import bibtex, key_of, papers_in, papers_of_editor
from bench.plan import Entry, Plan
from bench.spec import Spec
from bench.store import Run
from reports.data import ReportData
from reports.names import metric_names

__all__ = ["methods", "papers"]

STATISTICS = (
    "Means have 95 percent intervals clustered by source picture: Student's t with skewness taken out and CR2 standard errors, Wilson's for "
    "shares; bands in figures are within-sample ones. Pairs of editors are compared on the samples that both have: over whole curves at equal "
    "{fidelity} by sign flips of jackknife pseudo-values, and at their operating points by swaps of their edits of each source picture with "
    "the points chosen anew. All p values are Holm's over the pairs of editors of one metric."
)
ALWAYS = ("steps", "guidance")
"""Parameters that are told even where the spec leaves them to a preset."""
TOLD = ("etabench", "torch", "diffusers", "transformers", "open-clip-torch", "lpips")
"""Packages."""


def papers(plan: Plan, cards: Mapping[str, Mapping[str, object]]) -> str:
    """BibTeX of the editors and metrics of a run."""
    named = [paper for entry in plan.entries for paper in papers_of_editor(entry.target)]
    return bibtex([*named, *(paper for card in cards.values() for paper in papers_in(str(card.get("source", ""))))])


def methods(run: Run, data: ReportData) -> str:
    """The paragraph, in plain text; keys in brackets are those of `papers`."""
    plan, spec, names = run.plan, run.spec, metric_names(data)
    sources, fidelity = len({sample.source_id for sample in plan.samples}), names[data.plane.fidelity].noun
    editors = [_editor(entry, spec) for entry in plan.entries if not entry.anchor]
    anchors = [entry.label for entry in plan.entries if entry.anchor]
    parts = [
        f"We edited {_count(len(plan.samples), 'sample')} of {_count(sources, 'source picture')} of {run.head.name} (content hash "
        f"{plan.manifest_hash[:16]}){f' at {plan.resolution} pixels' if plan.resolution else ''}, with {_count(len(spec.seeds), 'seed')}"
        f"{f' and the model {_model(spec)} (weights {plan.model[:12]})' if plan.model else ''}.",
        f"Editors: {'; '.join(editors)}." if editors else "",
        f"Controls: {', '.join(anchors)}." if anchors else "",
        f"Metrics: {'; '.join(_metric(print_, card) for print_, card in data.cards.items())}." if data.cards else "",
        _made(data),
        STATISTICS.format(fidelity=fidelity),
        _environment(run.read("environment.json", dict[str, Any])),
    ]
    return " ".join(part for part in parts if part)


def _editor(entry: Entry, spec: Spec) -> str:
    given = next((item for item in spec.editors if (item.label or item.name) == entry.label), None)
    told = [name for name in (*ALWAYS, *(given.params if given else ())) if isinstance(entry.params.get(name), int | float | str)]
    settings = [f"preset {given.preset}"] if given and given.preset else []
    settings += [f"{name.replace('_', ' ')} {entry.params[name]}" for name in dict.fromkeys(told)]
    if entry.knob:
        settings.append(f"{entry.knob.replace('_', ' ')} in {{{', '.join(f'{value:g}' for value in entry.values)}}}")
    what = "" if entry.name == entry.label else f"{entry.name}, "
    return f"{entry.label} ({what}version {entry.version}{''.join(f', {each}' for each in settings)}){_cited(papers_of_editor(entry.target))}"


def _metric(print_: str, card: Mapping[str, object]) -> str:
    facts = [f"version {card.get('version', '')}", f"fingerprint {print_}"]
    if card.get("network") not in {None, "", "none"}:
        facts.append(f"network {card['network']} at {card.get('resolution', '')}")
    return f"{card.get('name', '')} ({', '.join(facts)}){_cited(papers_in(str(card.get('source', ''))))}"


def _made(data: ReportData) -> str:
    """How many units were made and failed."""
    if not len(data.counts):
        return ""
    done, expected, failed = (int(data.counts[name].sum()) for name in ("done", "expected", "failed"))
    if done == expected:
        return f"All {expected} units (one sample by one editor and seed) were made."
    return f"Of {expected} units (one sample by one editor and seed) {done} were made and {failed} failed; means cover what was made."


def _environment(found: Mapping[str, Any]) -> str:
    known, card, commit = (_mapping(found.get(part)) for part in ("packages", "accelerator", "commit"))
    packages = [f"{name} {known[name]}" for name in TOLD if name in known]
    where = f"on {card['name']}" if card.get("name") else f"on {found.get('device', 'an unknown device')}"
    at = f", commit {str(commit['commit'])[:12]}{' with changes' if commit.get('dirty') else ''}" if commit.get("commit") else ""
    python = f", Python {found['python']}" if "python" in found else ""
    return (
        f"Made with {', '.join(packages) or 'unknown packages'}{python}{at}, in {found.get('dtype', 'an unknown dtype')} {where}."
    )


def _mapping(found: Any) -> Mapping[str, Any]:
    """A part of the environment; nothing where a file from elsewhere has something else in its place."""
    return found if isinstance(found, Mapping) else {}


def _model(spec: Spec) -> str:
    return str((spec.model.name or spec.model.hub or spec.model.path) if spec.model else "")


def _cited(found: list[str]) -> str:
    return f" [{', '.join(key_of(paper) for paper in found)}]" if found else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
