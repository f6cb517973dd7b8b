"""A turn of an own chain: what the turn before gave at a knob value is the source at that value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.errors import EtabenchError, RunError

if TYPE_CHECKING:
    from bench.plan import Unit
    from bench.store import Run
    from editors.base import Editor, EditTask
    from editors.task import Image

__all__ = ["BrokenChain", "follow", "own_sources", "ready"]


class BrokenChain(EtabenchError):  # noqa: N818 - named after the state of the chain
    """The turn before gave nothing that this one could edit; a failure of the unit."""


def ready(run: Run, unit: Unit) -> bool:
    """Whether all that a unit edits is there: it is no turn of a chain, or the turn before has its record."""
    return not unit.before or run.finished(unit.before)


def own_sources(run: Run, unit: Unit, task: EditTask) -> dict[float, EditTask]:
    """The task at each knob value, with the picture of the turn before in the source's place; a value that it lacks is left out.

    Raises BrokenChain where that turn failed or gave pictures of another size, RunError where its pictures are gone.
    """
    record = run.record(unit.before)
    if record is None:
        raise RunError(f"unit {unit.key} follows {unit.before}, which is not made yet")
    if record.status == "failed":
        raise BrokenChain(f"the turn before failed: {(record.reason or {}).get('message')}")
    found = {}
    for index, edit in enumerate(record.edits):
        picture = run.read_edit(record, index)
        if picture.shape != task.image.shape:
            sizes = " and ".join(f"{shape[1]}x{shape[0]}" for shape in (picture.shape, task.image.shape))
            raise BrokenChain(f"the turn before and this one are of two sizes, {sizes}; set manifest.size")
        found[edit.value] = replace(task, image=picture)
    return found


def follow(
    editor: Editor[Any], tasks: Mapping[float, EditTask], values: Iterable[float]
) -> tuple[list[Any], list[Sequence[Image | None]]]:
    """States and edits of one unit, as `prepare_many` and `render_many` give them; the state is that of the last value.

    Raises BrokenChain where no value has a source.
    """
    states: list[Any] = []
    edits: list[Image | None] = []
    for value in values:
        if value in tasks:
            states = editor.prepare_many([tasks[value]])
            edits += editor.render_many(states, (value,))[0]
        else:
            edits.append(None)
    if not states:
        raise BrokenChain("the turn before has no edit at any knob value")
    return states, [edits]
