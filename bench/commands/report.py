"""Run -> report: gathers tables, pictures and the header that `reports` draws."""

from __future__ import annotations

import datetime
import hashlib
import math
from collections import Counter
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.analysis import comparisons, judges, protocol, summary
from bench.analysis.differences import differences, powerless
from bench.analysis.groups import by_category, families
from bench.analysis.leaderboard import leaderboard
from bench.analysis.masks import mask_quality
from bench.analysis.statements import statements
from bench.analysis.turns import turns
from bench.analysis.untold import untold
from bench.commands.methods import methods, papers
from bench.errors import RunError
from bench.plan import Plan
from bench.scoring import Scores, read_scores
from bench.scoring.axes import Axes, anchor_ends, balance, operating_points
from bench.store import Record, Run, claims, write_atomically
from bench.toybox.embedded import on_toybox
from reports.style import WIDTH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reports import GalleryRow, ReportData, Statement

__all__ = ["report_data", "report_run"]

FEW_IN_A_SET = 1000
MOST_NOTES = 6
SET_INTERVAL = (
    "95 % interval by leaving out source images (delete-d jackknife; of CSFID within each class), which shows spread and not bias"
)


def report_run(run: Run, *, anew: bool = True, width: float | None = None, single_file: bool = False) -> tuple[Path, ReportData]:
    """Write `report/` from the scores of the run; its index.html, or report.html if it is to be a `single_file` too, and what that shows.

    Figures are `width` inches wide, as wide as a paper's text in one column where it is None.

    Unless `anew`, a page that this version made of the same records and scores is left as it is.
    Raises RunError where nothing is scored, or where another spec is at work in the folder.
    """
    from reports import ReportError, write_report

    stamp = run.report / ".made-of"
    with run.hold(run.spec, run.plan):
        data, made_of = report_data(run, width), _made_of(run, width)
        page = run.report / "index.html"
        if not anew and page.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == made_of:
            return page, data
        try:
            page = write_report(run.report, data, single_file=single_file)
        except ReportError as error:
            raise RunError(str(error)) from error
        write_atomically(stamp, made_of.encode())
        return page, data


def _made_of(run: Run, width: float | None) -> str:
    """What changes when a record, a score, the spec, the width or this package does: 64 hex."""
    total = hashlib.sha256(f"{version('etabench')} {run.plan.digest(run.spec)} {width or WIDTH:g}".encode())
    for file in sorted(path for kind in ("*.parquet", "*.json") for path in run.scores.glob(kind)):
        total.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    for unit in run.plan.units:
        record = run.units / unit.key / "record.json"
        total.update(f"{unit.key} {record.stat().st_mtime_ns if record.is_file() else 0}".encode())
    return total.hexdigest()


def report_data(run: Run, width: float | None = None) -> ReportData:
    """All that a report shows of a run, its figures `width` inches wide, as wide as a paper's text where it is None."""
    from reports import Plane, ReportData

    plan, scores = run.plan, read_scores(run)
    if not len(scores.pairs) and not len(scores.sets):
        old = " of the pictures that it has now" if scores.stale else ""
        raise RunError(f"{run.path} has no scores{old}{_so_far(run)}: run `etabench score {run.path}` first")
    axes = Axes.of(run.spec.axes, scores)
    records = summary.records_by_unit(run, plan)
    unit_table = summary.units(plan, records)
    count_table = summary.counts(plan, unit_table, scores)
    curve_table = summary.curves(plan, scores, axes)
    points = operating_points(plan, curve_table, axes)
    compared, gained = differences(plan, scores, axes), comparisons.gains(plan, scores, axes)
    data = ReportData(
        title=run.spec.name,
        plane=Plane(axes.editability.column, axes.fidelity.column, axes.made_of),
        pairs=scores.pairs,
        sets=scores.sets,
        units=unit_table,
        samples=_samples(plan),
        curves=curve_table,
        tradeoff=summary.tradeoff(plan, scores, axes),
        categories=by_category(plan, scores, axes),
        families=families(plan),
        masks=mask_quality(run, plan, records),
        leaderboard=leaderboard(plan, scores, records, axes, units=unit_table, counts=count_table, curve_table=curve_table),
        counts=count_table,
        cards=scores.cards,
        meta=_meta(run) | {"operating_point": _choice(plan, curve_table, axes)} | _environment(run),
        gallery=_gallery(run, records),
        warnings=[
            *_at_work(run),
            *_written_beside(plan),
            *_warnings(count_table, unit_table, scores, compared),
            *(untold(plan, scores) if on_toybox(run.spec) else []),
        ],
        interval=_interval(plan),
        set_interval=_set_interval(scores),
        differences=compared,
        powerless=powerless(compared, gained),
        hypervolumes=comparisons.hypervolumes(plan, scores, axes),
        gains=gained,
        attainment=comparisons.attained(plan, scores, axes),
        seeds=comparisons.seeds(plan, scores, points),
        protocol=protocol.by_protocol(run.spec, plan, scores),
        protocol_note=protocol.note(run.spec, plan),
        turns=turns(plan, scores, points),
        own_chain=run.spec.chain == "own",
        judges=judges.judges_of(plan, scores),
        judges_note=judges.note(plan),
        width=width or WIDTH,
    )
    return replace(data, statements=_statements(plan, data), methods=methods(run, data), references=papers(plan, scores.cards))


def _statements(plan: Plan, data: ReportData) -> list[Statement]:
    from reports.names import metric_names

    return statements(
        metric_names(data),
        data.plane,
        gains=data.gains,
        differences=data.differences,
        tradeoff=data.tradeoff,
        counts=data.counts,
        editors=[entry.label for entry in plan.entries if not entry.anchor],
    )


def _so_far(run: Run) -> str:
    """How far a run is that is being made now, in words; "" where nobody works on it."""
    at_work = len(claims.held(run.claims))
    made = sum(1 for _ in run.records(unit.key for unit in run.plan.units)) if at_work else 0
    return f" (it is being made: {made} of {len(run.plan.units)} units are there, {at_work} in work)" if at_work else ""


def _samples(plan: Plan) -> pd.DataFrame:
    rows = [
        {
            "sample_id": sample.id,
            "source_id": sample.source_id,
            "category": sample.category,
            "source_text": sample.source_text,
            "target_text": sample.target_text,
        }
        for sample in plan.samples
    ]
    return pd.DataFrame(rows)


def _meta(run: Run) -> dict[str, str]:
    spec, plan = run.spec, run.plan
    manifest = run.head
    model = (spec.model.name or spec.model.path or spec.model.hub) if spec.model else None
    written = datetime.datetime.fromtimestamp((run.path / "plan.json").stat().st_mtime, tz=datetime.UTC)
    return {
        "date": written.strftime("%Y-%m-%d %H:%M UTC"),
        "spec": spec.description or spec.name,
        "model": f"{model} ({plan.model[:12]})" if plan.model else "none",
        "manifest": f"{manifest.name}, {len(plan.samples)} of {len(manifest.ids)} samples"
        + (f" ({manifest.about})" if manifest.about else ""),
        "manifest_hash": plan.manifest_hash[:16],
        "seeds": ", ".join(map(str, spec.seeds)),
        "dtype": plan.dtype,
        "resolution": f"{plan.resolution} px" if plan.resolution else "as given",
    } | _protocol(run)


def _protocol(run: Run) -> dict[str, str]:
    """The header's lines on the protocol of the run and where it departs from it, and on its chain where that is not the true one."""
    own = ", ".join(protocol.departures(run.spec, run.plan))
    name = f"{run.spec.protocol}{f'; departs from it: {own}' if own else ''}" if run.spec.protocol else ""
    said = {"protocol": name, "chain": "own: later turns edit the editor's own pictures" if run.spec.chain == "own" else ""}
    return {key: text for key, text in said.items() if text}


def _environment(run: Run) -> dict[str, str]:
    found = _flat(run.read("environment.json", dict[str, Any]))
    return {f"environment.{key}": str(value) for key, value in found.items() if value is not None}


def _choice(plan: Plan, means: pd.DataFrame, axes: Axes) -> str:
    """By what rule the operating points were chosen."""
    from reports.names import metric_name

    first, second = (metric_name(axis.column, made_of=axes.made_of.get(axis.column, "")).noun for axis in axes)
    rated = {point for point, score in balance(plan, means, axes).items() if math.isfinite(score)}
    if not rated:
        return f"middle of each grid, for lack of edits with scores of both {first} and {second}"
    scale = "copy and regenerate" if anchor_ends(plan, means, axes) else "the smallest and the largest mean of any editor"
    unrated = [
        entry.label for entry in plan.entries if entry.knob and not any((entry.label, value) in rated for value in entry.values)
    ]
    rest = f"; middle of the grid where there is no such mean ({', '.join(unrated)})" if unrated else ""
    return f"highest mean of {first} and {second}, scaled between {scale}{rest}"


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _written_beside(plan: Plan) -> list[str]:
    """What of the samples a sidecar gave, a sentence a field and writer."""
    written = Counter((name, words) for sample in plan.samples for name, words in sample.provenance.items())
    every = len(plan.samples)
    return [f"{name} of {number} of {every} samples is from a sidecar: {words}." for (name, words), number in written.items()]


def _at_work(run: Run) -> list[str]:
    """That a run is not whole because it is being made."""
    found = _so_far(run)
    return [f"this is how far the run is now{found}: draw it again when it is done."] if found else []


def _warnings(count_table: pd.DataFrame, unit_table: pd.DataFrame, scores: Scores, compared: pd.DataFrame) -> list[str]:
    totals = count_table[["expected", "done", "failed"]].sum()
    said = [f"{metric} failed and has no column: {reason}" for metric, reason in scores.failed.items()]
    if scores.stale:
        said.append(f"{scores.stale} scores are of other pictures than the run has now and left out: score the run again.")
    if totals["done"] < totals["expected"]:
        missing = int(totals["expected"] - totals["done"] - totals["failed"])
        short = [f"{number} {word}" for number, word in ((int(totals["failed"]), "failed"), (missing, "were not run")) if number]
        said.append(f"of {int(totals['expected'])} units {' and '.join(short)}: means cover the rest.")
    absent = unit_table.groupby("editor", sort=False)["absent"].sum()
    for editor, number in absent[absent > 0].items():
        planned = int(number + unit_table.loc[unit_table["editor"] == editor, "edits"].sum())
        said.append(f"{editor} lacks {int(number)} of {planned} edits, which were not delivered: its means cover the rest.")
    cut = unit_table[unit_table["prompt_tokens_cut"] > 0]
    if len(cut):
        editors = ", ".join(dict.fromkeys(cut["editor"]))
        said.append(f"the prompts of {len(cut)} units are longer than the text encoder reads and were cut there: {editors}.")
    for card in scores.cards.values():
        if card.get("texts_cut"):
            said.append(
                f"{card['name']} reads {card['texts_cut']} of {card['texts']} texts without their end: they exceed its context."
            )
    said += _judged(scores)
    undefined = int(scores.pairs["score"].isna().sum())
    if undefined:
        said.append(
            f"{undefined} of {len(scores.pairs)} scores are undefined and left out of every mean; n says how many remain."
        )
    if set(scores.sets["metric"]) - set(compared["metric"]) and len(compared):
        said.append(
            "set metrics were compared at other operating points than this report's: score the run again to compare them here."
        )
    sizes = scores.sets["n"]
    if len(sizes) and sizes.max() < FEW_IN_A_SET:
        names = ", ".join(dict.fromkeys(scores.sets["metric"]))
        said.append(f"Set metrics ({names}) stand on {sizes.max()} edits per point at most: comparable at equal n only.")
    notes = [str(note) for note in dict.fromkeys(scores.sets["note"]) if note]
    more = [f"{len(notes) - MOST_NOTES} more notes on set metrics are in scores/sets.parquet."] if len(notes) > MOST_NOTES else []
    return said + notes[:MOST_NOTES] + more


def _judged(scores: Scores) -> list[str]:
    """What speaks against the judges behind the scores, and how many edits they gave none."""
    names = scores.pairs.drop_duplicates("fingerprint").set_index("fingerprint")["metric"]
    said = [
        f"{names[print_]} †: {card['doubt']}." for print_, card in scores.cards.items() if card.get("doubt") and print_ in names
    ]
    for metric, rows in scores.unanswered.groupby("metric", sort=False):
        kinds = ", ".join(f"{number} {str(kind).replace('_', ' ')}" for kind, number in rows["kind"].value_counts().items())
        scored = int((scores.pairs["metric"] == metric).sum())
        said.append(
            f"{metric}: no verdict on {len(rows)} of {scored + len(rows)} edits ({kinds}), which are missing, not scored."
        )
    return said


def _interval(plan: Plan) -> str:
    clusters = len({sample.source_id for sample in plan.samples})
    return (
        f"95 % interval clustered by source image ({clusters} sources; Student's t with skewness taken out, Wilson's for shares)"
    )


def _set_interval(scores: Scores) -> str:
    """Of set metrics; empty where none has one."""
    return SET_INTERVAL if len(scores.sets) and scores.sets["low"].notna().any() else ""


def _gallery(run: Run, records: Mapping[str, Record]) -> list[GalleryRow]:
    """Every picture that the run has. Records name files of their folder only; where these are links they are followed inside the run."""
    from reports import EditRow, GalleryRow

    def inside(path: Path) -> Path:
        return run.own(path) if path.is_symlink() else path

    plan = run.plan
    made: list[list[EditRow]] = [[] for _ in plan.samples]
    for unit in plan.units:
        record, folder = records.get(unit.key), run.own(run.units / unit.key)
        edits = [(edit.value, inside(folder / edit.file)) for edit in record.edits] if record else []
        extras = {name: inside(folder / file) for name, file in record.pictures.items()} if record else {}
        made[unit.sample].append(EditRow(plan.entries[unit.entry].label, unit.seed, edits, extras))
    rows = []
    for sample, edit_rows in zip(plan.samples, made, strict=True):
        kept = run.keep(sample)
        texts = (sample.id, sample.category, sample.source_text, sample.target_text)
        rows.append(GalleryRow(*texts, kept["source"], kept.get("truth"), kept.get("mask"), edit_rows))
    return rows
