"""Spec files -> specs: found, read, overridden, validated.

Relative paths in a spec file are seen from the folder of that file; relative paths in overrides from the current folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.errors import SpecError
from bench.spec.messages import one_line
from bench.spec.protocols import GIVEN, expand_protocol
from bench.spec.reader import read_yaml
from bench.spec.schema import Spec
from bench.spec.text import anchor_paths, apply_overrides, expand_shorthands, is_there
from bench.suggest import did_you_mean

__all__ = ["anchored", "load_spec", "shipped_specs", "spec_of"]

_SHIPPED = Path(__file__).parent.parent / "specs"


def shipped_specs() -> dict[str, Path]:
    """The specs that come with the package: name to file, sorted."""
    return {file.stem: file for file in sorted(_SHIPPED.glob("*.yaml"))}


def load_spec(path_or_name: str | Path, overrides: Sequence[str] = ()) -> Spec:
    """Read and validate a spec file or a shipped spec, with ``key=value`` overrides such as ``editors.0.preset=paper``.

    A name without folder and suffix is that of a shipped spec unless a file of that name exists. Raises SpecError: one line
    that names the file or the override, the key, what was expected, what was got, and what to do.
    """
    file = _spec_file(path_or_name)
    return spec_of(read_yaml(file), file.parent, overrides, str(path_or_name))


def spec_of(raw: dict[str, Any], folder: Path, overrides: Sequence[str], place: str) -> Spec:
    """The spec that plain data mean, with relative paths seen from ``folder``, under overrides; ``place`` is what messages call it.

    Raises SpecError as ``load_spec``.
    """
    raw = anchor_paths(expand_shorthands(raw), folder)
    places: dict[tuple[str | int, ...], str] = {}
    for override in overrides:
        raw = expand_shorthands(expand_protocol(raw))
        places |= apply_overrides(raw, [override])
        if override.partition("=")[0].strip() == "protocol":
            raw = _for_protocol(raw)
    raw = anchor_paths(expand_shorthands(raw), Path.cwd())
    try:
        return Spec.model_validate(raw)
    except ValidationError as error:
        raise SpecError(one_line(error, Spec, place, places)) from error


def _for_protocol(raw: dict[str, Any]) -> dict[str, Any]:
    """Without what the protocol that an override names is to decide; where the spec's copy of the set lies is kept."""
    manifest = raw.get("manifest")
    root = manifest.get("root") if isinstance(manifest, dict) else None
    kept = {key: value for key, value in raw.items() if key not in GIVEN}
    return kept | ({"manifest": {"root": root}} if root else {})


def anchored(spec: Spec, folder: Path) -> Spec:
    """A spec made in Python with its relative paths seen from ``folder``, as those of a file are seen from the file's."""
    return Spec.model_validate(anchor_paths(spec.resolved(), folder))


def _spec_file(path_or_name: str | Path) -> Path:
    path, shipped = Path(path_or_name), shipped_specs()
    if (is_there(path) and path.is_file()) or path.suffix in (".yaml", ".yml"):
        return path
    if str(path_or_name) not in shipped:
        raise SpecError(f"{path_or_name}: neither a spec file nor a shipped spec; {did_you_mean(str(path_or_name), shipped)}")
    return shipped[str(path_or_name)]
