"""The editors of a run, resolved: classes found, parameters and knob values fixed, the files beside them identified."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.errors import EtabenchError, SpecError, message_of
from bench.interrupts import exits_are_errors
from bench.spec import EditorSpec
from bench.toybox import embedded

if TYPE_CHECKING:
    from bench.spec import Spec

__all__ = ["Entry", "assets_of", "check_family", "repositories_of", "resolve_entries", "resolve_params"]


@dataclass(frozen=True)
class Entry:
    """One editor of a run, resolved. `target` is what the registry loads; `name` and `version` are the editor's own.

    `assets` are the sha256 of the files that determine its results beside the model, by the parameter that holds their place; `hub`
    is where of the hub they are from, `owner/name@commit`.
    """

    label: str
    target: str
    name: str
    version: str
    params: dict[str, Any]
    knob: str
    values: tuple[float, ...]
    anchor: bool
    needs: tuple[str, ...]
    needs_model: bool
    deterministic: bool
    assets: dict[str, str] = field(default_factory=dict)
    hub: dict[str, str] = field(default_factory=dict)

    @property
    def hashed_params(self) -> dict[str, Any]:
        """The parameters as a unit's key sees them: content in place of paths."""
        return self.params | {name: f"sha256:{digest}" for name, digest in self.assets.items()}


def resolve_entries(spec: Spec) -> list[Entry]:
    """The spec's editors and anchors with resolved parameters and knob values. Raises SpecError."""
    on_toybox = embedded.on_toybox(spec)
    entries = [_entry(item, on_toybox) for item in spec.editors]
    for name in spec.anchors:
        if all(entry.label != name for entry in entries):
            preset = embedded.preset_of(registry.load_editor(name).presets) if on_toybox else ""
            entries.append(_entry(EditorSpec(name=name, label=name, preset=preset), on_toybox))
    for label, count in Counter(entry.label for entry in entries).items():
        if count > 1:
            raise SpecError(f"editors: {count} entries are called {label!r}; give each its own `label:`")
    if not entries:
        raise SpecError("editors: the list is empty; name at least one (`etabench list editors`)")
    return entries


def check_family(entries: Sequence[Entry], family: str) -> None:
    """Raise SpecError naming each of the entries whose editor cannot work on a model of `family`, and why."""
    found = {entry.label: registry.load_editor(entry.target).misfit(family) for entry in entries}
    if any(found.values()):
        told = "; ".join(f"{label}: {why}" for label, why in found.items() if why)
        raise SpecError(f"editors: {told}; leave them out, or use another model")


def assets_of(cls: type[Any], params: Any) -> dict[str, str]:
    """The sha256 of every file that determines an editor's results beside the model; the editor's own errors pass."""
    return {str(name): str(digest) for name, digest in cls.assets(params).items()}


def resolve_params(item: EditorSpec, on_toybox: bool) -> tuple[type[Any], Any]:
    """The class of an editor of the spec and its parameters. Raises SpecError."""
    cls = registry.load_editor(item.name)
    with _named(item):
        resolved = cls.resolve(item.preset, dict(item.params))
        return cls, embedded.with_ranker(cls, resolved) if on_toybox else resolved


def repositories_of(item: EditorSpec, cls: type[Any], params: Any) -> dict[str, str]:
    """What an editor reads of the hub, `owner/name@commit`, by the parameter that names it. Raises SpecError."""
    with _named(item):
        return {str(name): str(place) for name, place in cls.repositories(params).items()}


@contextmanager
def _named(item: EditorSpec) -> Iterator[None]:
    """Say of what an editor raises about its parameters whose they are."""
    try:
        with exits_are_errors():
            yield
    except EtabenchError:
        raise
    except Exception as error:
        raise SpecError(f"editor {item.label or item.name}: {message_of(error)}") from error


def _entry(item: EditorSpec, on_toybox: bool) -> Entry:
    target, label = item.name, item.label or item.name
    cls, resolved = resolve_params(item, on_toybox)
    hub = repositories_of(item, cls, resolved)
    with _named(item):
        assets = assets_of(cls, resolved)
        knob = cls.knob_of(resolved)
    return Entry(
        label=label,
        target=target,
        name=cls.name,
        version=_version(target, cls),
        params=resolved.model_dump(mode="json"),
        knob=knob.name if knob else "",
        values=_values(label, knob, cls.grids.get(item.preset) if item.grid is None else item.grid),
        anchor=bool(cls.anchor),
        needs=tuple(sorted(cls.needs)),
        needs_model=bool(cls.needs_model),
        deterministic=bool(cls.deterministic),
        assets=assets,
        hub=hub,
    )


def _version(target: str, cls: type[Any]) -> str:
    """The editor's version; that of a file counts its content too, since files are edited without a thought of versions."""
    if not registry.is_file_target(target):
        return str(cls.version)
    from editors.toolbox.files import expanded

    content = expanded(target.rpartition(":")[0]).read_bytes()
    return f"{cls.version}+{hashlib.sha256(content).hexdigest()[:8]}"


def _values(label: str, knob: Any, grid: Sequence[float] | None) -> tuple[float, ...]:
    if knob is None:
        if grid:
            raise SpecError(f"editor {label}: it has no knob, so `grid: {list(grid)}` means nothing; remove it")
        return (0.0,)
    values = sorted(float(value) for value in (knob.grid if grid is None else grid))
    if not values:
        raise SpecError(f"editor {label}: the grid of {knob.name} is empty; leave `grid` out for the default {list(knob.grid)}")
    for value in values:
        if not knob.low <= value <= knob.high:
            raise SpecError(
                f"editor {label}: {knob.name} = {value:g} is out of bounds [{knob.low:g}, {knob.high:g}]; mend `grid`"
            )
    if len(set(values)) < len(values):
        raise SpecError(f"editor {label}: the grid of {knob.name} has a value twice: {values}")
    return tuple(values)
