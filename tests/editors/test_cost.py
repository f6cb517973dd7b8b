"""What a sweep costs, in calls of the networks and samples through them: what can be shared between knob values is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from torch import Tensor

from editors import DiffusionModel, Editor, EditTask
from editors.diffedit import DiffEdit
from editors.diffedit_no_encode import DiffEditNoEncode
from editors.encode_decode import EncodeDecode
from editors.imagic import Imagic
from editors.sdedit import SDEdit

RATIOS = tuple(k / 10 for k in range(1, 11))
STEPS = 50
EXECUTED = sum(5 * k for k in range(1, 11))
"""Steps that the ten ratios execute together."""
MAPS = 10


class Meter:
    """Sizes of the batches that went through the networks. The U-Net is replaced by next to nothing: only calls count here."""

    def __init__(self, model: DiffusionModel, monkeypatch: pytest.MonkeyPatch) -> None:
        self.model = model
        self.unet: list[int] = []
        self.encoded: list[int] = []
        self.decoded: list[int] = []

        def cheap(x: Tensor, *_: Any, **__: Any) -> Any:
            return SimpleNamespace(sample=0.1 * x)

        self._watch(monkeypatch, model.unet, "forward", cheap, self.unet)
        self._watch(monkeypatch, model.vae, "encode", model.vae.encode, self.encoded)
        self._watch(monkeypatch, model.vae, "decode", model.vae.decode, self.decoded)

    @staticmethod
    def _watch(monkeypatch: pytest.MonkeyPatch, network: Any, method: str, work: Callable[..., Any], sizes: list[int]) -> None:
        def counted(x: Tensor, *given: Any, **named: Any) -> Any:
            sizes.append(len(x))
            return work(x, *given, **named)

        monkeypatch.setattr(network, method, counted)


@pytest.fixture
def meter(model: DiffusionModel, monkeypatch: pytest.MonkeyPatch) -> Meter:
    return Meter(model, monkeypatch)


def make(cls: type[Editor[Any]], model: DiffusionModel, **params: Any) -> Editor[Any]:
    return cls(model, cls.resolve("", {"steps": STEPS, **params}))


def sweep(editor: Editor[Any], tasks: Sequence[EditTask]) -> None:
    editor.render_many(editor.prepare_many(tasks), RATIOS)


def staggered(start: int, items: int) -> list[int]:
    """Batches of a guided decode in which ``items`` more items join at 50, 45, ... levels."""
    return [2 * items * sum(5 * k >= level for k in range(1, 11)) for level in range(start, 0, -1)]


def test_diffedit_over_ten_ratios(meter: Meter, task: EditTask) -> None:
    sweep(make(DiffEdit, meter.model), [task])
    assert meter.unet == [2 * MAPS] + STEPS * [1] + staggered(STEPS, 1)
    assert sum(meter.unet) == 2 * MAPS + STEPS + 2 * EXECUTED
    assert len(meter.unet) == 1 + 2 * STEPS
    assert meter.encoded == [1]
    assert meter.decoded == [len(RATIOS)]


def test_two_samples_share_the_calls_and_their_masks_stay_apart(meter: Meter, task: EditTask, other: EditTask) -> None:
    sweep(make(DiffEdit, meter.model), [task, other])
    assert meter.unet == 2 * [2 * MAPS] + STEPS * [2] + staggered(STEPS, 2)
    assert meter.encoded == [1, 1]
    assert meter.decoded == [2 * len(RATIOS)]


def test_the_ablations_leave_out_what_they_lack(meter: Meter, task: EditTask) -> None:
    model = meter.model
    parts = {SDEdit: 0, DiffEditNoEncode: 2 * MAPS, EncodeDecode: STEPS}
    for editor, part in parts.items():
        before = model.unet_evaluations
        sweep(make(editor, model), [task])
        assert model.unet_evaluations - before == part + 2 * EXECUTED, editor.name


def test_no_call_is_larger_than_the_model_allows(meter: Meter, task: EditTask, other: EditTask) -> None:
    meter.model.max_batch = 16
    sweep(make(DiffEdit, meter.model, steps=10), [task, other])
    assert max(*meter.unet, *meter.decoded) <= 16
    assert sum(meter.unet) == 2 * (2 * MAPS + 10 + 2 * sum(range(1, 11)))
    assert sum(meter.decoded) == 2 * len(RATIOS)


@pytest.mark.parametrize("draws", [1, 3])
def test_imagic_over_any_eta_and_sampling_seeds_costs_one_fit(model: DiffusionModel, task: EditTask, draws: int) -> None:
    editor = Imagic(model, Imagic.resolve("", {"steps": 4, "embedding_steps": 3, "unet_steps": 2, "draws": draws}))
    before = model.unet_evaluations
    state = editor.prepare(task)
    fitted = model.unet_evaluations - before
    assert fitted == draws * (3 + 2)
    etas, seeds = (0.0, 0.4, 0.8, 1.0), (0, 1, 2)
    calls: list[int] = []
    hook = state.tuned.unet.register_forward_pre_hook(lambda _module, given: calls.append(len(given[0])))
    editor.render_seeds(state, etas, seeds)
    hook.remove()
    assert calls == 4 * [2 * len(etas) * len(seeds)]
    assert model.unet_evaluations - before == fitted + sum(calls)
