"""One worker: claim a unit, make its edits, commit them, take the next. Any number of workers may drain one run folder.

A unit's result depends on the unit alone: its noise is seeded by (run seed, sample id, editor), torch is asked for deterministic
algorithms, and on a CPU every worker computes with the same number of threads however many workers there are.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import models, registry
from bench.compute import PeakMemory, deterministic, empty_cache
from bench.errors import EtabenchError, RunError
from bench.plan import Entry, Plan, Unit
from bench.store import EditFile, Record, Run, png_bytes

if TYPE_CHECKING:
    from bench.manifest import Manifest, Sample
    from bench.spec import Spec
    from editors.base import Editor
    from editors.diffusion import DiffusionModel

__all__ = ["Interrupted", "Worker", "drain", "failure_line", "open_planned_manifest", "read_spec"]

POLL_SECONDS = 0.5
Watch = Callable[[Record], None]


class Interrupted(Exception):  # noqa: N818 - no error
    """The worker was told to stop; the unit it had in hand is given back."""


class Worker:
    """What units need: the manifest, the model and the editors, each opened when first asked for."""

    def __init__(self, run: Run, device: str, threads: int, stop: Callable[[], bool]) -> None:
        self.run, self.device, self.threads, self.stop = run, device, threads, stop
        self._editors: dict[int, Editor[Any]] = {}
        self._sample: Sample | None = None

    @cached_property
    def spec(self) -> Spec:
        return read_spec(self.run)

    @cached_property
    def plan(self) -> Plan:
        return Plan.from_dict(self.run.read_json("plan.json"))

    @cached_property
    def manifest(self) -> Manifest:
        return open_planned_manifest(self.spec, self.plan)

    @cached_property
    def model(self) -> DiffusionModel:
        model = models.load(self.spec.model, device=self.device, dtype=self.plan.dtype)
        if model.digest != self.plan.model:
            raise RunError(f"the model's weights changed since {self.run.path} was planned; `etabench run` plans it anew")
        model.cancelled = self.stop
        return model

    def editor(self, index: int) -> Editor[Any]:
        """The editor of a plan entry, bound to the model if it needs one."""
        if index not in self._editors:
            entry = self.plan.entries[index]
            cls = registry.load_editor(entry.target)
            self._editors[index] = cls(self.model if entry.needs_model else None, cls.Params(**entry.params))
        return self._editors[index]

    def sample(self, id_: str) -> Sample:
        """A sample; the last one is kept, since units are ordered by sample."""
        if self._sample is None or self._sample.id != id_:
            self._sample = self.manifest.load(self.manifest.index(id_))
        return self._sample

    def run_unit(self, unit: Unit) -> tuple[Record, dict[str, bytes]]:
        """The record and the files of a unit. Whatever an editor raises becomes a failed record; Interrupted passes."""
        entry = self.plan.entries[unit.entry]
        if unit.missing:
            text = f"{entry.label} needs {', '.join(unit.missing)}, which the sample lacks"
            return self._failure(unit, {"type": "MissingInput", "message": f"missing input: {text}"}), {}
        sample, editor = self.sample(unit.identity["sample_id"]), self.editor(unit.entry)
        try:
            return self._edit(unit, entry, sample, editor)
        except Exception as error:
            if type(error).__name__ == "Cancelled" and self.stop():
                raise Interrupted from error
            if type(error).__name__ == "OutOfMemoryError" and self.device.startswith("cuda"):
                empty_cache()
            return self._failure(unit, _reason(error)), {}

    def _edit(self, unit: Unit, entry: Entry, sample: Sample, editor: Editor[Any]) -> tuple[Record, dict[str, bytes]]:
        from editors.base import EditTask

        task = EditTask(
            image=sample.image.copy(),
            target_text=sample.target_text,
            source_text=sample.source_text,
            mask=None if sample.mask is None else sample.mask.copy(),
            seed=unit.identity["unit_seed"],
            truth=sample.truth if "truth" in entry.needs else None,
        )
        evaluations = self.model.unet_evaluations if entry.needs_model else 0
        memory = PeakMemory(self.device if entry.needs_model else "cpu")
        start = time.perf_counter()
        state = editor.prepare(task)
        memory.wait()
        prepared = time.perf_counter()
        edits = editor.render(state, entry.values)
        memory.wait()
        rendered = time.perf_counter()
        _check_edits(edits, entry.values, sample.image.shape)
        files = {f"{number:03d}.png": png_bytes(edit) for number, edit in enumerate(edits)}
        hashes = zip(entry.values, files.items(), strict=True)
        pictures = {_safe(name): png_bytes(picture) for name, picture in editor.pictures(state).items()}
        record = Record(
            key=unit.key,
            status="done",
            identity=unit.identity,
            edits=tuple(EditFile(value, name, hashlib.sha256(data).hexdigest()) for value, (name, data) in hashes),
            pictures={name: f"{name}.png" for name in pictures},
            seconds={"prepare": round(prepared - start, 6), "render": round(rendered - prepared, 6)},
            unet_evaluations=self.model.unet_evaluations - evaluations if entry.needs_model else 0,
            peak_memory=memory.read(),
            facts=_plain(editor.facts(state)),
            fair_play=_plain(asdict(editor.fair_play())),
            worker=self._about(),
        )
        return record, files | {f"{name}.png": data for name, data in pictures.items()}

    def _failure(self, unit: Unit, reason: dict[str, str]) -> Record:
        return Record(key=unit.key, status="failed", identity=unit.identity, reason=reason, worker=self._about())

    def _about(self) -> dict[str, Any]:
        return {"device": self.device, "dtype": self.plan.dtype, "threads": self.threads}


def drain(
    folder: Path | str,
    *,
    device: str | None = None,
    threads: int = 1,
    stop: Callable[[], bool] = lambda: False,
    watch: Watch = lambda record: None,
    fail_on_error: bool = False,
) -> None:
    """Work on the run in `folder` until every unit of its plan has a record, sharing it with whoever else does.

    `device` overrides the spec's, `stop` is asked between units and between steps, `watch` sees each record this worker commits.
    Raises RunError at the first failed unit if `fail_on_error`; KeyboardInterrupt leaves a clean folder.
    """
    run = Run.open(folder)
    worker = Worker(run, models.pick_device(device or read_spec(run).device), threads, stop)
    todo = list({unit.key: unit for unit in worker.plan.units}.values())
    for entry in worker.plan.entries:
        registry.load_editor(entry.target)
    with deterministic(threads):
        while todo and not stop():
            waiting = []
            for unit in todo:
                if stop():
                    return
                if run.record(unit.key) is not None:
                    continue
                claim = run.claim(unit.key)
                if claim is None:
                    waiting.append(unit)
                    continue
                with claim, contextlib.suppress(Interrupted):
                    if run.record(unit.key) is None:
                        record, files = worker.run_unit(unit)
                        run.commit(record, files)
                        watch(record)
                        if fail_on_error and record.status == "failed":
                            raise RunError(failure_line(unit, worker.plan, record))
            if waiting and len(waiting) == len(todo):
                time.sleep(POLL_SECONDS)
            todo = waiting


def read_spec(run: Run) -> Spec:
    """The resolved spec of a run."""
    from bench.spec import load_spec

    return load_spec(run.path / "spec.yaml")


def open_planned_manifest(spec: Spec, plan: Plan) -> Manifest:
    """The manifest of a planned run; RunError where it is no longer what was planned."""
    from bench.manifest import open_manifest

    manifest = open_manifest(spec.manifest, plan.resolution)
    if manifest.content_hash != plan.manifest_hash:
        was, now = plan.manifest_hash[:12], manifest.content_hash[:12]
        raise RunError(f"manifest {manifest.name} changed since the run was planned ({was} to {now}); use another --out")
    return manifest


def failure_line(unit: Unit, plan: Plan, record: Record) -> str:
    """One line about a failed unit."""
    reason = record.reason or {}
    where = f"sample {unit.identity['sample_id']}, editor {plan.entries[unit.entry].label}, seed {unit.seed}"
    return f"unit {unit.key} failed ({where}): {reason.get('type')}: {reason.get('message')}"


def _check_edits(edits: Sequence[Any], values: Sequence[float], shape: tuple[int, ...]) -> None:
    import numpy as np

    if len(edits) != len(values):
        raise ValueError(f"render gave {len(edits)} images for {len(values)} knob values")
    for value, edit in zip(values, edits, strict=True):
        if not isinstance(edit, np.ndarray) or edit.dtype != np.uint8 or edit.shape != shape:
            got = f"{edit.dtype} {edit.shape}" if isinstance(edit, np.ndarray) else type(edit).__name__
            raise ValueError(f"the edit at knob value {value:g} is {got}, expected uint8 {shape} like the source")


def _reason(error: Exception) -> dict[str, str]:
    lines = " ".join(str(error).split())
    reason = {"type": type(error).__name__, "message": lines[:500]}
    expected = {cls.__name__ for cls in type(error).__mro__} & {"EditorError", EtabenchError.__name__}
    return reason if expected else reason | {"traceback": "".join(traceback.format_exception(error))}


def _plain(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON has them: numpy scalars unwrapped, NaN and infinity as text."""
    plain = {}
    for name, value in mapping.items():
        item = value.item() if hasattr(value, "item") else value
        plain[str(name)] = str(item) if isinstance(item, float) and not math.isfinite(item) else item
    return plain


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
