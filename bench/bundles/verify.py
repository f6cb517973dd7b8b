"""What of a bundle can be believed: everything that can be checked from what is in it and what is here, and what cannot.

A run agrees with itself where files are as listed, records are of the plan's units, cards hash to their fingerprints, and scores are of
the recorded pictures. Whether the scores are true is found out by scoring edits again, those of units that are drawn by chance: who packs
a bundle does not know which. That the named editor made the edits no bundle can prove.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench import registry
from bench.bundles.opened import Bundle, BundledRun, opened
from bench.errors import EtabenchError, RegistryError, RunError, ScoreError, message_of
from bench.progress import Progress, silent
from bench.scoring import Scores, read_scores, score_run
from bench.scoring.tables import PAIR_COLUMNS, frame, read_failed

if TYPE_CHECKING:
    import pandas as pd

    from bench.plan import Plan

__all__ = ["Check", "Draw", "Verification", "flaws_of_scores", "verify"]

Verdict = Literal["agrees", "contradicts", "unchecked"]
TOLERANCE = 1e-3
"""Of the larger value or of a tenth, whichever is more: what another device or another build of a library moves a score by."""
ABOUT = ("bounds", "binary", "spatial", "doubt", "texts", "texts_cut")
"""Fields of a stored card that are no part of its fingerprint."""
SHOWN, SHOWN_LETTERS = 5, 200


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    what: str
    verdict: Verdict
    said: str


@dataclass(frozen=True)
class Draw:
    """How many units are drawn, by what seed, and where their edits are scored."""

    units: int
    seed: int
    device: str
    progress: Progress


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
    """Check a bundle, scoring the edits of so many `units` again; `draw` is the seed by which they are chosen, by default any.

    Runs no code that the bundle names. Raises BundleError for what is no bundle, or none that may be opened.
    """
    drawn = Draw(units, random.SystemRandom().randrange(2**32) if draw is None else draw, device, progress)
    with opened(path) as bundle:
        checks, axes = [_files(bundle)], ("", "")
        try:
            spec = bundle.run.spec
        except RunError as error:
            checks.append(Check("spec", "unchecked", _without_folder(message_of(error), bundle)))
            return Verification(checks, axes, drawn.seed)
        try:
            axes = (spec.axes.editability, spec.axes.fidelity)
            checks += _about_the_run(bundle)
            scores = read_scores(bundle.run, pictures=bundle.listing.pictures)
            checks += _about_the_scores(bundle, scores)
            checks += _recomputed(bundle, scores, drawn)
        except (RunError, ScoreError) as error:
            checks.append(Check("the run", "contradicts", _without_folder(message_of(error), bundle)))
    return Verification([*checks, Check("who made the edits", "unchecked", "no bundle can prove it")], axes, drawn.seed)


def _files(bundle: Bundle) -> Check:
    if bundle.flaws:
        return Check("files", "contradicts", _some(bundle.flaws))
    return Check("files", "agrees", f"{len(bundle.listing.files)} files as listed by {bundle.listing.made_by[:40]}")


def _about_the_run(bundle: Bundle) -> Iterator[Check]:
    run, plan = bundle.run, bundle.run.plan
    flaws = list(_flaws_of_plan(bundle))
    yield Check("plan", "contradicts" if flaws else "agrees", _some(flaws) or f"{len(plan.units)} units as the spec asks for")
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
        return Check("samples", "contradicts", _without_folder(message_of(error), bundle))
    said = "" if bundle.listing.pictures else ", by their digests"
    return Check("samples", "agrees", f"{len(plan.samples)} of {name}{said}")


def _about_the_scores(bundle: Bundle, scores: Scores) -> Iterator[Check]:
    from metrics.card import PROSE, fingerprint

    hashed = {print_: {k: v for k, v in card.items() if k not in (*PROSE, *ABOUT)} for print_, card in scores.cards.items()}
    wrong = [str(scores.cards[print_]["name"]) for print_, fields in hashed.items() if fingerprint(fields) != print_]
    said = _some(wrong) or f"{len(hashed)} fingerprints are those of their cards"
    yield Check("cards", "contradicts" if wrong else "agrees", said)
    flaws = list(flaws_of_scores(bundle.run.plan, scores))
    number = f"{len(scores.pairs)} of edits, {len(scores.sets)} of sets"
    yield Check("scores", "contradicts" if flaws else "agrees", _some(flaws) or f"{number}, of the recorded pictures")
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


def _recomputed(bundle: Bundle, scores: Scores, draw: Draw) -> Iterator[Check]:
    """Each metric of the tables, with what scoring drawn units again says of it."""
    for metric in dict.fromkeys(scores.sets["metric"]):
        yield Check(f"scores by {metric}", "unchecked", "it is of whole sets of edits, and only some edits are scored again")
    columns = {str(name): rows for name, rows in scores.pairs.groupby("metric", sort=False)}
    if not bundle.listing.pictures:
        for metric in columns:
            yield Check(f"scores by {metric}", "unchecked", "there are no pictures to score")
        return
    again, reasons = _again(bundle, draw)
    for metric, rows in columns.items():
        own = again[again["fingerprint"] == str(rows["fingerprint"].iloc[0])]
        if len(own):
            yield _held_against(metric, rows, own)
        else:
            other = "here it has another fingerprint" if metric in set(again["metric"]) else "it is code, which is not run"
            yield Check(f"scores by {metric}", "unchecked", _without_folder(reasons.get(metric, other), bundle))


def _again(bundle: Bundle, draw: Draw) -> tuple[pd.DataFrame, dict[str, str]]:
    """Fresh scores of the edits of drawn units by the registered metrics of edits; and why there are none of a metric."""
    run, spec = bundle.run, bundle.run.spec
    own = [item for item in spec.metrics if item.name in registry.metrics() and _is_of_edits(item.name)]
    done = [unit for unit in run.plan.units if (record := run.record(unit.key)) is not None and record.edits]
    drawn = random.Random(draw.seed).sample(done, min(draw.units, len(done)))
    fresh = BundledRun(run.path / "again")
    for folder in ("units", "samples"):
        (run.path / folder).mkdir(exist_ok=True)
        fresh.path.mkdir(exist_ok=True)
        (run.path / folder).rename(fresh.path / folder)
    fresh.__dict__["plan"] = replace(run.plan, units=tuple(drawn))
    fresh.__dict__["spec"] = spec.model_copy(update={"metrics": own, "axes": type(spec.axes)()})
    try:
        return score_run(fresh, device=draw.device, progress=draw.progress).pairs, read_failed(fresh)
    except EtabenchError as error:
        reasons = dict.fromkeys((item.name for item in own), message_of(error)) | read_failed(fresh)
        return frame([], PAIR_COLUMNS), reasons


def _is_of_edits(name: str) -> bool:
    """Whether a registered metric scores edits one by one, and can be imported here."""
    from metrics.base import PairMetric

    with suppress(RegistryError):
        return issubclass(registry.load_metric(name), PairMetric)
    return False


def _held_against(metric: str, stated: pd.DataFrame, again: pd.DataFrame) -> Check:
    """Stated scores beside fresh ones of the same edits."""
    both = again.merge(stated, on=["unit", "value"], how="left", suffixes=("", "_stated"), indicator=True)
    lacking = int((both["_merge"] == "left_only").sum())
    mine, theirs = both["score"].to_numpy(dtype=np.float64), both["score_stated"].to_numpy(dtype=np.float64)
    most = TOLERANCE * np.maximum(np.fmax(np.abs(mine), np.abs(theirs)), 0.1)
    same = (np.abs(mine - theirs) <= most) | (np.isnan(mine) & np.isnan(theirs)) | (mine == theirs)
    wrong = int((~same).sum())
    if not wrong:
        return Check(f"scores by {metric}", "agrees", f"{len(both)} of {len(stated)} recomputed")
    worst = both.iloc[int(np.argmax(np.where(same, -1.0, np.nan_to_num(np.abs(mine - theirs), nan=np.inf))))]
    place = f"{worst['editor']} at {worst['value']:g} on {worst['sample_id']}"
    told = f"is {worst['score']:.6g} and not {worst['score_stated']:.6g}"
    more = f", {lacking} of them not stated at all" if lacking else ""
    return Check(
        f"scores by {metric}", "contradicts", f"{wrong} of {len(both)} recomputed differ{more}: {place[:SHOWN_LETTERS]} {told}"
    )


def _some(flaws: Sequence[str]) -> str:
    more = f" and {len(flaws) - SHOWN} more" if len(flaws) > SHOWN else ""
    return "; ".join(flaws[:SHOWN]) + more


def _without_folder(text: str, bundle: Bundle) -> str:
    """A message that names files of the bundle as they are called in it."""
    return text.replace(f"{bundle.run.path}/", "").replace(str(bundle.run.path), "the bundle")
