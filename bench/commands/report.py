"""Run -> report: gathers tables, pictures and the header that `reports` draws."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bench.analysis import comparisons, judges, protocol, summary
from bench.analysis.differences import differences, powerless
from bench.analysis.groups import by_category, families
from bench.analysis.leaderboard import leaderboard
from bench.analysis.masks import mask_quality
from bench.analysis.statements import statements
from bench.analysis.turns import turns
from bench.commands.gallery import gallery
from bench.commands.header import header
from bench.commands.methods import methods, papers
from bench.commands.notices import notices, so_far
from bench.errors import RunError
from bench.plan import Plan
from bench.scoring import Scores, read_scores
from bench.scoring.axes import Axes, operating_points
from bench.store import Run, write_atomically
from reports.style import WIDTH

if TYPE_CHECKING:
    from reports import ReportData, Statement

__all__ = ["report_data", "report_run"]

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
    """What changes when a record, a score, a map, the spec, the width or this package does: 64 hex."""
    total = hashlib.sha256(f"{version('etabench')} {run.plan.digest(run.spec)} {width or WIDTH:g}".encode())
    for file in sorted(path for kind in ("*.parquet", "*.json") for path in run.scores.glob(kind)):
        total.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    for unit in run.plan.units:
        total.update(f"{unit.key} {run.kept.stamp(unit.key)}".encode())
    for file in sorted(run.scores.glob("maps/*/*.png")):
        total.update(file.name.encode())
    return total.hexdigest()


def report_data(run: Run, width: float | None = None) -> ReportData:
    """All that a report shows of a run, its figures `width` inches wide, as wide as a paper's text where it is None."""
    from reports import Plane, ReportData

    plan, scores = run.plan, read_scores(run)
    if not len(scores.pairs) and not len(scores.sets):
        old = " of the pictures that it has now" if scores.stale else ""
        raise RunError(f"{run.path} has no scores{old}{so_far(run)}: run `etabench score {run.path}` first")
    axes = Axes.of(run.spec.axes, scores)
    records = summary.records_by_unit(run, plan)
    run.bring(records.values())
    unit_table = summary.units(plan, records)
    count_table = summary.counts(plan, unit_table, scores)
    curve_table = summary.curves(plan, scores, axes)
    points = operating_points(plan, curve_table, axes)
    compared, gained = differences(plan, scores, axes), comparisons.gains(plan, scores, axes)
    pictures, heat = gallery(run, records, scores)
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
        meta=header(run, curve_table, axes),
        gallery=pictures,
        heat=heat,
        warnings=notices(run, scores, counts=count_table, units=unit_table, differences=compared),
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


def _interval(plan: Plan) -> str:
    clusters = len({sample.source_id for sample in plan.samples})
    return (
        f"95 % interval clustered by source image ({clusters} sources; Student's t with skewness taken out, Wilson's for shares)"
    )


def _set_interval(scores: Scores) -> str:
    """Of set metrics; empty where none has one."""
    return SET_INTERVAL if len(scores.sets) and scores.sets["low"].notna().any() else ""
