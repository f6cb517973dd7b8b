"""Editors on an emulated CUDA card: on the right device, in any dtype, in an order that is fixed, within its memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import grid_sample
from torch.optim.optimizer import register_optimizer_step_post_hook

from bench.benchmarks.emulated import on_card, unavailable

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(unavailable()), reason=unavailable())]

QUICK: Mapping[str, Any] = {
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

FEW_BITS: Mapping[str, Any] = {"guidance": 2.0, "source_guidance": 2.0}
"""Guidance that FLUX.1's network, which makes thousands of it, is told the same in bfloat16 as in float32."""

MEAN_GAP: Mapping[str, float] = {"float16": 0.5, "bfloat16": 4.0}
"""Mean grey levels that edits may lie from those of float32: twice what rounding moves at the most (0.2 and 2.1, both of Imagic)."""


def names() -> list[str]:
    """The editors that run on ToyBox's own networks."""
    from bench import registry

    editors = {name: registry.load_editor(name) for name in registry.editors()}
    return [
        name for name, e in editors.items() if e.needs_model and e.tested_on == "toybox" and 0 in e.channels and not e.outside
    ]


@contextmanager
def steps_of(card: Any, unet: Any, again: bool) -> Iterator[Callable[[], int]]:
    """How many steps were taken within: calls of the U-Net in a row at one timestep (``again``: each of them), and steps of optimisers."""
    taken: list[float] = []
    optimised: list[None] = []

    def called(_module: Any, given: tuple[Any, ...]) -> None:  # deep copies of the U-Net keep it
        events = card.events.copy()
        t = float(given[1].flatten()[0])
        card.events = events  # without the wait for this number
        if again or taken[-1:] != [t]:
            taken.append(t)

    hooks = (
        unet.register_forward_pre_hook(called),
        register_optimizer_step_post_hook(lambda *_: optimised.append(None)),
    )
    try:
        yield lambda: len(taken) + len(optimised)
    finally:
        for hook in hooks:
            hook.remove()


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

        def edit(model: Any, steps: int = 2, cls: Any = cls) -> tuple[Any, Any]:
            own = {key: value for key, value in {**QUICK, "steps": steps}.items() if key in cls.Params.model_fields}
            editor = cls(model, with_ranker(cls, cls.resolve(preset_of(cls.presets), own)))
            values = (steps,) if cls.name == "flexit" else (1.0,) if cls.knob else (0.0,)
            with deterministic(1):
                state = editor.prepare(task)
                return np.stack(editor.render(state, values)).astype(int), editor.facts(state)

        expected, _ = edit(host)
        for dtype in wanted:
            paces = []
            for number in (1, 2) if dtype == "float32" else (2,):
                card.clear()
                with steps_of(card, models[dtype].unet, again=name == "repaint") as steps:
                    pictures, facts = edit(models[dtype], number)
                    paces.append((steps() + number * (name == "flexit"), waits(card)))
            gap = np.abs(pictures - expected)
            found[f"{name} {dtype}"] = {
                "most": int(gap.max()),
                "mean": float(gap.mean()),
                "unordered": card.seen("no fixed order"),
                "paces": paces,
                "global": card.seen("global generator"),
                "not_reproducible": "not_reproducible" in facts,
            }
    return found


def waits(card: Any) -> int:
    """How often the host waited for the device: for a value or a copy."""
    return sum(sum(card.seen(kind).values()) for kind in ("wait", "copy"))


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


def test_the_device_is_waited_for_once_a_step(seen: dict[str, Any]) -> None:
    """Of two runs, one of one step, the other of two: a step more costs one wait, and what is no step a few."""
    paces = {name: each["paces"] for name, each in seen.items() if name.endswith("float32")}
    more = {name: (two[0] - one[0], two[1] - one[1]) for name, (one, two) in paces.items()}
    assert {name: (steps, waits) for name, (steps, waits) in more.items() if waits > steps} == {}
    assert sum(steps for steps, _ in more.values()) >= len(more)
    # picture, texts and mask go to the device, three guards and the pictures come back; the weights of text2live's generator go too
    beside = {name.split()[0]: two[1] - two[0] for name, (_, two) in paces.items()}
    assert {name: waits for name, waits in beside.items() if waits > 16} == {"text2live": beside["text2live"]}


def family_edits(card: Any, folders: Mapping[str, str]) -> dict[str, Any]:
    """Of every family of models: how far edits in half precision lie from the CPU's, and what a step more costs in waits."""
    from dataclasses import replace

    from embedded_model import tasks

    from bench import registry
    from bench.devices import deterministic
    from editors import DiffusionModel

    task, found = replace(tasks(1)[0], source_text="a red ball"), {}
    for family, folder in folders.items():
        for name in ("sdedit", "imagic", "flowedit", "rf_inversion"):
            cls = registry.load_editor(name)
            if family not in cls.families:
                continue

            def edit(device: str, dtype: torch.dtype, steps: int = 3, cls: Any = cls, folder: str = folder) -> Any:
                own = {
                    key: value for key, value in {**QUICK, "steps": steps, **FEW_BITS}.items() if key in cls.Params.model_fields
                }
                editor = cls(DiffusionModel.load(folder, device=device, dtype=dtype, side=64), cls.resolve("", own))
                card.clear()
                with deterministic(1):
                    return np.stack(editor.render(editor.prepare(task), (1.0,))).astype(int)

            expected, paces = edit("cpu", torch.float32), []
            for steps in (2, 3):
                pictures = edit("cuda", torch.bfloat16, steps)
                paces.append(waits(card))
            found[f"{name} {family}"] = (float(np.abs(pictures - expected).mean()), paces[1] - paces[0])
    return found


def test_every_family_runs_on_the_card_in_half_precision(family_folders: Mapping[str, Any]) -> None:
    found = on_card(family_edits, folders={family: str(folder) for family, folder in family_folders.items()})
    assert len(found) == 3 * 2 + 2 * 2
    # of random networks, whose pictures have no large even areas
    assert {name: gap for name, (gap, _) in found.items() if gap > 2 * MEAN_GAP["bfloat16"]} == {}
    # flowedit and rf_inversion look at their latents once in a step; rf_inversion goes both ways
    assert {name: waits for name, (_, waits) in found.items() if waits > 1 + name.startswith("rf_inversion")} == {}


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
