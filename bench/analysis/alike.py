"""What two runs must have in common to be compared, and what else is other about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.analysis.baseline import Measured, fingerprints
from bench.errors import RunError
from bench.plan import Plan, SampleInfo
from bench.scoring import Scores
from bench.store import Run

__all__ = ["alone", "common_samples", "directions", "same_numbers", "settings"]

NAMED = 5
"""Names of a kind that a message holds; the rest are counted."""


def same_numbers(first: Run, second: Run, one: Scores, two: Scores) -> list[str]:
    """Which set metrics are not the same number in both, with what differs, such as the reference that goes with the samples.

    Raises RunError where the manifests are others, or a pair metric that both have is not the same number, and says what differs.
    """
    if first.plan.manifest_hash != second.plan.manifest_hash:
        counts = second.plan.changes(first.plan)
        words = ", ".join(f"{number} {word}" for word, number in counts.items()) or "no sample that both have differs"
        names = f"{first.head.name} ({first.plan.manifest_hash[:12]}) and {second.head.name} ({second.plan.manifest_hash[:12]})"
        raise RunError(f"{first.path} and {second.path} are of two manifests, {names}: of the samples {words}; run both on one")
    ours, theirs, edits = fingerprints(one), fingerprints(two), set(one.pairs["metric"])
    others = sorted(metric for metric in ours.keys() & theirs.keys() if ours[metric] != theirs[metric])
    told = {metric: _differing(one.cards.get(ours[metric], {}), two.cards.get(theirs[metric], {})) for metric in others}
    if of_edits := [f"{metric} ({what})" for metric, what in told.items() if metric in edits]:
        what = "; ".join(of_edits)
        raise RunError(f"{first.path} and {second.path} have metrics that are not the same numbers: {what}; score both alike")
    return [f"{metric} is not the same number in both and not compared ({what})" for metric, what in told.items()]


def common_samples(first: Plan, second: Plan) -> list[SampleInfo]:
    """The samples that both plans have, in the order of the first. Raises RunError where there are none."""
    known = {sample.id: sample.digest for sample in second.samples}
    found = [sample for sample in first.samples if known.get(sample.id) == sample.digest]
    if not found:
        raise RunError(f"the runs have no sample in common: of {len(first.samples)} and {len(second.samples)} none is in both")
    return found


def directions(one: Scores, two: Scores) -> dict[str, float | None]:
    """By metric that both have 1 where higher is better, -1 where lower is, None where neither."""
    signs = {None: None, True: 1.0, False: -1.0}
    both = fingerprints(one).items() & fingerprints(two).items()
    return {metric: signs[one.cards[print_]["higher_is_better"]] for metric, print_ in both}


def settings(first: Run, second: Run, found: Sequence[Measured]) -> tuple[str, ...]:
    """What was other about the runs: model, resolution, seeds, device, editors' versions and parameters, packages."""
    one, two = first.plan, second.plan
    pairs = {
        "model": (one.model[:12] or "none", two.model[:12] or "none"),
        "resolution": (one.resolution, two.resolution),
        "seeds": tuple(", ".join(map(str, each.seeds)) for each in found),
        "device": tuple(each.device for each in found),
    }
    theirs = {entry.label: entry for entry in two.entries}
    for entry in one.entries:
        if (other := theirs.get(entry.label)) is not None:
            pairs |= {
                f"{entry.label}: editor": (entry.name, other.name),
                f"{entry.label}: version": (entry.version, other.version),
            }
            pairs |= dict(_apart(f"{entry.label}: ", entry.hashed_params, other.hashed_params))
    pairs |= dict(_apart("", found[0].packages, found[1].packages))
    return tuple(f"{name} {a} → {b}" for name, (a, b) in pairs.items() if a != b)


def alone(first: Run, second: Run, found: Sequence[Measured]) -> tuple[str, ...]:
    """What only one of the runs has: samples, metrics, editors, and knob values of editors that both have."""
    said = []
    pairs = ((first, found[0], second, found[1]), (second, found[1], first, found[0]))
    for run, own, other, theirs in pairs:
        known = {sample.id for sample in other.plan.samples}
        lists = {"samples": [sample.id for sample in run.plan.samples if sample.id not in known]}
        (metrics, editors), (metrics_, editors_) = (_parts(each) for each in (own, theirs))
        lists |= {"metrics": [name for name in metrics if name not in metrics_]}
        lists |= {"editors": [name for name in editors if name not in editors_]}
        lists |= {
            f"{name} at": [f"{value:g}" for value in values if value not in editors_[name]]
            for name, values in editors.items()
            if name in editors_
        }
        said += [f"only {run.path} has {what} {_some(names)}" for what, names in lists.items() if names]
    return tuple(said)


def _parts(found: Measured) -> tuple[dict[str, None], dict[str, dict[float, None]]]:
    """Its metrics, and its editors with their knob values, in order."""
    editors: dict[str, dict[float, None]] = {}
    keys = (*found.pairs, *found.sets)
    for editor, value, _ in keys:
        editors.setdefault(editor, {})[value] = None
    return dict.fromkeys(metric for _, _, metric in keys), editors


def _differing(card: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The fields in which two cards differ; of those that have parts, the parts."""
    told = []
    for name, (a, b) in _apart("", card, other):
        if a != b:
            parts = dict(_apart(f"{name}.", a, b)) if isinstance(a, Mapping) and isinstance(b, Mapping) else {name: (a, b)}
            told += [f"{part} {old} and {new}" for part, (old, new) in parts.items() if old != new]
    return _some(told)


def _apart(prefix: str, one: Mapping[str, Any], two: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for name in dict.fromkeys((*one, *two)):
        yield f"{prefix}{name}", (one.get(name, "none"), two.get(name, "none"))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"
