"""What happened to one unit: `record.json`, written once with the unit's pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from bench.store.files import json_bytes

__all__ = ["SCHEMA", "EditFile", "Record"]

SCHEMA = 1
NOTHING: dict[str, Any] = {}
"""One for all records that have been told nothing."""


@dataclass(frozen=True, slots=True)
class EditFile:
    """One edit of a unit: the knob value, the PNG's name in the unit's folder, and the SHA-256 of its bytes."""

    value: float
    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Record:
    """What happened to one unit: `record.json`.

    identity: the fields that the key hashes.  hub: where of the model hub the model, the manifest and the editor's own networks are from,
    `owner/name@commit`; without those that are not.  reason: type and message of a failure.  absent: knob values whose edit the editor
    could not give.  retries: what was raised in tries that did not count (`type`, `message`), and what was done `then`.  seconds: `prepare`
    and `render`, empty where the edit was made elsewhere.  unet_evaluations: samples sent through the U-Net.  peak_memory: `mb` (MiB) and
    `kind` (what was measured).  facts: choices the editor made.  fair_play: what it was allowed to see.  provenance: field of the sample to
    who wrote it, of what a sidecar gave.  worker: device, dtype, threads, and `batch`, the number of units made together: above 1, seconds
    and evaluations are the unit's share and the peak is that of the batch; `max_batch`, the items that a network took at the most.
    """

    key: str
    status: Literal["done", "failed"]
    identity: dict[str, Any]
    hub: dict[str, str] = field(default_factory=dict)
    reason: dict[str, str] | None = None
    edits: tuple[EditFile, ...] = ()
    absent: tuple[float, ...] = ()
    retries: tuple[dict[str, str], ...] = ()
    pictures: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    unet_evaluations: int = 0
    peak_memory: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    fair_play: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    worker: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def files_alone(self) -> Record:
        """The record with its status and its files, which is what scoring needs of a hundred thousand."""
        record = replace(self, identity=NOTHING, pictures=self.pictures or NOTHING, retries=())
        return replace(
            record, hub=NOTHING, seconds=NOTHING, peak_memory=NOTHING, facts=NOTHING, fair_play=NOTHING, worker=NOTHING
        )

    def encoded(self) -> bytes:
        """The content of `record.json`. Raises ValueError or TypeError for what JSON or UTF-8 cannot hold."""
        return json_bytes(asdict(self))
