"""Spec x manifest -> units: what a run consists of, before anything is computed.

A unit is one (sample, editor with its parameters, model, seed) and yields one edit per knob value. Its key hashes what determines
the result and nothing else, so that a changed spec reuses every unit it shares with the old one.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
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
    *("on_error", "retry", "unit_seconds", "pack_above"),
)
"""Keys of a spec that are told by the units or change no number."""
OWN = ("sample", "sample_id", "seed", "unit_seed")
"""What of an identity every unit has for itself."""


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


@dataclass(frozen=True, slots=True)
class Unit:
    """The grain of work: `entry` and `sample` index the plan; `missing` names inputs the editor needs and the sample lacks.

    What its key hashes is kept in parts, since a plan may have a million units: `settings` is one mapping for all units of an editor,
    `digest`, `sample_id`, `seed` and `unit_seed` are the unit's own, and `extra` is what few have: `real`, the digest of a picture that
    is given to the editor, and `before`.

    A turn of a session that is edited from the editor's own pictures has in its identity, as `before`, the key of the unit that makes
    these; a first turn has not, and is the unit that it is without a chain.
    """

    key: str
    entry: int
    sample: int
    digest: str
    sample_id: str
    seed: int
    unit_seed: int
    settings: dict[str, Any] = field(repr=False)
    extra: dict[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        """All that determines the result, which the key hashes."""
        own = (self.digest, self.sample_id, self.seed, self.unit_seed)
        return self.settings | dict(zip(OWN, own, strict=True)) | self.extra

    @property
    def before(self) -> str:
        """Key of the unit whose pictures this one edits; empty where it edits its sample's."""
        return str(self.extra.get("before", ""))

    @property
    def whole(self) -> bool:
        """Whether the key is that of the identity."""
        return self.key == key_of(self.identity)

    @classmethod
    def of(cls, entry: int, sample: int, settings: dict[str, Any], own: Mapping[str, Any], missing: tuple[str, ...] = ()) -> Unit:
        """The unit with the key that its identity gives: the `settings` of its editor and its `own` part."""
        extra = {name: value for name, value in own.items() if name not in OWN}
        digest, sample_id, seed, seed_of_unit = (own[name] for name in OWN)
        key = key_of({**settings, **own})
        return cls(key, entry, sample, digest, sample_id, seed, seed_of_unit, settings, extra, missing)


def key_of(identity: Mapping[str, Any]) -> str:
    """24 hex of the SHA-256 of canonical JSON."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True, allow_nan=False).encode()).hexdigest()[:24]


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

    @cached_property
    def sessions(self) -> dict[str, str]:
        """Sample id to the id of the first turn of its session; itself where there is no turn before it."""
        found: dict[str, str] = {}
        for sample in self.samples:
            found[sample.id] = found.get(sample.previous or "", sample.id)
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
    networks = {"model": model, "resolution": resolution, "dtype": spec.dtype}
    settings = [_settings(entry, networks, _kernels(spec), hub) for entry in entries]
    real = RealPictures(spec.reference, manifest, resolution)
    infos: list[SampleInfo] = []
    units: list[Unit] = []
    chain = Chain(spec, manifest, entries)
    for position, row in enumerate(_rows(spec, manifest)):
        sample = manifest.load(row)
        infos.append(_info(sample))
        for index, entry in enumerate(entries):
            for seed in [first] if entry.deterministic else spec.seeds:
                own, missing = _identified(entry, sample, seed, real)
                unit = Unit.of(index, position, settings[index], own | chain.before(sample, index, seed), missing)
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


def _settings(entry: Entry, model: dict[str, Any], kernels: dict[str, Any], hub: dict[str, str]) -> dict[str, Any]:
    """What of the identity all units of an entry share: its editor, digest of the model, resolution, dtype and unusual kernels if it uses
    one, commits of the hub if there are any."""
    places = entry.hub | ({"model": hub["model"]} if entry.needs_model and "model" in hub else {})
    return {
        "editor": entry.name,
        "version": entry.version,
        "params": entry.hashed_params,
        "values": list(entry.values),
        **(model | kernels if entry.needs_model else dict.fromkeys(model)),
        **({"hub": places} if places else {}),
    }


def _identified(entry: Entry, sample: Sample, seed: int, real: RealPictures) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What of the identity is a unit's own, and the inputs that are missing."""
    own: dict[str, Any] = {
        "sample": sample.digest,
        "sample_id": sample.id,
        "seed": seed,
        "unit_seed": unit_seed(seed, sample.id, entry.name),
    }
    missing = [name for name in entry.needs if name != "real" and getattr(sample, name, None) is None]
    if "real" in entry.needs:
        try:
            own["real"] = pixel_hash(real.pick(sample, own["unit_seed"]))
        except NoRealPicture:
            own["real"] = None
            missing.append("real")
    return own, tuple(missing)


def _info(sample: Sample) -> SampleInfo:
    texts = (sample.target_text, sample.source_text, sample.source_class, sample.target_class, sample.category)
    has = (sample.mask is not None, sample.truth is not None)
    info = SampleInfo(sample.id, sample.row, sample.digest, sample.source_id, *texts, *has, sample.instruction, sample.previous)
    return replace(info, provenance=dict(sample.provenance)) if sample.provenance else info
