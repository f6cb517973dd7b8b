"""What makes the edits of a unit, or of several in one batch: the manifest, the model and the editors of a planned run."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from bench import models, registry
from bench.devices import PeakMemory, empty_cache, out_of_memory
from bench.errors import EtabenchError, RunError, message_of, origin_of
from bench.interrupts import exits_are_errors
from bench.manifest.pictures import pixel_hash
from bench.manifest.reference import RealPictures
from bench.plan import Entry, Unit
from bench.plan.entries import assets_of
from bench.plan.prompts import prompts_of, tokens_cut
from bench.store import EditFile, Record, Run, png_bytes
from bench.workers.chain import follow, own_sources
from bench.workers.outcome import check_edits, encodable, file_names, plain, reason_of

if TYPE_CHECKING:
    from bench.manifest import Sample
    from editors.base import Editor, EditTask
    from editors.toolbox.diffusion import DiffusionModel

__all__ = ["Interrupted", "Made", "UnitCost", "Worker"]

Made = tuple[Record, dict[str, bytes]]
"""The record and the files of a unit."""


class Interrupted(Exception):  # noqa: N818 - no error
    """The worker was told to stop; the units it had in hand are given back."""


@dataclass(frozen=True)
class UnitCost:
    """What `units` units took together: seconds of the two phases, samples through the U-Net, peak memory."""

    units: int
    prepare: float
    render: float
    evaluations: int
    memory: dict[str, Any]

    def share(self, number: int) -> UnitCost:
        """Of the unit at place `number`: an equal part of time and evaluations, the remainder to the first; the peak as it is."""
        whole, rest = divmod(self.evaluations, self.units)
        return replace(
            self, prepare=self.prepare / self.units, render=self.render / self.units, evaluations=whole + (number < rest)
        )


class Worker:
    """What units need: the manifest, the model and the editors, each opened when first asked for.

    `batch` is the number of units that may be made together by editors that can.
    """

    def __init__(self, run: Run, device: str, threads: int, stop: Callable[[], bool], batch: int | None = None) -> None:
        self.run, self.device, self.threads, self.stop = run, device, threads, stop
        self.batch = batch or run.spec.batch
        self._editors: dict[int, Editor[Any]] = {}
        self.sample = lru_cache(maxsize=self.batch)(self._load)

    @cached_property
    def real(self) -> RealPictures:
        return RealPictures(self.run.spec.reference, self.run.manifest, self.run.plan.resolution)

    @cached_property
    def model(self) -> DiffusionModel:
        spec, plan = self.run.spec, self.run.plan
        model = models.load(
            models.reference(spec), device=self.device, dtype=plan.dtype, max_batch=spec.max_batch, side=spec.manifest.size
        )
        if model.digest != plan.model:
            raise RunError(f"the model's weights changed since {self.run.path} was planned; `etabench run` plans it anew")
        model.cancelled = self.stop
        return model

    def at_once(self, index: int) -> int:
        """How many units of a plan entry are made together: 1 for an editor that would only loop over them."""
        return self.batch if registry.load_editor(self.run.plan.entries[index].target).batches else 1

    def editor(self, index: int) -> Editor[Any]:
        """The editor of a plan entry, bound to the model if it needs one."""
        if index not in self._editors:
            entry = self.run.plan.entries[index]
            cls = registry.load_editor(entry.target)
            params = cls.Params(**entry.params)
            if assets_of(cls, params) != entry.assets:
                names = ", ".join(entry.assets)
                raise RunError(
                    f"the files that {entry.label} reads ({names}) changed since {self.run.path} was planned; run again"
                )
            self._editors[index] = self._made(entry.label, cls, self.model if entry.needs_model else None, params)
        return self._editors[index]

    def make(self, units: Sequence[Unit]) -> Iterator[Made]:
        """The records and the files of units of one plan entry, in order. What an editor raises becomes a failed record.

        Several units are made in one batch; where that fails, one by one, so that a bad sample fails alone. Interrupted passes.
        """
        makeable = [unit for unit in units if not unit.missing and not unit.before]
        made: dict[str, Made] = {}
        problem = ""
        if len(makeable) > 1:
            editor, samples = self._ready(makeable)
            try:
                made = {each[0].key: each for each in self._edit(makeable, editor, samples)}
            except BaseException as error:
                self._after(error)
                problem = f"{type(error).__name__}: {message_of(error)[:300]}"
        for unit in units:
            record, files = made.get(unit.key) or self._alone(unit)
            if problem:
                record = replace(record, worker=record.worker | {"batch_failed": problem})
            yield record, files

    def _alone(self, unit: Unit) -> Made:
        entry = self.run.plan.entries[unit.entry]
        lacking = [name for name in unit.missing if name != "real"]
        if lacking:
            text = f"{entry.label} needs {', '.join(lacking)}, which the sample lacks"
            return self.failed(unit, {"type": "MissingInput", "message": f"missing input: {text}"}), {}
        editor, samples = self._ready([unit])
        try:
            return self._edit([unit], editor, samples)[0]
        except BaseException as error:
            self._after(error)
            return self.failed(unit, reason_of(error)), {}

    def _after(self, error: BaseException) -> None:
        """Tell a stop from a failure, and make room after the device's memory was full.

        Whatever an editor raises is a failure, an exit or a KeyboardInterrupt of its own too, unless this worker was told to stop.
        """
        if self.stop():
            raise Interrupted from error
        if isinstance(error, RunError):
            raise error
        if out_of_memory(error) and self.device.startswith("cuda"):
            empty_cache()

    def _ready(self, units: Sequence[Unit]) -> tuple[Editor[Any], list[Sample]]:
        """What must be there before anything is tried: an error here ends the worker, not the unit."""
        return self.editor(units[0].entry), [self.sample(unit.sample) for unit in units]

    def _made(self, label: str, cls: type[Editor[Any]], model: DiffusionModel | None, params: Any) -> Editor[Any]:
        """The editor; RunError where it raises or exits instead. What it raises on purpose passes."""
        from editors.task import EditorError

        try:
            with exits_are_errors():
                return cls(model, params)
        except (EtabenchError, EditorError):
            raise
        except Exception as error:
            raise RunError(f"editor {label} cannot be made: {origin_of(error)}") from error

    def _edit(self, units: Sequence[Unit], editor: Editor[Any], samples: Sequence[Sample]) -> list[Made]:
        entry = self.run.plan.entries[units[0].entry]
        tasks = [self._task(unit, entry, sample) for unit, sample in zip(units, samples, strict=True)]
        chained = own_sources(self.run, units[0], tasks[0]) if units[0].before else None
        evaluations = 0
        if entry.needs_model:
            evaluations = self.model.unet_evaluations
            self.model.limits.forget()
        memory = PeakMemory(self.device if entry.needs_model else "cpu")
        start = time.perf_counter()
        with contextlib.chdir(
            "."
        ):  # whatever an editor makes of it: the next unit and the folder's path are seen from the same place
            if chained is None:
                states = editor.prepare_many(tasks)
                memory.wait()
                prepared = time.perf_counter()
                edits = editor.render_many(states, entry.values)
            else:
                states, edits = follow(editor, chained, entry.values)
                prepared = time.perf_counter()  # every value has a source of its own, and both phases come in turns
            memory.wait()
        rendered = time.perf_counter()
        evaluations = self.model.unet_evaluations - evaluations if entry.needs_model else 0
        cost = UnitCost(len(units), prepared - start, rendered - prepared, evaluations, memory.read())
        if len(edits) != len(units):
            raise ValueError(f"render_many gave the edits of {len(edits)} samples for {len(units)}")
        for given, sample in zip(edits, samples, strict=True):
            check_edits(given, entry.values, sample.image.shape)
        parts = zip(units, states, edits, strict=True)
        return [self._finish(unit, editor, state, given, cost.share(i)) for i, (unit, state, given) in enumerate(parts)]

    def _task(self, unit: Unit, entry: Entry, sample: Sample) -> EditTask:
        from editors.base import EditTask

        real = None
        if "real" in entry.needs:
            real = self.real.pick(sample, unit.identity["unit_seed"])
            if pixel_hash(real) != unit.identity["real"]:
                raise RunError(f"the reference pictures changed since {self.run.path} was planned; `etabench run` plans it anew")
        return EditTask(
            image=sample.image.copy(),
            target_text=sample.target_text,
            source_text=sample.source_text,
            mask=None if sample.mask is None else sample.mask.copy(),
            seed=unit.identity["unit_seed"],
            truth=sample.truth if "truth" in entry.needs else None,
            real=real,
            instruction=sample.instruction,
            sample_id=sample.id,
        )

    def _finish(self, unit: Unit, editor: Editor[Any], state: Any, given: Sequence[Any], cost: UnitCost) -> Made:
        entry, sample = self.run.plan.entries[unit.entry], self.run.plan.samples[unit.sample]
        there = [(value, edit) for value, edit in zip(entry.values, given, strict=True) if edit is not None]
        files = {f"{number:03d}.png": png_bytes(edit) for number, (_, edit) in enumerate(there)}
        pictures = editor.pictures(state)
        names = file_names(pictures, files)
        named = zip(there, files.items(), strict=True)
        outside = editor.outside
        cut = tokens_cut(self.model.tokenizer, prompts_of(entry, sample)) if entry.needs_model else 0
        halved = self.model.limits.facts() if entry.needs_model else {}
        record = Record(
            key=unit.key,
            status="done",
            identity=unit.identity,
            hub=self.run.plan.origins(unit),
            edits=tuple(EditFile(value, name, hashlib.sha256(data).hexdigest()) for (value, _), (name, data) in named),
            absent=tuple(value for value, edit in zip(entry.values, given, strict=True) if edit is None),
            pictures={encodable(name): file for name, file in names.items()},
            seconds={} if outside else {"prepare": round(cost.prepare, 6), "render": round(cost.render, 6)},
            unet_evaluations=cost.evaluations,
            peak_memory={} if outside else cost.memory,
            facts=plain(editor.facts(state), "facts") | ({"prompt_tokens_cut": cut} if cut else {}) | halved,
            fair_play=plain(asdict(editor.fair_play()), "fair_play"),
            provenance=sample.provenance,
            worker=self._about() | {"batch": cost.units},
        )
        record.encoded()  # what it cannot hold is a failure of this unit
        return record, files | {names[name]: png_bytes(picture) for name, picture in pictures.items()}

    def failed(self, unit: Unit, reason: dict[str, str]) -> Record:
        """The record of a unit that could not be made."""
        hub = self.run.plan.origins(unit)
        return Record(key=unit.key, status="failed", identity=unit.identity, hub=hub, reason=reason, worker=self._about())

    def _about(self) -> dict[str, Any]:
        return {"device": self.device, "dtype": self.run.plan.dtype, "threads": self.threads}

    def _load(self, index: int) -> Sample:
        return self.run.sample(self.run.plan.samples[index])
