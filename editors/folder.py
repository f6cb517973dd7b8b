"""Edits made elsewhere: any method can enter a leaderboard with its pictures alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pydantic import Field

from editors.base import Editor, EditTask, FairPlay, Image, Knob, MissingInput
from editors.base import Params as BaseParams
from editors.toolbox.delivered import Delivery, open_delivery, read_picture
from editors.toolbox.grid import Fit, to_grid

__all__ = ["Folder", "FolderState"]


@dataclass(frozen=True, eq=False)
class FolderState:
    """The task, and what was found while its pictures were read."""

    task: EditTask
    delivery: Delivery
    formats: set[str] = field(default_factory=set)
    transforms: set[str] = field(default_factory=set)


class Folder(Editor[FolderState]):
    """Reads the edits of an outside method by sample id and knob value, from a folder of pictures or a parquet file.

    A folder holds the files that ``pattern`` describes; a parquet file has the columns ``sample_id``, ``value`` (absent where the
    method has no knob) and ``image`` (bytes, a struct of bytes and path, or a path beside the file). The knob's name is the
    parameter ``knob``; its default grid is what was delivered. A picture of another size than the source is brought to the source's
    grid, and ``facts`` say how: ``fit`` should be that of the manifest where the method edited the uncropped picture. A picture that
    was not delivered is recorded as missing, never replaced. Time and memory of the method are not known here and are not recorded;
    what it was allowed to see is what its author declares.
    """

    name = "folder"
    version = "2"
    knob = Knob("value", -1e9, 1e9, (0.0,), "the outside method's own; the grid is what was delivered")
    deterministic = True
    needs_model = False
    outside = True

    class Params(BaseParams):
        """Where the pictures are, and what their author declares."""

        path: str = Field("", description="a folder of pictures, or a parquet file")
        pattern: str = Field("{sample_id}/{value}.png", description="path of a picture in the folder; * is any part of a name")
        knob: str = Field("", description="name of the method's knob, for axes and tables")
        fit: Fit = Field("center-crop", description="how a picture of another aspect ratio comes to the source's grid")
        uses_mask: bool = Field(False, description="declared: the method reads the manifest's mask")
        uses_source_text: bool = Field(False, description="declared: the method reads the source caption")
        candidates: int = Field(1, ge=1, description="declared: pictures made per delivered one")
        selector: str = Field("", description="declared: how one candidate is picked")
        clip_in_loop: bool = Field(False, description="declared: the method optimises or ranks with a CLIP network")
        fine_tunes: bool = Field(False, description="declared: the method trains weights for each picture")

    params: Params

    @classmethod
    def assets(cls, params: BaseParams) -> Mapping[str, str]:
        return {"path": _delivery(params).digest}

    @classmethod
    def knob_of(cls, params: BaseParams) -> Knob | None:
        """The knob with the delivered values as its grid, under the name that ``params`` gives; None where none was delivered."""
        values = _delivery(params).values
        if not values:
            return None
        return Knob(getattr(params, "knob", "") or cls.knob.name, cls.knob.low, cls.knob.high, values, cls.knob.description)

    def fair_play(self) -> FairPlay:
        p = self.params
        return FairPlay(p.uses_mask, p.uses_source_text, False, p.candidates, p.selector, p.clip_in_loop, p.fine_tunes)

    def prepare(self, task: EditTask) -> FolderState:
        self.check(task)
        if not task.sample_id:
            raise MissingInput("folder needs sample_id, the task has none: edits are found by it")
        return FolderState(task, self._found)

    @cached_property
    def _found(self) -> Delivery:
        return _delivery(self.params)

    def render(self, state: FolderState, values: Sequence[float]) -> list[Image | None]:
        height, width = state.task.image.shape[:2]
        edits: list[Image | None] = []
        for value in values:
            delivered = state.delivery.find(state.task.sample_id, value)
            if delivered is None:
                edits.append(None)
                continue
            picture, kind = read_picture(delivered)
            edit, transform = to_grid(picture, height, width, self.params.fit)
            state.formats.add(kind)
            state.transforms.add(transform)
            edits.append(edit)
        return edits

    def facts(self, state: FolderState) -> dict[str, str | float | bool]:
        return {
            "made": "elsewhere",
            "knob": self.params.knob,
            "format": ", ".join(sorted(state.formats)),
            "transform": "; ".join(sorted(state.transforms)),
        }


def _delivery(params: BaseParams) -> Delivery:
    if not isinstance(params, Folder.Params):
        raise MissingInput(f"folder: expected its own parameters, got {type(params).__name__}")
    return open_delivery(params.path, params.pattern)
