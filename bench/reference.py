"""The pictures that set metrics compare edits with, and the identity that their numbers carry."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import ScoreError
from bench.pictures import pixel_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.manifest import Manifest, Sample
    from bench.plan import Plan
    from bench.spec import ReferenceSpec

__all__ = ["Reference", "open_reference"]


@dataclass(frozen=True)
class Reference:
    """Reference pictures, uint8 (H, W, 3), and the class of each. `identity` joins the card of every number made with them."""

    images: list[NDArray[np.uint8]]
    classes: list[str | None]
    keys: list[str]
    identity: dict[str, Any]


def open_reference(spec: ReferenceSpec | None, plan: Plan, manifest: Manifest) -> Reference:
    """The reference of a run. Without a spec it is the manifest's truths where every sample has one.

    Raises ScoreError where pictures or classes are lacking.
    """
    kind = spec.kind if spec else "truths"
    if spec is None and not all(sample.has_truth for sample in plan.samples):
        raise ScoreError("set metrics need reference pictures and not every sample has a truth: add `reference:` to the spec")
    if kind == "truths":
        rows = _truths(manifest, plan)
    elif kind == "sources":
        rows = [(sample.image, sample.source_class) for sample in _planned(manifest, plan)]
    elif kind == "manifest":
        rows = _other(str(spec.manifest if spec else ""), plan)
    else:
        rows = _toybox(plan, per_class=spec.per_class if spec else 24, seed=spec.seed if spec else 0)
    images, classes = [image for image, _ in rows], [name for _, name in rows]
    keys = [pixel_hash(image) for image in images]
    total = hashlib.sha256(repr(sorted(zip(keys, map(str, classes), strict=True))).encode()).hexdigest()
    return Reference(images, classes, keys, {"kind": kind, "n": len(images), "digest": total[:16]})


def _planned(manifest: Manifest, plan: Plan) -> Iterable[Sample]:
    return (manifest.load(manifest.index(sample.id)) for sample in plan.samples)


def _truths(manifest: Manifest, plan: Plan) -> list[tuple[Any, str | None]]:
    rows = []
    for sample in _planned(manifest, plan):
        if sample.truth is None:
            raise ScoreError(f"reference truths: sample {sample.id} of manifest {manifest.name} has no truth; use another kind")
        rows.append((sample.truth, sample.target_class))
    return rows


def _other(name: str, plan: Plan) -> list[tuple[Any, str | None]]:
    """The pictures of another manifest, each of its source class, at the run's resolution."""
    from bench.manifest import open_manifest

    return [(sample.image, sample.source_class) for sample in open_manifest(name, plan.resolution)]


def _toybox(plan: Plan, *, per_class: int, seed: int) -> list[tuple[Any, str | None]]:
    from bench.toybox.reference import images_of

    classes = sorted({sample.target_class for sample in plan.samples if sample.target_class is not None})
    if not classes:
        raise ScoreError("reference toybox: no sample of the manifest has a target_class")
    try:
        images, labels = images_of(classes, per_class, seed)
    except KeyError as error:
        raise ScoreError(f"reference toybox: {error.args[0] if error.args else error}; the manifest is not of ToyBox") from error
    names: Sequence[str | None] = labels
    return list(zip(images, names, strict=True))
