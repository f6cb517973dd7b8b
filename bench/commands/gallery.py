"""Every picture of a run for the viewer: samples, edits, what editors drew beside them, and where the scores of edits come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.scoring import Scores
from bench.scoring.maps import HALF, MapStore
from bench.store import Record, Run

if TYPE_CHECKING:
    from reports import GalleryRow, Heat

__all__ = ["gallery"]


def gallery(run: Run, records: Mapping[str, Record], scores: Scores) -> tuple[list[GalleryRow], Heat]:
    """The rows of the viewer, and what its maps are of, or why there are none.

    Records name files of their folder only; where these are links they are followed inside the run.
    """
    from reports import EditRow, GalleryRow

    plan = run.plan
    heat, maps = _maps(run, scores)
    made: list[list[EditRow]] = [[] for _ in plan.samples]
    for unit in plan.units:
        record = records.get(unit.key)
        edits = [(edit.value, run.picture(record, edit.file)) for edit in record.edits] if record else []
        extras = {name: run.picture(record, file) for name, file in record.pictures.items()} if record else {}
        digest = plan.samples[unit.sample].digest
        found = ((edit.value, maps.path(digest, edit.sha256)) for edit in record.edits) if record and maps else ()
        places = {value: path for value, path in found if path is not None}
        made[unit.sample].append(EditRow(plan.entries[unit.entry].label, unit.seed, edits, extras, places))
    rows = []
    for sample, edit_rows in zip(plan.samples, made, strict=True):
        kept = run.keep(sample)
        texts = (sample.id, sample.category, sample.source_text, sample.target_text)
        rows.append(GalleryRow(*texts, kept["source"], kept.get("truth"), kept.get("mask"), edit_rows))
    return rows, heat


def _maps(run: Run, scores: Scores) -> tuple[Heat, MapStore | None]:
    from reports import Heat
    from reports.names import metric_name

    names = scores.pairs.drop_duplicates("fingerprint").set_index("fingerprint")["metric"]
    spatial = [print_ for print_ in names.index if scores.cards.get(print_, {}).get("spatial")]
    stores = {print_: MapStore(run, print_) for print_ in spatial}
    for print_, store in stores.items():
        if len(store):
            return Heat(metric_name(str(names[print_])).title, HALF), store
    failed = next((f"{name} failed: {why}" for name, why in scores.failed.items() if name.startswith("lpips")), "")
    if failed or not any(scores.cards[print_]["name"] == "lpips" for print_ in names.index):
        return Heat(why=failed or "the run does not score LPIPS"), None
    again = f"`etabench score {run.path.name}` makes them, with the metric's network at hand"
    return Heat(why=again), None
