"""PowerPaint (Zhuang et al., ECCV 2024, arXiv 2312.03594), first version: inpainting with learned task words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from editors.base import EditTask, Image, Knob
from editors.base import Params as AnyParams
from editors.inpainting import Conditioned, Inpainter, InpaintParams, InpaintState
from editors.toolbox.checkpoint import CheckpointError

__all__ = ["PowerPaint", "PowerPaintParams", "PowerPaintState"]

FOLDER = (
    "a diffusers folder of Stable Diffusion inpainting (9 channels) with the U-Net and text encoder of JunhaoZhuang/PowerPaint-v1, "
    "whose tokenizer holds the learned words P_obj, P_ctxt and P_shape, each as one token or as P_obj_0, P_obj_1, ..."
)


class PowerPaintParams(InpaintParams):
    """Parameters of PowerPaint."""

    steps: int = Field(45, ge=1, le=1000, description="DDIM steps of the whole schedule; a partial edit executes its share")
    task: Literal["text", "shape", "removal"] = Field(
        "text", description="text: an object by the target text; shape: one that fits the mask; removal: background, no text"
    )
    fitting_degree: float = Field(
        1.0, ge=0, le=1, description="task shape: weight of the words that fill the mask, against those that fit the context"
    )
    negative_text: str = Field(
        "worst quality, low quality, normal quality, bad quality, blurry",
        description="what guidance leads away from, after the task's own word; not used by task removal",
    )
    knob: Literal["strength", "fitting_degree"] = Field(
        "strength", description="what is swept; fitting_degree wants task shape, and the whole schedule is executed"
    )

    @model_validator(mode="after")
    def _fitting(self) -> PowerPaintParams:
        if self.knob == "fitting_degree" and self.task != "shape":
            raise ValueError(f"fitting_degree is a knob of task shape, not of {self.task}")
        return self


@dataclass(frozen=True, eq=False)
class PowerPaintState(InpaintState):
    """An inpainting state with the embedded texts A, B and those that lead away from them, (4, l, d)."""

    ends: Tensor


class PowerPaint(Inpainter):
    """PowerPaint v1: a Stable Diffusion inpainting network with one learned word per task.

    The condition c is the mix d A + (1 - d) B of two embedded texts with the fitting degree d:

    ======== ========================== =============== ======================= ======================
    task     A                          B               away from A             away from B
    ======== ========================== =============== ======================= ======================
    text     P_obj <target>             = A             <negative>              = A
    shape    P_shape <target>           P_ctxt <target> P_shape <negative>      P_ctxt <negative>
    removal  P_ctxt empty scene blur    = A             P_obj                   = A
    ======== ========================== =============== ======================= ======================

    The knob is the strength of every inpainting editor or, for task shape, d itself, from the words that fit the context to those that
    fill the mask, at strength 1; all values share their noise, so a curve is one object that grows into its mask.

    The rest is ``sd_inpaint`` in its form of 9 channels. Preset ``paper`` holds the values of the authors' demo; ``removal`` their
    advice for removal (guidance 10 or more). The demo puts a comma before the negative text where the user's own is empty; here there
    is none. Its earlier releases wrote the task's word behind the text, the present one before it, as here. Version 2, built on
    BrushNet with attention, is another network and is not supported.
    """

    name = "powerpaint"
    version = "1"
    channels = frozenset({5})
    checkpoint = f"as the model, {FOLDER} (MIT)"
    tested_on = "tiny checkpoint"
    Params = PowerPaintParams
    params: PowerPaintParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 45, "guidance": 7.5, "task": "text", "fitting_degree": 1.0, "mask_downsampling": "nearest"},
        "removal": {"steps": 45, "guidance": 10.0, "task": "removal"},
        "fast": {"steps": 20},
    }
    blends = False

    @classmethod
    def knob_of(cls, params: AnyParams) -> Knob | None:
        assert isinstance(params, PowerPaintParams)
        if params.knob == "strength":
            return cls.knob
        words = "weight of the words that fill the mask, against those that fit the context"
        return Knob("fitting_degree", 0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), words)

    def prepare_many(self, tasks: Sequence[EditTask]) -> list[InpaintState]:
        plain = super().prepare_many(tasks)
        return [PowerPaintState(**_parts(state), ends=self._ends(task)) for state, task in zip(plain, tasks, strict=True)]

    def render_many(self, states: Sequence[InpaintState], values: Sequence[float]) -> list[Sequence[Image | None]]:
        render = super().render_many
        if self.params.knob == "strength":
            return render(states, values)
        return [[edit for (edit,) in render([_fitted(state, value) for value in values], (1.0,))] for state in states]

    def texts(self, task: EditTask) -> tuple[Tensor, Tensor]:
        return _mixed(self._ends(task), self.params.fitting_degree)

    def _ends(self, task: EditTask) -> Tensor:
        """The texts A, B and those away from them, embedded, (4, l, d)."""
        target, away = task.target_text, self.params.negative_text
        texts = {
            "text": (f"P_obj {target}", f"P_obj {target}", away, away),
            "shape": (f"P_shape {target}", f"P_ctxt {target}", f"P_shape {away}", f"P_ctxt {away}"),
            "removal": ("P_ctxt empty scene blur", "P_ctxt empty scene blur", "P_obj", "P_obj"),
        }[self.params.task]
        return self.model.embed([self._spelled(text) for text in texts])

    def _spelled(self, text: str) -> str:
        """``text`` with the task's word as the tokens that stand for it. Raises ``CheckpointError`` where there are none."""
        word, _, rest = text.partition(" ")
        if not word.startswith("P_"):
            return text
        known = self.model.tokenizer.get_added_vocab()
        numbered = sorted((token for token in known if token.startswith(f"{word}_")), key=lambda token: known[token])
        tokens = [word] if word in known else numbered
        if not tokens:
            raise CheckpointError(f"powerpaint: the tokenizer has no learned word {word}; it takes {FOLDER}")
        rows = self.model.text_encoder.get_input_embeddings().num_embeddings
        if max(known[token] for token in tokens) >= rows:
            raise CheckpointError(f"powerpaint: the text encoder has {rows} words and none for {tokens[-1]}; it takes {FOLDER}")
        return " ".join([*tokens, rest]).strip()

    def surroundings(self, task: EditTask, x0: Tensor, cells: Tensor) -> Any:
        return Conditioned(self.model.unet, self.nine_channels(task, cells))

    def facts(self, state: InpaintState) -> dict[str, str | float | bool]:
        return {**super().facts(state), "task": self.params.task}


def _mixed(ends: Tensor, degree: float) -> tuple[Tensor, Tensor]:
    """d A + (1 - d) B of what is wanted and of what is led away from, (1, l, d) each."""
    a, b, away_a, away_b = torch.split(ends, 1)
    return torch.lerp(b, a, degree), torch.lerp(away_b, away_a, degree)


def _fitted(state: InpaintState, degree: float) -> InpaintState:
    assert isinstance(state, PowerPaintState)
    target, empty = _mixed(state.ends, degree)
    return replace(state, target=target, empty=empty)


def _parts(state: InpaintState) -> dict[str, Any]:
    return {each.name: getattr(state, each.name) for each in fields(state)}
