"""What a report is made of. Statistics are made by the caller: this package draws numbers and computes none but the knob zone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from reports.style import WIDTH

__all__ = ["COLUMNS", "EditRow", "GalleryRow", "Plane", "ReportData", "ReportError", "Statement", "empty"]


class ReportError(Exception):
    """A frame cannot be drawn as it is; the message names the frame and the column."""


COLUMNS: dict[str, dict[str, str]] = {
    "pairs": {
        "unit": "key of the unit that made the edit",
        "sample_id": "manifest id of the sample",
        "source_id": "hash of the decoded source picture; samples that share it form one cluster",
        "category": "category of the edit, or missing",
        "editor": "label of the editor, unique in the run",
        "knob": "name of the editor's knob; missing for anchors",
        "value": "knob value of the edit; 0 for anchors",
        "seed": "run seed of the unit",
        "metric": "name of the pair metric",
        "score": "the metric's value for this edit, in the units of its card; NaN where undefined",
        "fingerprint": "identity of the metric, a key of ReportData.cards",
    },
    "sets": {
        "editor": "label of the editor",
        "knob": "name of the knob",
        "value": "knob value",
        "metric": "name of the set metric (fid, csfid)",
        "score": "value over all edits at this knob value; lower is better for fid and csfid",
        "n": "number of edits in the set",
        "fingerprint": "identity of the metric",
        "per_class": "mean number of edits per class; NaN where the metric has no classes",
    },
    "units": {
        "unit": "key of the unit",
        "sample_id": "manifest id of the sample",
        "editor": "label of the editor",
        "seed": "run seed",
        "status": "done, failed or missing (planned but never run)",
        "reason": "why it failed, one line; empty otherwise",
    },
    "samples": {
        "sample_id": "manifest id",
        "source_id": "hash of the decoded source picture",
        "category": "category of the edit, or missing",
        "source_text": "caption of the source, or missing",
        "target_text": "caption of the wanted edit",
    },
    "curves": {
        "editor": "label of the editor",
        "anchor": "true for control rows (copy, oracle, ...), which have one point",
        "knob": "name of the knob; missing for anchors",
        "value": "knob value; more means more edit",
        "metric": "name of the metric, or of an axis that turns one round",
        "mean": "mean over samples of a pair metric, or the value of a set metric",
        "low": "lower end of the 95 % interval; NaN where there is none",
        "high": "upper end of the 95 % interval; NaN where there is none",
        "within_low": "lower end of the within-sample 95 % band, by which editors are compared; NaN where there is none",
        "within_high": "upper end of it",
        "n": "number of edits scored",
        "expected": "number of edits planned",
        "undefined": "number of edits made whose score the metric leaves undefined by its own rule",
        "coverage": "share of the planned edits that were made and scored, 0..1",
        "bound_low": "between this",
        "bound_high": "and this lies the mean over all planned edits, whatever the missing ones would have scored; infinite where open",
        "fingerprint": "identity of the metric",
        "higher_is_better": "direction of the metric, empty where it has none",
    },
    "tradeoff": {
        "editor": "label of the editor",
        "knob": "name of the knob",
        "value": "knob value",
        "x_mean": "mean fidelity; higher is more faithful",
        "x_low": "lower end of its 95 % interval",
        "x_high": "upper end of its 95 % interval",
        "x_within_low": "lower end of its within-sample 95 % band; NaN where there is none",
        "x_within_high": "upper end of it",
        "y_mean": "mean editability; higher is better aligned",
        "y_low": "lower end of its 95 % interval",
        "y_high": "upper end of its 95 % interval",
        "y_within_low": "lower end of its within-sample 95 % band; NaN where there is none",
        "y_within_high": "upper end of it",
        "n": "number of edits with both, of which the intervals are; where every edit has both, they are those of the curves",
    },
    "categories": {
        "category": "category of the edits",
        "samples": "samples of this category",
        "editor": "label of the editor or anchor",
        "anchor": "true for control rows",
        "knob": "name of the knob; missing for anchors",
        "value": "knob value",
        **{
            f"{axis}_{name}": f"{meaning} in {what}, of the edits of this category"
            for axis, what in (("x", "fidelity"), ("y", "editability"))
            for name, meaning in (
                ("mean", "mean"),
                ("low", "lower end of the 95 % interval"),
                ("high", "upper end of it"),
                ("within_low", "lower end of the within-sample 95 % band"),
                ("within_high", "upper end of it"),
            )
        },
        "n": "number of edits with both",
    },
    "families": {
        "editor": "label of an editor that is not the only one of its method",
        "method": "name of the method",
        "settings": "the parameters in which the editors of the method differ, as this one has them",
    },
    "masks": {
        "editor": "label of an editor that makes masks",
        "metric": "what compares them with the manifest's: intersection over union, precision or recall; 0..1, higher is better",
        "mean": "mean over units",
        "low": "lower end of the 95 % interval; NaN where there is none",
        "high": "upper end of it",
        "n": "masks compared",
        "undefined": "masks for which it is undefined",
    },
    "leaderboard": {
        "editor": "label of the editor or anchor; every other column is optional and shown in the order given",
    },
    "counts": {
        "editor": "label of the editor",
        "expected": "units planned",
        "done": "units finished",
        "failed": "units that ended in an error",
        "scored": "units with every pair score, as far as the metrics define one",
    },
    "differences": {
        "metric": "name of the metric",
        "first": "label of an editor",
        "first_value": "knob value at which it is compared; missing where whole curves are",
        "second": "label of another editor",
        "second_value": "its knob value",
        "difference": "first less second, in the metric's units",
        "low": "lower end of the 95 % interval; NaN where there is none",
        "high": "upper end of it",
        "p": "p value",
        "p_holm": "p value corrected for all pairs of the metric",
        "p_least": "the smallest p value that so many source pictures and swaps allow",
        "n": "samples that both have, with a defined score",
        "undefined": "samples whose score is undefined for one of the two only; there is no p where there are any",
        "test": "how p was made: swap",
        "better": "label of the better one by the metric's direction, empty where they are equal",
    },
    "hypervolumes": {
        "editor": "label of the editor",
        "hypervolume": "0..1, higher is better",
        "low": "lower end of the 95 % interval",
        "high": "upper end of it",
        "knob_values": "points of the curve that count",
        "n": "samples",
    },
    "gains": {
        "first": "label of an editor",
        "second": "label of another editor",
        "gain": "editability of the first less that of the second at equal fidelity; NaN where the curves do not overlap",
        "low": "lower end of the 95 % interval",
        "high": "upper end of it",
        "p": "p value",
        "p_holm": "p value corrected for all pairs",
        "p_least": "the smallest p value that so many source pictures allow",
        "fidelity_low": "smallest fidelity that both curves reach",
        "fidelity_high": "largest one",
        "n": "samples that both have",
    },
    "attainment": {
        "editor": "label of the editor",
        "fidelity": "the fidelity that is asked for",
        "low": "editability that three quarters of the samples reach there or at a better one; NaN where so many do not get there",
        "median": "that half of the samples reach",
        "high": "that a quarter of the samples reaches",
        "n": "samples with both scores at every knob value",
    },
    "seeds": {
        "editor": "label of the editor",
        "value": "knob value",
        "metric": "name of the metric",
        "seed_sd": "standard deviation over seeds of one sample",
        "sample_sd": "standard deviation between samples",
        "share": "of the seeds in the whole variance, 0..1",
        "shift": "standard deviation of the mean over samples under another seed",
        "samples": "samples with several seeds",
        "seeds": "mean number of seeds of these",
    },
    "protocol": {
        "column": "printed column of the run's protocol",
        "editor": "label of the editor",
        "knob": "name of the knob",
        "value": "knob value",
        "better": "higher or lower",
        "metric": "name of the metric that is as published; empty where there is none",
        "mean": "its mean, averaged as published, in printed units",
        "low": "lower end of the 95 % interval",
        "high": "upper end of it",
        "n": "edits in the mean",
        "expected": "edits that should be",
        "reason": "why there is no value, or what the mean lacks",
        "corrected_metric": "name of the metric that is the corrected form; empty where there is none",
        "corrected_mean": "its mean over the same edits, in printed units",
        "corrected_low": "lower end of its 95 % interval",
        "corrected_high": "upper end of it",
    },
    "turns": {
        "editor": "label of the editor",
        "value": "knob value at its operating point",
        "metric": "name of the metric",
        "turn": "turn of a session, from 1",
        "mean": "mean over the sessions that reach it",
        "low": "lower end of the 95 % interval",
        "high": "upper end of it",
        "n": "edits",
        "higher_is_better": "direction of the metric, empty where it has none",
    },
    "judges": {
        "metric": "name of a metric that is judged",
        "truth": "what it is judged by, as a noun phrase",
        "rho": "rank correlation with the truth, the metric turned so that higher is better; -1..1",
        "low": "lower end of its 95 % interval",
        "high": "upper end of it",
        "agreement": "share of pairs of editors that it orders as the truth does, 0..1; NaN where not known",
        "agreement_low": "lower end of its 95 % interval",
        "agreement_high": "upper end of it",
        "n": "number of edits",
        "undefined": "share of the edits for which it gives no number, 0..1",
    },
}
"""Required columns of each frame, in the order of its file, and their meaning. Frames may have more; an empty frame needs none."""


def empty(frame: str) -> pd.DataFrame:
    """A frame without rows and with the columns of ``frame``."""
    return pd.DataFrame({name: [] for name in COLUMNS[frame]})


@dataclass(frozen=True)
class EditRow:
    """What one editor made of one sample under one seed."""

    editor: str
    """Label of the editor."""
    seed: int
    """Run seed of the unit."""
    edits: Sequence[tuple[float, Path]]
    """Knob values with their PNG files. Without any, the reason of the failed unit is shown."""
    extras: Mapping[str, Path] = field(default_factory=dict)
    """Further pictures by name, such as the mask that an editor found."""


@dataclass(frozen=True)
class GalleryRow:
    """One sample of the viewer. Paths lead to PNG files; a file that is not there is shown as missing."""

    sample_id: str
    """Manifest id of the sample."""
    category: str | None
    """Category of the edit, which the page filters by."""
    source_text: str | None
    """Caption of the source."""
    target_text: str
    """Caption of the wanted edit."""
    source: Path
    """The source picture as the editors saw it."""
    truth: Path | None
    """The ground-truth edit."""
    mask: Path | None
    """The manifest's mask, white where the edit is wanted."""
    rows: Sequence[EditRow]
    """One entry per editor and seed."""


@dataclass(frozen=True)
class Plane:
    """The plane in which editors are drawn and compared: what ``curves`` and ``leaderboard`` call its two axes, on which more is better."""

    editability: str
    """The vertical axis: how far an edit does what the text asks."""
    fidelity: str
    """The horizontal axis: how much of the source it keeps."""
    made_of: Mapping[str, str] = field(default_factory=dict)
    """An axis that is no metric of its own, and the metric of which lower is better that it turns round."""

    @property
    def columns(self) -> tuple[str, str]:
        """Editability and fidelity."""
        return self.editability, self.fidelity


@dataclass(frozen=True)
class Statement:
    """One sentence that a reader may quote, with the test that carries it."""

    text: str
    """The sentence, with difference, interval and n."""
    test: str
    """How it was tested, in a phrase: the test, its p value, and for how many comparisons that was corrected."""
    part: str
    """Name of the figure or table that shows it."""


@dataclass(frozen=True)
class ReportData:
    """All that a report shows. The columns of every frame are described in :data:`COLUMNS`."""

    title: str
    """Name of the run."""
    plane: Plane
    """Its axes."""
    pairs: pd.DataFrame = field(default_factory=lambda: empty("pairs"))
    """One row per edit and pair metric; the viewer shows and sorts by them."""
    sets: pd.DataFrame = field(default_factory=lambda: empty("sets"))
    """One row per editor, knob value and set metric."""
    units: pd.DataFrame = field(default_factory=lambda: empty("units"))
    """One row per planned unit; source of the table of failures."""
    samples: pd.DataFrame = field(default_factory=lambda: empty("samples"))
    """One row per manifest sample of the run."""
    curves: pd.DataFrame = field(default_factory=lambda: empty("curves"))
    """One row per editor, knob value and metric; an axis that turns a metric round has rows beside those of the metric."""
    tradeoff: pd.DataFrame = field(default_factory=lambda: empty("tradeoff"))
    """One row per editor and knob value, with both intervals."""
    categories: pd.DataFrame = field(default_factory=lambda: empty("categories"))
    """The same for the samples of each category, anchors too; empty with fewer than two categories."""
    families: pd.DataFrame = field(default_factory=lambda: empty("families"))
    """One row per editor of a method that several editors are."""
    masks: pd.DataFrame = field(default_factory=lambda: empty("masks"))
    """One row per editor that makes its own masks and what they are measured by."""
    leaderboard: pd.DataFrame = field(default_factory=lambda: empty("leaderboard"))
    """One row per editor at its operating point.

    Known columns: ``value`` (operating point of the knob); ``rank``, empty where an editor has none, ``rank_low`` and
    ``rank_high``, the ranks that tests leave open, and ``standing``, what it stands on or why there is none; metrics, each with
    optional ``<name>_low`` and ``<name>_high`` (95 %), ``<name>_n`` (edits in the mean) and ``<name>_best`` (bool, whether the
    editor is the first in it, which is set in bold); fair-play flags ``uses_mask, uses_source_text, uses_truth, clip_in_loop,
    fine_tunes`` (bool), ``candidates`` (int) and ``selector`` (how one candidate is picked); costs ``seconds_per_edit,
    unet_evaluations_per_edit, peak_memory_mb``; counts ``expected, done, failed, scored`` (units). A column of another name is
    shown as it is.
    """
    counts: pd.DataFrame = field(default_factory=lambda: empty("counts"))
    """One row per editor; fills in the counts that the leaderboard lacks and gives the totals in the header."""
    cards: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Fingerprint to the fields of the metric's card."""
    meta: Mapping[str, str] = field(default_factory=dict)
    """Header lines in order: date, model, manifest, manifest_hash... Keys that begin with ``environment.`` are folded away."""
    gallery: Sequence[GalleryRow] = ()
    """Samples to show, in order."""
    statements: Sequence[Statement] = ()
    """What the run shows, most important first: the first screen of the page."""
    methods: str = ""
    """A paragraph for a paper: data, editors, metrics with their cards, counts, statistics, environment."""
    references: str = ""
    """BibTeX of the editors and metrics used."""
    width: float = WIDTH
    """Of figures, in inches."""
    warnings: Sequence[str] = ()
    """Sentences the reader must see before the figures."""
    interval: str = "95 % interval clustered by source image"
    """What the bands and brackets show, as a noun phrase."""
    set_interval: str = ""
    """The same for set metrics; empty where they have none."""
    differences: pd.DataFrame = field(default_factory=lambda: empty("differences"))
    """One row per metric and pair of editors."""
    powerless: Sequence[str] = ()
    """Sentences that name the tests that could prove nothing, so few are the pictures."""
    hypervolumes: pd.DataFrame = field(default_factory=lambda: empty("hypervolumes"))
    """One row per editor: its whole curve as one number."""
    gains: pd.DataFrame = field(default_factory=lambda: empty("gains"))
    """One row per pair of editors: their curves at equal fidelity."""
    attainment: pd.DataFrame = field(default_factory=lambda: empty("attainment"))
    """One row per editor and fidelity, fidelities ascending."""
    seeds: pd.DataFrame = field(default_factory=lambda: empty("seeds"))
    """One row per editor and metric, where a run has several seeds."""
    protocol: pd.DataFrame = field(default_factory=lambda: empty("protocol"))
    """One row per printed column, editor and knob value, where the run follows a published protocol."""
    protocol_note: str = ""
    """Which protocol that is, where published and corrected form part, and where the run departs from it, in one sentence."""
    turns: pd.DataFrame = field(default_factory=lambda: empty("turns"))
    """One row per editor, metric and turn, where samples are turns of sessions."""
    own_chain: bool = False
    """Whether later turns were made from the editor's own pictures."""
    judges: pd.DataFrame = field(default_factory=lambda: empty("judges"))
    """One row per metric and truth. A page of judges alone leaves out what belongs to a run."""
    judges_note: str = ""
    """What the judges were tried on and what their intervals mean, a sentence or more."""

    @property
    def judges_only(self) -> bool:
        """Whether there are judges and nothing of a run."""
        return len(self.judges) > 0 and not any(len(part) for part in (self.curves, self.leaderboard, self.units, self.gallery))

    def checked(self) -> ReportData:
        """The same data in which every frame has its columns: an empty frame gets them.

        Raises :class:`ReportError` when a frame that has rows lacks a required column.
        """
        filled: dict[str, Any] = {}
        for name, columns in COLUMNS.items():
            frame = getattr(self, name)
            lacking = [column for column in columns if column not in frame.columns]
            if lacking and len(frame):
                raise ReportError(
                    f"report frame {name!r} lacks column {', '.join(lacking)}; "
                    f"expected {', '.join(columns)}, got {', '.join(map(str, frame.columns))}"
                )
            if lacking:
                filled[name] = empty(name)
        return replace(self, **filled)
