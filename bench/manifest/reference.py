"""The real pictures of a run, as its `reference:` names them: what set metrics compare edits with, and what `retrieve` answers with.

Without a `reference:` they are the manifest's truths.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np

from bench.errors import EtabenchError, ScoreError
from bench.manifest.folder import FolderPicture, folder_pictures
from bench.manifest.manifest import Manifest, Sample, open_manifest
from bench.manifest.pictures import RGB, PictureFile, Policy, pixel_hash, read_header, read_rgb
from bench.spec import ReferenceSpec

__all__ = ["NoRealPicture", "RealPictures", "Reference", "check_reference", "collect"]

MOST_PICTURES = 100_000
"""Most pictures that are rendered for a reference; they take 1.2 GB."""
OF_A_SAMPLE = {"truths": ("truth", "target_class"), "sources": ("image", "source_class")}
"""Kinds that take a sample's own picture: which one, and its class; a row of a manifest and a decoded sample call them alike."""


class NoRealPicture(EtabenchError):  # noqa: N818 - it is the reason of a failed unit
    """The reference set has no picture that a sample could be answered with."""


@dataclass(frozen=True)
class Reference:
    """Reference pictures, uint8 (H, W, 3), and the class of each. `identity` joins the card of every number made with them."""

    images: list[RGB]
    classes: list[str | None]
    keys: list[str]
    identity: dict[str, Any]


class _Sampled(Protocol):
    """What is known of a sample without its pictures."""

    @property
    def id(self) -> str: ...
    @property
    def target_class(self) -> str | None: ...
    @property
    def has_truth(self) -> bool: ...


def check_reference(spec: ReferenceSpec | None, samples: Sequence[_Sampled], by_class: bool = False) -> None:
    """Whether `collect` will find what it needs; `by_class`, whether pictures of yours include each class of the samples.

    Raises ScoreError, or ManifestError for another manifest, or a picture of a folder, that cannot be opened.
    """
    kind = spec.kind if spec else "truths"
    bare = next((sample.id for sample in samples if not sample.has_truth), None)
    if kind == "truths" and bare is not None:
        raise _no_truth(spec, bare)
    if spec is not None and kind == "toybox":
        _check_classes({sample.target_class for sample in samples if sample.target_class is not None}, spec.per_class)
    classes: list[str | None] = []
    if spec is not None and kind == "manifest":
        classes = [row.source_class for row in open_manifest(str(spec.manifest)).rows]
    if spec is not None and kind == "folder":
        pictures = folder_pictures(spec.folder)
        classes = [picture.label for picture in pictures]
        for picture in pictures:
            read_header(picture.file)
    wanted = {sample.target_class for sample in samples} - {None}
    if spec is not None and by_class and classes and (without := sorted(wanted - set(classes), key=str)):
        lacking = f"{len(without)} of {len(wanted)} classes have no picture there (first: {without[0]!r})"
        raise ScoreError(f"reference {kind} {spec.manifest or spec.folder}: {lacking}; add them, or leave metrics by class out")


def _no_truth(spec: ReferenceSpec | None, sample: str) -> ScoreError:
    if spec is None:
        return ScoreError("set metrics need reference pictures and not every sample has a truth: add `reference:` to the spec")
    return ScoreError(f"reference truths: sample {sample} has no truth; use another kind")


def _check_classes(classes: Collection[str], per_class: int) -> None:
    from bench.toybox.reference import scenes_of_classes

    if not classes:
        raise ScoreError("reference toybox: no sample of the manifest has a target_class")
    strange = sorted(set(classes) - scenes_of_classes().keys())
    if strange:
        raise ScoreError(f"reference toybox: no class {strange[0]!r} there; the manifest is not of ToyBox")
    if len(classes) * per_class > MOST_PICTURES:
        asked = f"{per_class} pictures of each of {len(classes)} classes"
        raise ScoreError(
            f"reference toybox: {asked} are more than {MOST_PICTURES}, which is all that is held in memory; lower per_class"
        )


def collect(spec: ReferenceSpec | None, samples: Iterable[Sample], resolution: int | None) -> Reference:
    """The reference of a run's samples: of truths and sources their own, of ToyBox their classes', of another manifest all its sources, of a
    folder all its pictures.

    Raises ScoreError where pictures or classes are lacking.
    """
    kind = spec.kind if spec else "truths"
    pairs: list[tuple[RGB, str | None]] = []
    classes: set[str] = set()
    for sample in samples:
        if sample.target_class is not None:
            classes.add(sample.target_class)
        if kind in OF_A_SAMPLE:
            picture, label = (getattr(sample, name) for name in OF_A_SAMPLE[kind])
            if picture is None:
                raise _no_truth(spec, sample.id)
            pairs.append((picture, label))
    if spec is not None and kind == "manifest":
        pairs = [(sample.image, sample.source_class) for sample in open_manifest(str(spec.manifest), resolution)]
    if spec is not None and kind == "folder":
        pairs = [(_of_folder(picture, resolution), picture.label) for picture in folder_pictures(spec.folder)]
    if spec is not None and kind == "toybox":
        _check_classes(classes, spec.per_class)
        pairs = [(image, name) for name in sorted(classes) for image in _rendered(spec, name)]
    images, labels = [image for image, _ in pairs], [label for _, label in pairs]
    keys = [pixel_hash(image) for image in images]
    total = hashlib.sha256(repr(sorted(zip(keys, map(str, labels), strict=True))).encode()).hexdigest()
    return Reference(images, labels, keys, {"kind": kind, "n": len(images), "digest": total[:16]})


def _of_folder(picture: FolderPicture, resolution: int | None) -> RGB:
    """A picture as a manifest's default policy brings it into form."""
    return Policy(resolution, "center-crop", "white", False).picture(read_rgb(picture.file))


def _rendered(spec: ReferenceSpec, name: str) -> list[RGB]:
    """The pictures of a class of ToyBox. Raises KeyError for a class that it lacks."""
    from bench.toybox.reference import images_of

    return images_of([name], spec.per_class, spec.seed)[0]


@dataclass(frozen=True)
class _Candidate:
    """A reference picture before it is decoded."""

    load: Callable[[], RGB | None]
    file: PictureFile | None = None


class RealPictures:
    """Real pictures of a class out of a run's reference: what the anchor `retrieve` answers with.

    Of truths and sources every row of the manifest counts, not only the samples of a run, so that a limit changes no choice.
    """

    def __init__(self, spec: ReferenceSpec | None, manifest: Manifest, resolution: int | None) -> None:
        self._given, self._spec = spec is not None, spec or ReferenceSpec(kind="truths")
        self._manifest, self._resolution = manifest, resolution
        self._toybox: dict[str, list[_Candidate]] = {}

    def pick(self, sample: Sample, seed: int) -> RGB:
        """A picture (H, W, 3) of the sample's target class, drawn by `seed`, never its own source or truth.

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
        if wanted not in self._toybox:
            try:
                images = _rendered(self._spec, wanted)
            except KeyError:
                images = []
            self._toybox[wanted] = [_Candidate(partial(np.asarray, image)) for image in images]
        return self._toybox[wanted]

    @cached_property
    def _by_class(self) -> dict[str | None, list[_Candidate]]:
        """The candidates of a folder or of a manifest: this one's, by `OF_A_SAMPLE`, or another one's sources."""
        groups: dict[str | None, list[_Candidate]] = {}
        if self._spec.kind == "folder":
            for each in folder_pictures(self._spec.folder):
                candidate = _Candidate(partial(_of_folder, each, self._resolution), each.file)
                groups.setdefault(each.label, []).append(candidate)
            return groups
        another = self._spec.kind == "manifest"
        manifest = open_manifest(str(self._spec.manifest), self._resolution) if another else self._manifest
        picture, label = OF_A_SAMPLE["sources" if another else self._spec.kind]
        for number, row in enumerate(manifest.rows):
            file: PictureFile | None = getattr(row, picture)
            if file is not None:
                candidate = _Candidate(partial(_decoded, manifest, number, picture), file)
                groups.setdefault(getattr(row, label), []).append(candidate)
        return groups


def _decoded(manifest: Manifest, row: int, picture: str) -> RGB | None:
    found: RGB | None = getattr(manifest.load(row), picture)
    return found
