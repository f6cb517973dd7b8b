"""A spec as plain data: shorthands written out, overrides set, relative paths made absolute."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import data_manifests
from bench.errors import SpecError
from bench.registry import is_file_target
from bench.spec.reader import parse_yaml
from bench.suggest import did_you_mean, kind_of

__all__ = ["anchor_paths", "apply_overrides", "expand_shorthands", "is_there", "manifest_shorthand"]

_SHORTHANDS = {"model": "name", "editors": "name", "metrics": "name"}
_PLACES = ("name", "path", "hub")
"""Keys of a model, of which one is given."""
_RELATIVE = re.compile(r"([\w.+-]+:)?((?:\.{1,2}|~)/.*)", re.DOTALL)
_MANIFEST_SUFFIXES = (".json", ".jsonl", ".parquet")


def is_there(path: Path) -> bool:
    """Whether a file or folder exists; False for what cannot be a path at all."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def manifest_shorthand(text: str) -> dict[str, str]:
    """The long form of a manifest given by one string: a shipped name, else a path if it looks like one, else a name."""
    looks_like_path = any(sign in text for sign in "/\\") or text.startswith((".", "~")) or text.endswith(_MANIFEST_SUFFIXES)
    return {"path": text} if looks_like_path and text not in data_manifests.names() else {"name": text}


def expand_shorthands(raw: dict[str, Any]) -> dict[str, Any]:
    """A copy in which bare strings for manifest, model, editors and metrics are mappings; anything else is left alone."""
    data = dict(raw)
    if isinstance(data.get("manifest"), str):
        data["manifest"] = manifest_shorthand(data["manifest"])
    for key, field in _SHORTHANDS.items():
        value = data.get(key)
        if isinstance(value, str):
            data[key] = {field: value}
        elif isinstance(value, list):
            data[key] = [{field: item} if isinstance(item, str) else item for item in value]
    return data


def apply_overrides(raw: dict[str, Any], overrides: Sequence[str]) -> dict[tuple[str | int, ...], str]:
    """Set every ``key=value`` in ``raw`` (shorthands already expanded); values are read as YAML.

    An item of a list is named by its index, or by its label or name: ``editors.imagic.preset=paper``. A place of the model stands for the
    one before it, and its revision.
    Returns the place that each override set.
    """
    places: dict[tuple[str | int, ...], str] = {}
    for override in overrides:
        path, equals, text = override.partition("=")
        parts = [part.strip() for part in path.split(".")]
        if not equals or not all(parts):
            raise SpecError(f"--set {override}: expected key=value, such as editors.0.preset=paper")
        value = parse_yaml(text, f"--set {override}")
        node: Any = raw
        place: tuple[str | int, ...] = ()
        for part in parts[:-1]:
            key = _key(node, part, place, override)
            if isinstance(node, dict) and node.get(key) is None:
                node[key] = {}
            node, place = node[key], (*place, key)
        key = _key(node, parts[-1], place, override)
        if place == ("model",) and key in _PLACES:
            for other in (*_PLACES, "revision"):
                if (*place, other) not in places:
                    node.pop(other, None)
        node[key] = value
        places[*place, key] = override
    return places


def _key(node: Any, part: str, place: tuple[str | int, ...], override: str) -> Any:
    """The key or index that ``part`` means in ``node``, which lies at ``place``."""
    where = ".".join(map(str, place))
    if isinstance(node, dict):
        return part
    if not isinstance(node, list):
        raise SpecError(f"--set {override}: {where} is {kind_of(node)}, nothing can be set inside it")
    if part.isascii() and part.isdigit():
        index = int(part.lstrip("0")[:9] or "0")
        if index >= len(node):
            raise SpecError(f"--set {override}: {where} has {len(node)} items, numbered from 0; there is no {part[:40]}")
        return index
    labels = [item.get("label") or item.get("name") if isinstance(item, dict) else None for item in node]
    if labels.count(part) != 1:
        known = [str(label) for label in labels if label]
        reason = "is there more than once; use its index" if part in labels else f"is not there; {did_you_mean(part, known)}"
        raise SpecError(f"--set {override}: in {where}, '{part[:40]}' {reason}")
    return labels.index(part)


def anchor_paths(raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    """``raw`` (changed in place, shorthands already expanded) with the relative paths it holds seen from ``folder``.

    These are the manifest, the model's folder, the reference manifest or folder, what is given to a protocol, editors and metrics given as
    ``file.py:Class``, and among their parameters ``path`` and whatever begins with ``./``, ``../`` or ``~/``, after a scheme such as
    ``local-dir:`` or not.
    """
    manifest, model, reference = (raw.get(key) for key in ("manifest", "model", "reference"))
    if isinstance(manifest, dict):
        name = manifest.get("name")
        if isinstance(name, str) and name not in data_manifests.names() and is_there(folder / name):
            manifest["path"] = manifest.pop("name")
        _anchor(manifest, "path", folder)
        _anchor(manifest, "root", folder)
        _anchor(manifest, "sidecar", folder)
        if str(manifest.get("hub", "")).startswith((".", "/", "~")):
            _anchor(manifest, "hub", folder)
    if isinstance(model, dict):
        _anchor(model, "path", folder)
    if isinstance(reference, dict):
        given = reference.get("manifest")
        if isinstance(given, str) and ("path" in manifest_shorthand(given) or is_there(folder / given)):
            _anchor(reference, "manifest", folder)
        _anchor(reference, "folder", folder)
    given = raw.get("given")
    if isinstance(given, dict):
        raw["given"] = {key: _given(key, value, folder) for key, value in given.items()}
    for plugin in _mappings(raw.get("editors")) + _mappings(raw.get("metrics")):
        if isinstance(plugin.get("name"), str) and is_file_target(plugin["name"]):
            _anchor(plugin, "name", folder)
        if isinstance(plugin.get("params"), dict):
            plugin["params"] = {key: _anchored(key, value, folder) for key, value in plugin["params"].items()}
    return raw


def _anchored(key: str, value: Any, folder: Path) -> Any:
    """The value of a parameter of an editor or a metric, absolute if it is a relative path."""
    if not isinstance(value, str) or not value:
        return value
    found = _RELATIVE.fullmatch(value)
    if found is None and key != "path":
        return value
    scheme, path = found.groups("") if found else ("", value)
    return f"{scheme}{_seen_from(folder, path)}"


def _given(key: str, value: Any, folder: Path) -> Any:
    """What is given to a protocol, absolute if it is the path of something that is there, however it begins."""
    there = isinstance(value, str) and bool(value) and is_there(folder / value)
    return str(_seen_from(folder, value)) if there else _anchored(key, value, folder)


def _mappings(value: Any) -> list[dict[str, Any]]:
    items: Iterable[Any] = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, dict)]


def _anchor(mapping: dict[str, Any], key: str, folder: Path) -> None:
    if isinstance(mapping.get(key), str) and mapping[key] and mapping[key] not in data_manifests.names():
        mapping[key] = str(_seen_from(folder, mapping[key]))


def _seen_from(folder: Path, path: str) -> Path:
    from editors.toolbox.files import expanded

    return folder.resolve() / expanded(path)
