"""Manifests: the samples of a benchmark, checked when they are opened and decoded when they are asked for.

Opening checks the structure of every row: ids, texts, paths, and the sizes that the headers of the pictures give. Decoding
happens in ``Manifest.load``, one sample at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import ManifestError
from bench.manifest.pictures import PictureError, Policy, read_mask, read_rgb
from bench.manifest.rows import SampleRow, Source, examine, sha256_of
from bench.manifest.sidecar import read_sidecar
from bench.manifest.sources import as_ref, read_source
from bench.spec import ManifestRef
from bench.suggest import did_you_mean

__all__ = ["Manifest", "Sample", "open_manifest", "policy_of", "source_id"]


@dataclass(frozen=True)
class Sample:
    """One manifest row, ready to be edited."""

    id: str
    row: int
    """From 1; in a JSONL file the line."""
    target_text: str
    """As editors and metrics see it."""
    source_text: str | None
    source_class: str | None
    target_class: str | None
    category: str | None
    image: NDArray[np.uint8]
    """(H, W, 3) RGB with the manifest's policy applied."""
    mask: NDArray[np.bool_] | None
    """(H, W), True where the edit may happen."""
    truth: NDArray[np.uint8] | None
    """(H, W, 3) RGB, the ground-truth edit."""
    source_id: str
    """16 hex, the cluster key of statistics: samples that edit the same picture share it, whatever its file is called, or those of
    one `cluster` where the manifest names one."""
    digest: str
    """64 hex over id, texts, the files of image, mask and truth, and what of the policy applied: all that determines an edit."""
    raw_target_text: str = ""
    """As the manifest has it, bracket markup included."""
    instruction: str | None = None
    """The edit as an order, for editors that were trained on orders."""
    previous: str | None = None
    """Id of the turn before, in a session of several."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Field to who wrote it, of what a sidecar gave; empty where all is the manifest's own."""


def source_id(image: NDArray[np.uint8]) -> str:
    """16 hex of the sha256 over the size and the pixels of a decoded picture (H, W, 3), before any resizing."""
    height, width = image.shape[:2]
    return hashlib.sha256(f"{width}x{height}:".encode() + np.ascontiguousarray(image).tobytes()).hexdigest()[:16]


def policy_of(ref: ManifestRef, source: Source, default_size: int | None = None) -> Policy:
    """The policy a reference and its source ask for; its size, where it names none, is ``default_size``."""
    return Policy(ref.size or default_size, ref.fit, ref.alpha, ref.strip_brackets or source.strip_brackets)


class Manifest:
    """The samples of a benchmark, in the manifest's order.

    Iteration and ``load`` decode; ``rows`` and ``digest`` give what can be had without decoding.
    """

    def __init__(self, name: str, rows: list[SampleRow], policy: Policy, about: str = "") -> None:
        self.name = name
        self.about = about
        self.rows = rows
        self.ids = [row.id for row in rows]
        self._policy = policy
        self._index = {id_: i for i, id_ in enumerate(self.ids)}
        self._contents: dict[int, dict[str, object]] = {}

    @property
    def policy(self) -> dict[str, Any]:
        """How pictures and texts are brought into form, as plain data for the record, and to how many masks which rule applied.

        Raises ManifestError where a mask that may be transparent cannot be decoded.
        """
        masks = [row for i, row in enumerate(self.rows) if row.mask and self._content(i)]
        return self._policy.record() | {
            "masks": len(masks),
            "masks_in_alpha": sum(row.mask_channel == "alpha" for row in masks),
            "masks_reduced": sum(self._policy.reduces(row.header.width, row.header.height) for row in masks),
        }

    @cached_property
    def content_hash(self) -> str:
        """64 hex over all rows in order, classes and categories included, and the policy except for the size.

        The size belongs to the model, and with it whether masks are reduced: two models that run the same manifest at their own
        sizes share the hash.
        """
        policy = {key: value for key, value in self._policy.applied().items() if key != "size"}
        rows = [
            self._content(i)
            | {"classes": [entry.source_class, entry.target_class], "category": entry.category}
            | ({} if entry.cluster is None else {"cluster": entry.cluster})
            for i, entry in enumerate(self.rows)
        ]
        return sha256_of({"policy": policy, "rows": rows})

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Sample]:
        return (self.load(i) for i in range(len(self)))

    def index(self, id_: str) -> int:
        """The position of a sample; ManifestError when there is no such id."""
        if id_ not in self._index:
            raise ManifestError(f"{self.name}: no sample '{id_}'; {did_you_mean(id_, self.ids)}")
        return self._index[id_]

    def digest(self, i: int) -> str:
        """The digest of sample ``i`` without decoding it (its files are read, and a mask that may be transparent is decoded).

        A rule for masks is in it only where it applied: that it was read from the alpha channel, that it was reduced by any pixel.
        """
        row = self.rows[i]
        size = (row.header.width, row.header.height) if row.mask else (0, 0)
        return sha256_of({"policy": self._policy.applied(*size), **self._content(i)})

    def load(self, i: int) -> Sample:
        """Sample ``i``, decoded, with the policy applied; ManifestError names the row and the file that cannot be decoded."""
        entry = self.rows[i]
        try:
            decoded = read_rgb(entry.image, self._policy.alpha)
            mask = read_mask(entry.mask) if entry.mask else None
            truth = read_rgb(entry.truth, self._policy.alpha) if entry.truth else None
        except PictureError as error:
            raise ManifestError(f"{entry.place}: {error}") from error
        for name, other in (("mask", mask), ("truth", truth)):
            if other is not None and other.shape[:2] != decoded.shape[:2]:
                raise ManifestError(f"{entry.place}: {name}: another size than the picture's, {decoded.shape[:2]}")
        return Sample(
            id=entry.id,
            row=entry.row,
            target_text=entry.target_text,
            source_text=entry.source_text,
            source_class=entry.source_class,
            target_class=entry.target_class,
            category=entry.category,
            image=self._policy.picture(decoded),
            mask=None if mask is None else self._policy.mask(mask),
            truth=None if truth is None else self._policy.picture(truth),
            source_id=source_id(decoded) if entry.cluster is None else sha256_of(["cluster", entry.cluster])[:16],
            digest=self.digest(i),
            raw_target_text=entry.raw_target_text,
            instruction=entry.instruction,
            previous=entry.previous,
            provenance=entry.provenance,
        )

    def _content(self, i: int) -> dict[str, object]:
        if i not in self._contents:
            try:
                self._contents[i] = self.rows[i].content()
            except PictureError as error:
                raise ManifestError(f"{self.rows[i].place}: {error}") from error
        return self._contents[i]


def open_manifest(ref: str | Path | ManifestRef, default_size: int | None = None, *, partial: bool = False) -> Manifest:
    """Open a shipped manifest, a file, a folder, a hub dataset or a published benchmark.

    ``default_size`` is the model's native size in pixels. A benchmark of which rows are missing is opened if ``partial``.

    Raises ManifestError: the first problem as ``<file> line 3 (id 'x'): <field>: ...``, and how many more there are.
    """
    ref = as_ref(ref)
    source = read_source(ref, partial=partial)
    if not source.rows:
        raise ManifestError(f"{source.place}: empty; a manifest needs at least one sample")
    policy = policy_of(ref, source, default_size)
    rows, broken, first = [], 0, ""
    for examined in examine(source, policy):
        if examined.accepted:
            rows.append(examined.accepted)
        broken += len(examined.problems)
        if examined.problems and not first:
            problem = examined.problems[0]
            first = f"{examined.place}: {problem.field}{': ' if problem.field else ''}{problem.message}"
    if first:
        more = f" (and {broken - 1} more; `etabench lint` lists them)" if broken > 1 else ""
        raise ManifestError(first + more)
    if ref.sidecar is None:
        return Manifest(source.name, rows, policy, source.about)
    rows, said = read_sidecar(ref.sidecar).fill(rows, policy)
    return Manifest(source.name, rows, policy, "; ".join(filter(None, [source.about, said])))
