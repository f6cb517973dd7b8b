"""Real pictures of a target class out of a run's reference set: what the anchor `retrieve` answers with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from bench.errors import EtabenchError
from bench.pictures import pixel_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.manifest import Manifest, Sample
    from bench.pictures import PictureFile
    from bench.spec import ReferenceSpec

__all__ = ["NoRealPicture", "RealPictures"]


class NoRealPicture(EtabenchError):  # noqa: N818 - it is the reason of a failed unit
    """The reference set has no picture that a sample could be answered with."""


class RealPictures:
    """The reference set by class, decoded when a picture is asked for.

    It is the one that the spec names, or the manifest's truths where it names none. Of truths and sources every row of the manifest
    counts, not only the samples of this run, so that a limit changes no choice.
    """

    def __init__(self, spec: ReferenceSpec | None, manifest: Manifest, resolution: int | None) -> None:
        self._spec, self._manifest, self._resolution = spec, manifest, resolution
        self._rendered: dict[str, list[NDArray[np.uint8]]] = {}

    def pick(self, sample: Sample, seed: int) -> NDArray[np.uint8]:
        """A picture (H, W, 3) of the sample's target class, drawn by `seed`, never its own source or truth.

        Raises NoRealPicture, which says what is lacking.
        """
        import numpy as np

        wanted = sample.target_class
        if wanted is None:
            raise NoRealPicture(
                f"sample {sample.id} has no target_class, so no real picture of it can be found; add it to the manifest"
            )
        row = self._manifest.entries[self._manifest.index(sample.id)]
        own = {file.digest() for file in (row.image, row.truth) if file}
        own |= {pixel_hash(picture) for picture in (sample.image, sample.truth) if picture is not None}
        candidates = self._of(wanted)
        for index in np.random.default_rng(seed).permutation(len(candidates)):
            file, load = candidates[index]
            if file is not None and file.digest() in own:
                continue
            picture = load()
            if pixel_hash(picture) not in own:
                return picture
        if self._spec is None and not any(entry.truth for entry in self._manifest.entries):
            raise NoRealPicture("the run has no reference set of real pictures; add `reference:` to the spec")
        kind = self._spec.kind if self._spec else "truths"
        beside = f" beside the {len(candidates)} that are the sample's own" if candidates else ""
        raise NoRealPicture(f"the reference set ({kind}) has no picture of class {wanted!r}{beside}; name another `reference:`")

    def _of(self, wanted: str) -> Sequence[tuple[PictureFile | None, Callable[[], Any]]]:
        """The file, where there is one, and the loader of every picture of a class, in a fixed order."""
        kind = self._spec.kind if self._spec else "truths"
        if kind == "toybox":
            return [(None, partial(_same, picture)) for picture in self._toybox(wanted)]
        if kind == "truths":
            rows = enumerate(self._manifest.entries)
            return [(e.truth, partial(_truth, self._manifest, i)) for i, e in rows if e.truth and e.target_class == wanted]
        manifest = self._other if kind == "manifest" else self._manifest
        return [(e.image, partial(_image, manifest, i)) for i, e in enumerate(manifest.entries) if e.source_class == wanted]

    def _toybox(self, wanted: str) -> list[NDArray[np.uint8]]:
        from bench.toybox.reference import images_of

        if wanted not in self._rendered and self._spec is not None:
            try:
                self._rendered[wanted] = images_of([wanted], self._spec.per_class, self._spec.seed)[0]
            except KeyError:
                self._rendered[wanted] = []
        return self._rendered[wanted]

    @cached_property
    def _other(self) -> Manifest:
        from bench.manifest import open_manifest

        return open_manifest(str(self._spec.manifest if self._spec else ""), self._resolution)


def _same(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return picture


def _image(manifest: Manifest, row: int) -> NDArray[np.uint8]:
    return manifest.load(row).image


def _truth(manifest: Manifest, row: int) -> NDArray[np.uint8] | None:
    return manifest.load(row).truth
