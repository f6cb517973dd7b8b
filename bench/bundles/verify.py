"""What of a bundle can be believed: everything that can be checked from what is in it and what is here, and what cannot.

A run agrees with itself where files are as listed, records are of the plan's units, cards hash to their fingerprints, and scores are of
the recorded pictures. Whether the scores are true is found out by scoring again (`bench.bundles.recompute`). That the named editor made the
edits no bundle can prove.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.bundles.checks import TOLERANCE, Check, some, without_folder
from bench.bundles.opened import Bundle, opened
from bench.bundles.recompute import Draw, recomputed
from bench.errors import EtabenchError, RunError, ScoreError, message_of
from bench.progress import Progress, silent
from bench.scoring import Scores, read_scores

if TYPE_CHECKING:
    from bench.plan import Plan

__all__ = ["Verification", "flaws_of_scores", "verify"]

ABOUT = ("bounds", "binary", "spatial", "doubt", "texts", "texts_cut")
"""Fields of a stored card that are no part of its fingerprint."""


@dataclass(frozen=True)
class Verification:
    """All checks of a bundle; `axes` names the two metrics that it is ranked by, `draw` what draws the same units again."""

    checks: Sequence[Check]
    axes: tuple[str, str]
    draw: int

    @property
    def exit_code(self) -> int:
        """1 where anything contradicts; 0 where the scores on both axes were recomputed and agree; else 2."""
        verdicts = {check.what: check.verdict for check in self.checks}
        if "contradicts" in verdicts.values():
            return 1
        return 0 if all(verdicts.get(f"scores by {axis}") == "agrees" for axis in self.axes) else 2


def verify(
    path: Path, *, units: int = 16, draw: int | None = None, device: str = "auto", progress: Progress = silent
) -> Verification:
    """Check a bundle, scoring the edits of so many `units`, and some sets, again; `draw` is the seed by which they are chosen, by default any.

    Runs no code that the bundle names. Raises BundleError for what is no bundle, or none that may be opened.
    """
    drawn = Draw(units, random.SystemRandom().randrange(2**32) if draw is None else draw, device, progress)
    with opened(path) as bundle:
        checks, axes = [_files(bundle)], ("", "")
        try:
            spec = bundle.run.spec
        except RunError as error:
            checks.append(Check("spec", "unchecked", without_folder(message_of(error), bundle)))
            return Verification(checks, axes, drawn.seed)
        try:
            axes = (spec.axes.editability, spec.axes.fidelity)
            checks += _about_the_run(bundle)
            scores = read_scores(bundle.run, pictures=bundle.listing.pictures)
            checks += _about_the_scores(bundle, scores)
            checks += recomputed(bundle, scores, drawn)
        except (RunError, ScoreError) as error:
            checks.append(Check("the run", "contradicts", without_folder(message_of(error), bundle)))
    return Verification([*checks, Check("who made the edits", "unchecked", "no bundle can prove it")], axes, drawn.seed)


def _files(bundle: Bundle) -> Check:
    if bundle.flaws:
        return Check("files", "contradicts", some(bundle.flaws))
    return Check("files", "agrees", f"{len(bundle.listing.files)} files as listed by {bundle.listing.made_by[:40]}")


def _about_the_run(bundle: Bundle) -> Iterator[Check]:
    run, plan = bundle.run, bundle.run.plan
    flaws = list(_flaws_of_plan(bundle))
    yield Check("plan", "contradicts" if flaws else "agrees", some(flaws) or f"{len(plan.units)} units as the spec asks for")
    records = {unit.key: (unit, record) for unit in plan.units if (record := run.record(unit.key)) is not None}
    listed = sum(name.endswith("record.json") for name in bundle.listing.files)
    wrong = [key for key, (unit, record) in records.items() if record.identity != unit.identity]
    if wrong or listed > len(records):
        yield Check("records", "contradicts", f"{len(wrong) + listed - len(records)} are not of a unit of the plan, or damaged")
    else:
        failed = sum(record.status == "failed" for _, record in records.values())
        lacking = len(plan.units) - len(records)
        yield Check("records", "agrees", f"{len(records)} units, {failed} of them failed; {lacking} have none")
    yield _samples(bundle, plan)


def _flaws_of_plan(bundle: Bundle) -> Iterator[str]:
    """What the spec asks for and the plan has not, or the other way round."""
    spec, plan, head = bundle.run.spec, bundle.run.plan, bundle.run.head
    wanted = [item.label for item in spec.editors] + [
        name for name in spec.anchors if name not in {e.label for e in spec.editors}
    ]
    if [entry.label for entry in plan.entries] != wanted:
        yield "other editors"
    if plan.dtype != spec.dtype or plan.first_seed != min(spec.seeds) or plan.manifest_hash != head.content_hash:
        yield "another dtype, seed or manifest"
    if unknown := {sample.id for sample in plan.samples} - set(head.ids):
        yield f"{len(unknown)} samples that the manifest has not"
    number = len(head.ids) if spec.limit is None else min(spec.limit, len(head.ids))
    if spec.samples is None and [sample.id for sample in plan.samples] != list(head.ids[:number]):
        yield f"not the first {number} samples"
    seeds = {index: {plan.first_seed} if entry.deterministic else set(spec.seeds) for index, entry in enumerate(plan.entries)}
    all_ = {(e, s, seed) for e, own in seeds.items() for s in range(len(plan.samples)) for seed in own}
    planned = Counter((unit.entry, unit.sample, unit.seed) for unit in plan.units)
    if planned.keys() != all_ or planned.total() != len(all_):
        yield "not one unit for every editor, sample and seed"


def _samples(bundle: Bundle, plan: Plan) -> Check:
    """Whether the samples are those of a manifest that comes with this package, the only kind that a stranger's spec may open."""
    from bench.manifest import open_manifest

    name = bundle.run.spec.manifest.name
    if name is None:
        return Check("samples", "unchecked", "their manifest does not come with this package, and no other is opened")
    try:
        manifest = open_manifest(bundle.run.spec.manifest, plan.resolution, partial=bundle.run.spec.partial)
        if manifest.content_hash != plan.manifest_hash:
            return Check("samples", "unchecked", f"{name} is another here")
        for info in plan.samples:
            own = manifest.load(manifest.index(info.id))
            if (own.digest, own.source_id, own.category) != (info.digest, info.source_id, info.category):
                return Check("samples", "contradicts", f"{info.id} is not that of {name}")
            if bundle.listing.pictures and not np.array_equal(bundle.run.sample(info).image, own.image):
                return Check("samples", "contradicts", f"the picture of {info.id} is not that of {name}")
    except EtabenchError as error:
        return Check("samples", "contradicts", without_folder(message_of(error), bundle))
    said = "" if bundle.listing.pictures else ", by their digests"
    return Check("samples", "agrees", f"{len(plan.samples)} of {name}{said}")


def _about_the_scores(bundle: Bundle, scores: Scores) -> Iterator[Check]:
    from metrics.card import PROSE, fingerprint

    hashed = {print_: {k: v for k, v in card.items() if k not in (*PROSE, *ABOUT)} for print_, card in scores.cards.items()}
    wrong = [str(scores.cards[print_]["name"]) for print_, fields in hashed.items() if fingerprint(fields) != print_]
    said = some(wrong) or f"{len(hashed)} fingerprints are those of their cards"
    yield Check("cards", "contradicts" if wrong else "agrees", said)
    flaws = list(flaws_of_scores(bundle.run.plan, scores))
    number = f"{len(scores.pairs)} of edits, {len(scores.sets)} of sets"
    yield Check("scores", "contradicts" if flaws else "agrees", some(flaws) or f"{number}, of the recorded pictures")
    if not bundle.listing.pictures:
        yield Check("pictures", "unchecked", "they are not in the bundle; pack it with --pictures")
    else:
        yield Check("pictures", "agrees", "every edit is there, as its record has it")


def flaws_of_scores(plan: Plan, scores: Scores) -> Iterator[str]:
    """Why the scores are not those of the plan's edits by their metrics, a phrase each."""
    if scores.stale:
        yield f"{scores.stale} are of other pictures than the records name"
    about = {(entry.label, value) for entry in plan.entries for value in entry.values}
    samples = {sample.id: (sample.source_id, sample.category) for sample in plan.samples}
    keys = {unit.key: (plan.entries[unit.entry].label, plan.samples[unit.sample].id, unit.seed) for unit in plan.units}
    names = ("unit", "editor", "sample_id", "seed", "source_id", "category", "value")
    for unit, editor, sample, seed, source, category, value in scores.pairs[list(names)].itertuples(index=False):
        told = (editor, sample, seed) == keys[unit] and (source, category or None) == samples[sample] and (editor, value) in about
        if not told:
            yield f"a score of {editor} is filed under another sample, seed or category"
            break
    for metric, rows in scores.pairs.groupby("metric"):
        card = scores.cards[str(rows["fingerprint"].iloc[0])]
        low, high = (end if end is not None else sign * np.inf for end, sign in zip(card["bounds"], (-1, 1), strict=True))
        outside = rows["score"].dropna()
        if not outside.between(low - TOLERANCE, high + TOLERANCE).all():
            yield f"{metric} has scores outside of {low:g} to {high:g}"
        if rows.duplicated(["unit", "value"]).any():
            yield f"{metric} has two scores of one edit"
