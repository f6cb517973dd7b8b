"""Editors on an emulated CUDA card: on the right device, in any dtype, in an order that is fixed, within its memory."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from emulated import on_card, unavailable
from torch.nn.functional import grid_sample

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(unavailable()), reason=unavailable())]

QUICK: Mapping[str, Any] = {
    "steps": 2,
    "draws": 1,
    "embedding_steps": 1,
    "unet_steps": 1,
    "background_reconstruction_steps": 1,
    "mask_maps": 2,
    "candidates": 2,
    "augmentations": 2,
    "inner_steps": 1,
    "jump_length": 1,
    "jump_n_sample": 2,
}
"""Small values of the parameters that decide how long an edit takes, for every editor that has them."""

VARY = frozenset({"flexit", "text2live", "blended_diffusion"})
"""Editors whose gradients pass through random views, for which CUDA has no deterministic kernel."""

MEAN_GAP: Mapping[str, float] = {"float16": 0.5, "bfloat16": 4.0}
"""Mean grey levels that edits may lie from those of float32: twice what rounding moves at the most (0.2 and 2.1, both of Imagic)."""


def names() -> list[str]:
    """The editors that run on ToyBox's own networks."""
    from bench import registry

    editors = {name: registry.load_editor(name) for name in registry.editors()}
    return [
        name for name, e in editors.items() if e.needs_model and e.tested_on == "toybox" and 0 in e.channels and not e.outside
    ]


def edits(card: Any, dtypes: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Of every editor in its dtypes: how far its edits lie from the CPU's in float32, and what the card saw."""
    from embedded_model import tasks

    from bench import registry
    from bench.devices import deterministic
    from bench.toybox.embedded import TOYBOX, preset_of, with_ranker
    from editors import DiffusionModel

    task, found = tasks(2)[1], {}
    used = sorted({dtype for each in dtypes.values() for dtype in each})
    models = {d: DiffusionModel.load(TOYBOX / "generator", device="cuda", dtype=getattr(torch, d)) for d in used}
    host = DiffusionModel.load(TOYBOX / "generator")
    for name, wanted in dtypes.items():
        cls = registry.load_editor(name)
        own = {key: value for key, value in QUICK.items() if key in cls.Params.model_fields}
        params = with_ranker(cls, cls.resolve(preset_of(cls.presets), own))
        values = (2,) if name == "flexit" else (1.0,) if cls.knob else (0.0,)

        def edit(model: Any, cls: Any = cls, params: Any = params, values: Any = values) -> tuple[Any, Any]:
            editor = cls(model, params)
            with deterministic(1):
                state = editor.prepare(task)
                return np.stack(editor.render(state, values)).astype(int), editor.facts(state)

        expected, _ = edit(host)
        for dtype in wanted:
            card.clear()
            pictures, facts = edit(models[dtype])
            gap = np.abs(pictures - expected)
            found[f"{name} {dtype}"] = {
                "most": int(gap.max()),
                "mean": float(gap.mean()),
                "unordered": card.seen("no fixed order"),
                "global": card.seen("global generator"),
                "not_reproducible": "not_reproducible" in facts,
            }
    return found


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    few = ("sdedit", "imagic", "null_text", "ledits_pp")
    return on_card(edits, dtypes={name: ["float32", "float16", *(["bfloat16"] if name in few else [])] for name in names()})


def test_every_editor_makes_the_pictures_of_the_cpu(seen: dict[str, Any]) -> None:
    assert len(seen) >= 2 * 20
    # the same kernels run, but where a card has a fused one: attention, Adam
    assert {name: each["most"] for name, each in seen.items() if name.endswith("float32") and each["most"] > 1} == {}


def test_half_precision_moves_pictures_by_its_rounding_alone(seen: dict[str, Any]) -> None:
    gaps = {tuple(name.split()): each["mean"] for name, each in seen.items() if not name.endswith("float32")}
    assert {key: gap for key, gap in gaps.items() if gap > MEAN_GAP[key[1]]} == {}
    assert any(gaps.values())


def test_nothing_is_drawn_from_the_cards_own_generator(seen: dict[str, Any]) -> None:
    assert {name: each["global"] for name, each in seen.items() if each["global"]} == {}


def test_sums_have_a_fixed_order_or_the_record_says_that_they_have_none(seen: dict[str, Any]) -> None:
    unordered = {name.split()[0] for name, each in seen.items() if each["unordered"]}
    assert unordered == VARY
    assert {name.split()[0] for name, each in seen.items() if each["not_reproducible"]} == VARY


def memory(card: Any) -> dict[str, Any]:
    """GiB at the peak of a model of Stable Diffusion 1's sizes in float16: of its weights, and beyond them by what is done."""
    from sd_sized import stable_diffusion, task_of

    from bench import registry
    from bench.devices import deterministic
    from bench.toybox.embedded import with_ranker

    model = stable_diffusion(torch.float16)
    weights = torch.cuda.memory_allocated() / 2**30
    found: dict[str, Any] = {"weights": weights}

    def peak_of(work: Callable[[], Any]) -> float:
        gc.collect()
        card.clear()
        model.limits.forget()
        with deterministic(1):
            work()
        return card.peak - weights

    def edit(name: str, side: int, values: Sequence[float], **params: Any) -> Callable[[], Any]:
        cls = registry.load_editor(name)
        editor = cls(model, with_ranker(cls, cls.resolve("", params)))
        return lambda: editor.render(editor.prepare(task_of(side)), values)

    latents = torch.zeros(64, 4, 64, 64, device="cuda")
    text = torch.zeros(1, 77, 768, device="cuda")
    found["decode 64 of 512"] = peak_of(lambda: model.decode(latents))
    found["decode 4 of 1024"] = peak_of(lambda: model.decode(torch.zeros(4, 4, 128, 128, device="cuda")))
    found["imagic"] = peak_of(edit("imagic", 512, (1.0,), steps=1, embedding_steps=1, unet_steps=1))
    found["direct_inversion at 1024"] = peak_of(edit("direct_inversion", 1024, (0.5, 1.0), steps=2))
    found["ledits_pp at 1024"] = peak_of(edit("ledits_pp", 1024, (0.5, 1.0), steps=2))
    guided = edit("blended_diffusion", 512, (1.0,), steps=1, candidates=4)
    found["blended_diffusion"] = peak_of(guided)
    found["64 predictions"] = peak_of(lambda: model.predict(latents, 500, text))
    torch.cuda.set_per_process_memory_fraction(11 / 24)
    found["blended_diffusion on 11"] = peak_of(guided)
    found["halved gradients"] = model.limits.facts()
    torch.cuda.set_per_process_memory_fraction(4 / 24)
    found["64 predictions on 4"] = peak_of(lambda: model.predict(latents, 500, text))
    found["halved predictions"] = model.limits.facts()
    return found


@pytest.fixture(scope="module")
def gib() -> dict[str, Any]:
    return on_card(memory, gib=24, dry=True)


@pytest.mark.parametrize(
    ("what", "most", "before"),
    [
        ("decode 64 of 512", 2.5, 24),
        ("decode 4 of 1024", 2.5, 24),
        ("imagic", 13.5, 16),
        ("direct_inversion at 1024", 8, 73),
        ("ledits_pp at 1024", 4, 81),
        ("blended_diffusion", 14, 27),
        ("blended_diffusion on 11", 9, 27),
    ],
)
def test_what_is_computed_at_once_fits_a_card(gib: dict[str, Any], what: str, most: float, before: float) -> None:
    """``before`` is what it took without limits by pixels, parts and fused attention; a tenth is left for another torch's blocks."""
    assert 0.5 < gib[what] < most < before


def test_what_is_out_of_memory_is_done_in_halves(gib: dict[str, Any]) -> None:
    assert gib["halved gradients"] == {"batch_halved_to": "guided candidates 1"}
    assert gib["halved predictions"]["batch_halved_to"].startswith("U-Net ")
    assert gib["64 predictions on 4"] < 4 - gib["weights"] < gib["64 predictions"]


def faults(card: Any) -> dict[str, str]:
    """What the card says to mistakes that a CPU forgives."""
    x, found = torch.arange(16.0).view(4, 4).to("cuda"), {}

    def tried(name: str, work: Callable[[], Any]) -> None:
        try:
            work()
            found[name] = ""
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"

    tried("right", lambda: (x @ x).sum().item())
    tried("two devices", lambda: x @ torch.ones(4, 4))
    tried("generator", lambda: torch.randn(4, device="cuda", generator=torch.Generator()))
    tried("numpy", x.numpy)
    tried("memory", lambda: torch.empty(2**30, 3, device="cuda"))
    picture = x.view(1, 1, 4, 4).requires_grad_(True)
    grid = torch.zeros(1, 4, 4, 2, device="cuda")
    torch.use_deterministic_algorithms(True)
    tried("no fixed order", lambda: grid_sample(picture, grid, align_corners=False).sum().backward())
    torch.use_deterministic_algorithms(True, warn_only=True)
    tried("told", lambda: grid_sample(picture, grid, align_corners=False).sum().backward())
    found["counted"] = str(sum(card.seen("no fixed order").values()))
    found["waits"] = str(sum(card.seen("wait").values()))
    found["product"] = str(float((x.cpu() @ x.cpu() - (x @ x).cpu()).abs().max()))
    return found


def test_the_card_finds_what_a_cpu_forgives() -> None:
    found = on_card(faults, gib=8)
    assert found["right"] == found["told"] == ""
    assert "at least two devices" in found["two devices"]
    assert "generator" in found["generator"]
    assert found["numpy"].startswith("TypeError")
    assert found["memory"].startswith("OutOfMemoryError")
    assert "deterministic" in found["no fixed order"]
    assert (found["counted"], found["waits"], found["product"]) == ("1", "1", "0.0")
