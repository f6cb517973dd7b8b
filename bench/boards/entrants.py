"""The runs of a leaderboard as they are read: folders and bundles, whose code is not run and whose files stay as they are."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.analysis.summary import records_by_unit
from bench.bundles.opened import is_bundle, opened
from bench.bundles.verify import flaws_of_scores
from bench.errors import BoardError, BundleError
from bench.plan import Plan
from bench.scoring import Scores, read_scores
from bench.scoring.axes import Axes
from bench.store import Record, Run

if TYPE_CHECKING:
    from bench.spec import AxesSpec

__all__ = ["Entrant", "read_entrants"]

LONGEST = 80
"""Letters of a device's name."""


@dataclass(frozen=True)
class Entrant:
    """A scored run on its way to a board.

    name: what the run is called there, unlike any other.  manifest: name of its manifest.  device: on what it was made, in words.
    digest: 16 hex over its scores, by which another board knows it.  page: its report, where it has one.
    """

    name: str
    place: Path
    plan: Plan
    scores: Scores
    records: Mapping[str, Record]
    named: AxesSpec
    seeds: tuple[int, ...]
    manifest: str
    model: str
    device: str
    page: Path | None

    @property
    def axes(self) -> Axes:
        """The axes that its spec names, as its scores have them."""
        return Axes.of(self.named, self.scores)

    @property
    def digest(self) -> str:
        rows = self.scores.pairs[["unit", "value", "metric", "fingerprint", "inputs", "score"]].sort_values(
            ["unit", "value", "metric"]
        )
        sets = self.scores.sets[["editor", "value", "metric", "fingerprint", "inputs", "score"]]
        made = sorted((key, record.status) for key, record in self.records.items())
        text = f"{made}{rows.to_csv(index=False)}{sets.to_csv(index=False)}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_entrants(paths: Sequence[Path]) -> list[Entrant]:
    """The runs at `paths`, run folders and bundles, in this order; two of one name are called by their folders too.

    Raises RunError, ScoreError and BundleError for what cannot be read, BoardError for a run that is there twice or has no scores.
    """
    places = Counter(path.resolve() for path in paths)
    if twice := next((place for place, count in places.items() if count > 1), None):
        raise BoardError(f"{twice} is given twice; name every run once")
    found = [_read(path) for path in paths]
    names = Counter(entrant.name for entrant in found)
    found = [replace(each, name=f"{each.name} in {each.place.stem}") if names[each.name] > 1 else each for each in found]
    if same := next((name for name, count in Counter(each.name for each in found).items() if count > 1), ""):
        raise BoardError(f"two runs are called {same}; give their folders or bundles other names")
    return found


def _read(path: Path) -> Entrant:
    if not is_bundle(path):
        return _entrant(Run.open(path), path, pictures=True)
    with opened(path, pictures=False) as bundle:
        if bundle.flaws:
            raise BundleError(f"{path}: {bundle.flaws[0]}; `etabench verify {path}` says more")
        return _entrant(bundle.run, path, pictures=False)


def _entrant(run: Run, place: Path, *, pictures: bool) -> Entrant:
    scores, plan, spec = read_scores(run, pictures=pictures), run.plan, run.spec
    if not len(scores.pairs) and not len(scores.sets):
        raise BoardError(f"{place} has no scores; score it first")
    if flaw := next(flaws_of_scores(plan, scores), ""):
        raise BoardError(f"{place}: {flaw}; score it again")
    page = run.report / "index.html"
    model = (spec.model.name or spec.model.hub or Path(spec.model.path or "").name) if spec.model else ""
    return Entrant(
        name=spec.name,
        place=place,
        plan=plan,
        scores=scores,
        records=records_by_unit(run, plan),
        named=spec.axes,
        seeds=tuple(sorted(spec.seeds)),
        manifest=run.head.name,
        model=f"{model} ({plan.model[:12]})" if plan.model else "",
        device=_device(run.read("environment.json", dict[str, Any])),
        page=page if page.is_file() else None,
    )


def _device(about: Mapping[str, Any]) -> str:
    accelerator = about.get("accelerator")
    if isinstance(accelerator, Mapping) and accelerator.get("name"):
        return str(accelerator["name"])[:LONGEST]
    cores, platform = about.get("cpu_count"), str(about.get("platform", ""))
    machine = next((word for word in ("x86_64", "aarch64", "arm64") if word in platform), platform)
    return f"{about.get('device', '')}, {cores} cores {machine}"[:LONGEST]
