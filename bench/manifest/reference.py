"""The real pictures of a run, as its `reference:` names them: what set metrics compare edits with, and what `retrieve` answers with.

Without a `reference:` they are the manifest's truths.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bench.errors import EtabenchError, ScoreError
from bench.manifest.manifest import Manifest, Sample, open_manifest
from bench.manifest.pictures import RGB, PictureFile, pixel_hash
from bench.spec import ReferenceSpec

__all__ = ["NoRealPicture", "RealPictures", "Reference"]


class NoRealPicture(EtabenchError):  # noqa: N818 - it is the reason of a failed unit
    """The reference set has no picture that a sample could be answered with."""


@dataclass(frozen=True)
class Reference:
    """Reference pictures, uint8 (H, W, 3), and the class of each. `identity` joins the card of every number made with them."""

    images: list[RGB]
    classes: list[str | None]
    keys: list[str]
    identity: dict[str, Any]


@dataclass(frozen=True)
class _Candidate:
    """A reference picture before it is decoded."""

    label: str | None
    load: Callable[[], RGB | None]
    file: PictureFile | None = None


class RealPictures:
    """The reference pictures of a run, decoded when they are asked for."""

    def __init__(self, spec: ReferenceSpec | None, manifest: Manifest, resolution: int | None) -> None:
        self._given, self._spec = spec is not None, spec or ReferenceSpec(kind="truths")
        self._manifest, self._resolution = manifest, resolution
        self._rendered: dict[str, list[_Candidate]] = {}

    def collect(self, ids: Sequence[str]) -> Reference:
        """The reference of the samples `ids`: of truths and sources theirs, of ToyBox their classes, of another manifest all.

        Raises ScoreError where pictures or classes are lacking.
        """
        rows = [self._manifest.rows[self._manifest.index(name)] for name in ids]
        if self._spec.kind == "truths" and (lacking := [row.id for row in rows if row.truth is None]):
            if not self._given:
                raise ScoreError(
                    "set metrics need reference pictures and not every sample has a truth: add `reference:` to the spec"
                )
            where = f"sample {lacking[0]} of manifest {self._manifest.name}"
            raise ScoreError(f"reference truths: {where} has no truth; use another kind")
        classes = sorted({row.target_class for row in rows if row.target_class is not None})
        if self._spec.kind == "toybox" and not classes:
            raise ScoreError("reference toybox: no sample of the manifest has a target_class")
        try:
            candidates = self._candidates((self._manifest.index(name) for name in ids), classes)
        except KeyError as error:
            raise ScoreError(
                f"reference toybox: {error.args[0] if error.args else error}; the manifest is not of ToyBox"
            ) from error
        pairs = [(image, each.label) for each in candidates if (image := each.load()) is not None]
        images, labels = [image for image, _ in pairs], [label for _, label in pairs]
        keys = [pixel_hash(image) for image in images]
        total = hashlib.sha256(repr(sorted(zip(keys, map(str, labels), strict=True))).encode()).hexdigest()
        return Reference(images, labels, keys, {"kind": self._spec.kind, "n": len(images), "digest": total[:16]})

    def pick(self, sample: Sample, seed: int) -> RGB:
        """A picture (H, W, 3) of the sample's target class, drawn by `seed`, never its own source or truth.

        Of truths and sources every row of the manifest counts, not only the samples of this run, so that a limit changes no choice.
        Raises NoRealPicture, which says what is lacking.
        """
        wanted = sample.target_class
        if wanted is None:
            raise NoRealPicture(
                f"sample {sample.id} has no target_class, so no real picture of it can be found; add it to the manifest"
            )
        row = self._manifest.rows[self._manifest.index(sample.id)]
        own = {file.digest() for file in (row.image, row.truth) if file}
        own |= {pixel_hash(picture) for picture in (sample.image, sample.truth) if picture is not None}
        candidates = self._of(wanted)
        for index in np.random.default_rng(seed).permutation(len(candidates)):
            candidate = candidates[index]
            if candidate.file is not None and candidate.file.digest() in own:
                continue
            picture = candidate.load()
            if picture is not None and pixel_hash(picture) not in own:
                return picture
        if not self._given and not any(each.truth for each in self._manifest.rows):
            raise NoRealPicture("the run has no reference set of real pictures; add `reference:` to the spec")
        beside = f" beside the {len(candidates)} that are the sample's own" if candidates else ""
        raise NoRealPicture(
            f"the reference set ({self._spec.kind}) has no picture of class {wanted!r}{beside}; name another `reference:`"
        )

    def _of(self, wanted: str) -> list[_Candidate]:
        """Every picture of a class, in a fixed order."""
        if self._spec.kind != "toybox":
            return self._by_class.get(wanted, [])
        try:
            return self._of_toybox(wanted)
        except KeyError:
            return []

    @cached_property
    def _by_class(self) -> dict[str | None, list[_Candidate]]:
        groups: dict[str | None, list[_Candidate]] = {}
        for each in self._candidates(range(len(self._manifest)), ()):
            groups.setdefault(each.label, []).append(each)
        return groups

    def _candidates(self, rows: Iterable[int], classes: Sequence[str]) -> list[_Candidate]:
        """The pictures of `rows` of the manifest, or of `classes`, as the kind has it. KeyError for a class that ToyBox lacks."""
        if self._spec.kind == "toybox":
            return [each for name in classes for each in self._of_toybox(name)]
        if self._spec.kind == "manifest":
            return [_source(self._other, row) for row in range(len(self._other))]
        make = _truth if self._spec.kind == "truths" else _source
        return [made for row in rows if (made := make(self._manifest, row)) is not None]

    def _of_toybox(self, name: str) -> list[_Candidate]:
        from bench.toybox.reference import images_of

        if name not in self._rendered:
            images, _ = images_of([name], self._spec.per_class, self._spec.seed)
            self._rendered[name] = [_Candidate(name, lambda image=image: image) for image in images]  # type: ignore[misc]
        return self._rendered[name]

    @cached_property
    def _other(self) -> Manifest:
        """The manifest of kind manifest, its pictures at the run's resolution."""
        return open_manifest(str(self._spec.manifest), self._resolution)


def _source(manifest: Manifest, row: int) -> _Candidate:
    entry = manifest.rows[row]
    return _Candidate(entry.source_class, lambda: manifest.load(row).image, entry.image)


def _truth(manifest: Manifest, row: int) -> _Candidate | None:
    entry = manifest.rows[row]
    return _Candidate(entry.target_class, lambda: manifest.load(row).truth, entry.truth) if entry.truth else None
