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
from bench.interrupts import TimeLimit, exits_are_errors, no_way_out, time_limit
from bench.manifest.pictures import pixel_hash
from bench.manifest.reference import RealPictures
from bench.plan import Entry, Unit
from bench.plan.entries import assets_of
from bench.plan.prompts import prompts_of, tokens_cut
from bench.store import EditFile, Record, Run, png_bytes
from bench.workers.chain import follow, own_sources
from bench.workers.outcome import check_edits, encodable, file_names, plain, reason_of
from bench.workers.tries import Tries, pause

if TYPE_CHECKING:
    from bench.manifest import Sample
    from editors.base import Editor, EditTask
    from editors.toolbox.diffusion import DiffusionModel

__all__ = ["MOST_AT_ONCE", "Interrupted", "Made", "UnitCost", "Worker"]

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


MOST_AT_ONCE = 32
"""Units that `batch: auto` makes together at the most."""


class Worker:
    """What units need: the manifest, the model and the editors, each opened when first asked for.

    `batch` is the number of units that may be made together by editors that can, or `auto`.
    """

    def __init__(self, run: Run, device: str, threads: int, stop: Callable[[], bool], batch: int | str | None = None) -> None:
        self.run, self.device, self.threads, self.stop = run, device, threads, stop
        self.batch = batch or run.spec.batch
        self._editors: dict[int, Editor[Any]] = {}
        self.sample = lru_cache(maxsize=MOST_AT_ONCE if isinstance(self.batch, str) else self.batch)(self._load)

    @cached_property
    def real(self) -> RealPictures:
        return RealPictures(self.run.spec.reference, self.run.manifest, self.run.plan.resolution)

    @cached_property
    def model(self) -> DiffusionModel:
        spec, plan = self.run.spec, self.run.plan
        model = models.load(
            models.reference(spec),
            device=self.device,
            dtype=plan.dtype,
            max_batch=None if isinstance(spec.max_batch, str) else spec.max_batch,
            side=spec.manifest.size,
            channels_last=spec.channels_last,
            compile_mode=spec.compile,
        )
        if model.digest != plan.model:
            raise RunError(f"the model's weights changed since {self.run.path} was planned; `etabench run` plans it anew")
        model.cancelled = self.stop
        return model

    def at_once(self, index: int) -> int:
        """How many units of a plan entry are made together: 1 for an editor that would only loop over them.

        `auto` is 1 on a CPU, where nothing is gained, and on a GPU as many as fill one call with both predictions of all their values.
        """
        entry = self.run.plan.entries[index]
        if not registry.load_editor(entry.target).batches:
            return 1
        if isinstance(self.batch, int):
            return self.batch
        if not (entry.needs_model and self.device.startswith("cuda")):
            return 1
        return min(MOST_AT_ONCE, max(1, self.model.max_batch // (2 * len(entry.values))))

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

        Several units are made in one batch; where that fails, in halves if memory was out, else one by one, so that a bad sample fails
        alone. Interrupted passes.
        """
        problems: dict[str, str] = {}
        made = self._together([unit for unit in units if not unit.missing and not unit.before], problems)
        for unit in units:
            record, files = made.get(unit.key) or self._alone(unit)
            if unit.key in problems:
                record = replace(record, worker=record.worker | {"batch_failed": problems[unit.key]})
            yield record, files

    def _together(self, units: Sequence[Unit], problems: dict[str, str]) -> dict[str, Made]:
        """Those of several units that can be made in one batch, by their keys; why not goes into `problems`."""
        if len(units) < 2:
            return {}
        editor, samples = self._ready(units)
        try:
            return {each[0].key: each for each in self._edit(units, editor, samples)}
        except BaseException as error:
            self._after(error)
            problems.update(dict.fromkeys((unit.key for unit in units), f"{type(error).__name__}: {message_of(error)[:300]}"))
            full = out_of_memory(error)
        if not full:
            return {}
        half = (len(units) + 1) // 2
        return self._together(units[:half], problems) | self._together(units[half:], problems)

    def _alone(self, unit: Unit) -> Made:
        """The record and the files of one unit, after as many tries as the spec and the device's memory give it."""
        entry = self.run.plan.entries[unit.entry]
        lacking = [name for name in unit.missing if name != "real"]
        if lacking:
            text = f"{entry.label} needs {', '.join(lacking)}, which the sample lacks"
            return self.failed(unit, {"type": "MissingInput", "message": f"missing input: {text}"}), {}
        tries = Tries(self.run.spec.retry)
        while True:
            editor, samples = self._ready([unit])
            try:
                record, files = self._edit([unit], editor, samples)[0]
                break
            except BaseException as error:
                self._after(error)
                wait = 0.0 if entry.needs_model and self._halved(error, tries) else tries.another(error)
                if wait is None:
                    record, files = self.failed(unit, reason_of(error)), {}
                    break
            pause(wait, self.stop)
        if tries.before and "model" in vars(self):
            self.model.limits.bound = None
        return replace(record, retries=tries.before), files

    def _halved(self, error: BaseException, tries: Tries) -> bool:
        """Whether memory was out and the model's networks take fewer items in a call from now on: half of what the unit gave them."""
        most = self.model.limits.most
        if not out_of_memory(error) or most < 2:
            return False
        self.model.limits.bound = most // 2
        tries.note(error, f"max_batch {most // 2}")
        return True

    def _after(self, error: BaseException) -> None:
        """Tell a stop from a failure, make room after the device's memory was full, and drop what a time limit left half done.

        Whatever an editor raises is a failure, an exit or a KeyboardInterrupt of its own too, unless this worker was told to stop.
        """
        if self.stop():
            raise Interrupted from error
        if isinstance(error, RunError):
            raise error
        if isinstance(error, TimeLimit):
            self._editors.clear()
            vars(self).pop("model", None)
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
        limit = self.run.spec.unit_seconds
        with (
            contextlib.chdir(
                "."
            ),  # whatever an editor makes of it: the next unit and the folder's path are seen from the same place
            no_way_out(),
            time_limit(None if limit is None else limit * len(units)),
        ):
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
            worker=self._about() | {"batch": cost.units} | ({"max_batch": self.model.max_batch} if entry.needs_model else {}),
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
