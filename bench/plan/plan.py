"""Spec x manifest -> units: what a run consists of, before anything is computed.

A unit is one (sample, editor with its parameters, model, seed) and yields one edit per knob value. Its key hashes what determines
the result and nothing else, so that a changed spec reuses every unit it shares with the old one.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.errors import SpecError
from bench.manifest.pictures import pixel_hash
from bench.manifest.reference import NoRealPicture, RealPictures
from bench.plan.chain import Chain
from bench.plan.entries import Entry, resolve_entries
from bench.suggest import did_you_mean
from bench.toybox import embedded

if TYPE_CHECKING:
    from bench.manifest import Manifest, Sample
    from bench.spec import Spec

__all__ = ["Plan", "SampleInfo", "Unit", "make_plan", "unit_seed"]


OF_UNITS = (
    *("description", "manifest", "limit", "samples", "model", "device", "seeds", "editors", "anchors"),
    *("compile", "channels_last", "batch", "max_batch"),
    *("on_error", "retry", "unit_seconds"),
)
"""Keys of a spec that are told by the units or change no number."""


@dataclass(frozen=True)
class SampleInfo:
    """What tables and reports need of a sample without opening its pictures."""

    id: str
    row: int
    digest: str
    source_id: str
    target_text: str
    source_text: str | None
    source_class: str | None
    target_class: str | None
    category: str | None
    has_mask: bool
    has_truth: bool
    instruction: str | None = None
    previous: str | None = None
    provenance: dict[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Unit:
    """The grain of work: `entry` and `sample` index the plan; `missing` names inputs the editor needs and the sample lacks.

    A turn of a session that is edited from the editor's own pictures has in its identity, as `before`, the key of the unit that makes
    these; a first turn has not, and is the unit that it is without a chain.
    """

    key: str
    entry: int
    sample: int
    seed: int
    identity: dict[str, Any]
    missing: tuple[str, ...] = ()

    @property
    def before(self) -> str:
        """Key of the unit whose pictures this one edits; empty where it edits its sample's."""
        return str(self.identity.get("before", ""))

    @classmethod
    def of(cls, entry: int, sample: int, identity: dict[str, Any], missing: tuple[str, ...] = ()) -> Unit:
        """The unit with the key that its identity gives: 24 hex of the SHA-256 of canonical JSON."""
        canonical = json.dumps(identity, sort_keys=True, allow_nan=False)
        return cls(hashlib.sha256(canonical.encode()).hexdigest()[:24], entry, sample, identity["seed"], identity, missing)


@dataclass(frozen=True)
class Plan:
    """All units of a run, in the order in which they are worked on: sample by sample, so that a partial run compares editors.

    `first_seed` is the smallest seed: the one that deterministic editors, set metrics and galleries use. `hub` says where `model` and
    `manifest` are from, `owner/name@commit`, as far as it is the hub; `pins` are the commits that branches and tags were found at.
    """

    manifest_hash: str
    model: str
    resolution: int | None
    dtype: str
    first_seed: int
    entries: tuple[Entry, ...]
    samples: tuple[SampleInfo, ...]
    units: tuple[Unit, ...] = field(repr=False)
    hub: dict[str, str] = field(default_factory=dict)
    pins: dict[str, str] = field(default_factory=dict)

    @property
    def edits(self) -> int:
        """Number of images the plan yields."""
        return sum(len(self.entries[unit.entry].values) for unit in self.units)

    @cached_property
    def turns(self) -> dict[str, int]:
        """Sample id to its turn, from 1; 1 for all samples where there are no sessions."""
        found: dict[str, int] = {}
        for sample in self.samples:
            found[sample.id] = 1 + found.get(sample.previous or "", 0)
        return found

    def origins(self, unit: Unit) -> dict[str, str]:
        """Where on the hub all that a unit reads is from, `owner/name@commit` by role; empty where nothing is."""
        entry = self.entries[unit.entry]
        ours = {role: place for role, place in self.hub.items() if role != "model" or entry.needs_model}
        return ours | entry.hub

    def digest(self, spec: Spec) -> str:
        """16 hex that commands share which work on the same thing: the units, and what the spec makes of their edits."""
        rest = {name: value for name, value in spec.resolved().items() if name not in OF_UNITS}
        canonical = json.dumps([[unit.key for unit in self.units], rest], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def changes(self, before: Plan) -> dict[str, int]:
        """How many samples are `new`, have `changed` or are `gone` since the plan `before`; only what is not 0."""
        old, now = ({sample.id: sample.digest for sample in plan.samples} for plan in (before, self))
        found = {
            "new": len(now.keys() - old.keys()),
            "changed": sum(now[name] != old[name] for name in now.keys() & old.keys()),
            "gone": len(old.keys() - now.keys()),
        }
        return {word: number for word, number in found.items() if number}

    def as_dict(self) -> dict[str, Any]:
        """The content of `plan.json`, which `Run.plan` reads back."""
        return asdict(self)


def make_plan(
    spec: Spec, manifest: Manifest, *, model: str, resolution: int | None, pins: Mapping[str, str] | None = None
) -> Plan:
    """The plan of `spec` over `manifest`, with `model` the digest of the weights and `pins` as `bench.plan.pins` gives them beside the
    spec. Reads the selected samples one after another and keeps none of their pictures.

    Raises SpecError for editors, presets, parameters, knob values and sample ids that do not exist, RegistryError for metrics.
    """
    entries = resolve_entries(spec)
    _check_metrics(spec)
    _check_axes(spec)
    hub = _origins(spec)
    first = min(spec.seeds)
    about = [
        _about(entry, {"model": model, "resolution": resolution, "dtype": spec.dtype}, _kernels(spec), hub) for entry in entries
    ]
    real = RealPictures(spec.reference, manifest, resolution)
    infos: list[SampleInfo] = []
    units: list[Unit] = []
    chain = Chain(spec, manifest, entries)
    for position, row in enumerate(_rows(spec, manifest)):
        sample = manifest.load(row)
        infos.append(_info(sample))
        for index, entry in enumerate(entries):
            for seed in [first] if entry.deterministic else spec.seeds:
                identity, missing = _identified(entry, sample, seed, about[index], real)
                unit = Unit.of(index, position, identity | chain.before(sample, index, seed), missing)
                chain.note(sample, index, seed, unit.key)
                units.append(unit)
    parts = (tuple(entries), tuple(infos), tuple(units))
    return Plan(manifest.content_hash, model, resolution, spec.dtype, first, *parts, hub=hub, pins=dict(pins or {}))


def unit_seed(seed: int, sample_id: str, editor: str) -> int:
    """The 63-bit seed of a unit's noise. Knob values are no part of it: they share noise, so that a curve is one family."""
    mixed = hashlib.sha256(json.dumps([seed, sample_id, editor]).encode()).digest()
    return int.from_bytes(mixed[:8], "big") >> 1


def _rows(spec: Spec, manifest: Manifest) -> Iterable[int]:
    rows = {name: row for row, name in enumerate(manifest.ids)}
    for name in spec.samples or ():
        if name not in rows:
            raise SpecError(f"samples: manifest {manifest.name} has no sample {name!r}; {did_you_mean(name, rows)}")
    chosen = [rows[name] for name in spec.samples] if spec.samples else list(range(len(manifest.ids)))
    chosen = chosen if spec.limit is None else chosen[: spec.limit]
    if not chosen:
        raise SpecError(f"no sample is left of manifest {manifest.name} ({len(manifest.ids)} samples, limit {spec.limit})")
    return chosen


def _check_metrics(spec: Spec) -> None:
    """Find a mistyped metric before the edits are made. Without parameters a registered metric is not imported."""
    known = registry.metrics()
    for item in spec.metrics:
        if item.params or item.name not in known:
            cls = registry.load_metric(item.name)
            networks = embedded.metric_networks(cls) if embedded.on_toybox(spec) else {}
            signature = inspect.signature(cls)
            device = {"device": "cpu"} if "device" in signature.parameters else {}
            try:
                signature.bind(**(networks | device | item.params))
            except TypeError as error:
                raise SpecError(f"metrics: {item.name}: {error}; see `etabench list metrics`") from error


def _check_axes(spec: Spec) -> None:
    """Find an axis that is no pair metric of the spec before the edits are made. The metrics of default axes are not imported."""
    if spec.axes == type(spec.axes)():
        return

    def own(name: str) -> str:
        return str(registry.load_metric(name).name) if registry.is_file_target(name) else name

    known = dict(zip(spec.table_names(own), (item.name for item in spec.metrics), strict=True))

    def of_sets(name: str) -> bool:
        return not hasattr(registry.load_metric(known[name]), "score")

    wrong = any(of_sets(name) for name in spec.axes.model_dump().values() if name in known)
    sets = [name for name in known if of_sets(name)] if wrong else []
    mistake = spec.axes.mistake(known.keys() - set(sets), sets)
    if mistake:
        raise SpecError(mistake)


def _origins(spec: Spec) -> dict[str, str]:
    """Where model and manifest of a spec with pinned references are from, as far as it is the hub."""
    refs = {"model": spec.model, "manifest": spec.manifest}
    return {
        role: f"{ref.hub}@{ref.revision}"
        for role, ref in refs.items()
        if ref is not None and ref.hub is not None and ref.revision
    }


def _kernels(spec: Spec) -> dict[str, Any]:
    """What the spec asks for beside torch's usual kernels, whose results differ in their last bits; empty where it is nothing."""
    return {name: value for name in ("compile", "channels_last") if (value := getattr(spec, name))}


def _about(entry: Entry, model: dict[str, Any], kernels: dict[str, Any], hub: dict[str, str]) -> dict[str, Any]:
    """What of the set-up determines the results of an entry: digest of the model, resolution, dtype and unusual kernels if it uses one,
    commits of the hub if there are any."""
    places = entry.hub | ({"model": hub["model"]} if entry.needs_model and "model" in hub else {})
    return (model | kernels if entry.needs_model else dict.fromkeys(model)) | ({"hub": places} if places else {})


def _identified(
    entry: Entry, sample: Sample, seed: int, about: dict[str, Any], real: RealPictures
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """All that determines the result of a unit, and the inputs that are missing. `about` is what `_about` says of the entry."""
    identity: dict[str, Any] = {
        "sample": sample.digest,
        "sample_id": sample.id,
        "editor": entry.name,
        "version": entry.version,
        "params": entry.hashed_params,
        "values": list(entry.values),
        "seed": seed,
        "unit_seed": unit_seed(seed, sample.id, entry.name),
        **about,
    }
    missing = [name for name in entry.needs if name != "real" and getattr(sample, name, None) is None]
    if "real" in entry.needs:
        try:
            identity["real"] = pixel_hash(real.pick(sample, identity["unit_seed"]))
        except NoRealPicture:
            identity["real"] = None
            missing.append("real")
    return identity, tuple(missing)


def _info(sample: Sample) -> SampleInfo:
    texts = (sample.target_text, sample.source_text, sample.source_class, sample.target_class, sample.category)
    has = (sample.mask is not None, sample.truth is not None)
    info = SampleInfo(sample.id, sample.row, sample.digest, sample.source_id, *texts, *has, sample.instruction, sample.previous)
    return replace(info, provenance=dict(sample.provenance)) if sample.provenance else info
