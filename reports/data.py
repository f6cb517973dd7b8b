"""What a report is made of. Statistics are made by the caller: this package draws numbers and computes none but the knob zone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from reports.frames import COLUMNS, empty
from reports.style import WIDTH

__all__ = ["EditRow", "GalleryRow", "Heat", "Plane", "ReportData", "ReportError", "Statement"]


class ReportError(Exception):
    """A frame cannot be drawn as it is; the message names the frame and the column."""


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
    maps: Mapping[float, Path] = field(default_factory=dict)
    """PNG files in 8 bits of grey that say where the score of an edit comes from, by knob value; see :class:`Heat`."""


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
class Heat:
    """What the maps of edits are of, or why there are none."""

    metric: str = ""
    """Title of the metric whose score is the mean of a map; empty where there are no maps."""
    half: float = 1.0
    """The value of middle grey: grey g of 0..1 stands for ``half * g / (1 - g)``, in all maps alike."""
    why: str = ""
    """Why there are none."""


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
    """All that a report shows. The columns of every frame are described in :data:`reports.frames.COLUMNS`."""

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
    ``rank_high``, the ranks that tests leave open, ``rank_at_worst``, the rank where what an editor lacks counts as worst, and
    ``standing``, what a rank stands on or why there is none; metrics, each with
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
    heat: Heat = Heat()
    """Of the maps in ``gallery``."""
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
