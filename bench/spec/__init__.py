"""What a user asks for: the schema of a spec, how its text is read, and what a mistake in it is called."""

from __future__ import annotations

from bench.spec.load import anchored, load_spec, shipped_specs
from bench.spec.parts import (
    MANIFEST_FIELDS,
    AxesSpec,
    EditorSpec,
    ManifestRef,
    MetricSpec,
    ModelRef,
    ReferenceSpec,
)
from bench.spec.schema import Spec

__all__ = [
    "MANIFEST_FIELDS",
    "AxesSpec",
    "EditorSpec",
    "ManifestRef",
    "MetricSpec",
    "ModelRef",
    "ReferenceSpec",
    "Spec",
    "anchored",
    "load_spec",
    "shipped_specs",
]
