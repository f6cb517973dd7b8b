"""What edits take on a card, and that the page of it is true: models of Stable Diffusion's sizes on an emulated one, dry."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from bench import registry
from bench.benchmarks import memory
from bench.benchmarks.emulated import on_card, unavailable
from bench.benchmarks.sizes import SIZES
from bench.commands.room import measured
from editors.toolbox.speed import MEMORY_SHARE

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(unavailable()), reason=unavailable())]


def page() -> dict[str, dict[str, float]]:
    """The table of the page, by column and row."""
    lines = [line.strip("| ").split(" | ") for line in memory.PAGE.read_text().splitlines() if line.startswith("|")]
    head, _, *rows = lines
    columns = [cell.strip() for cell in head if cell.strip()]
    return {
        name: {row[0].strip(): float(row[place]) for row in rows if row[place] != "–"} for place, name in enumerate(columns, 1)
    }


def taken(card: Any) -> dict[str, Any]:
    """GiB at the peak of a model of Stable Diffusion 1's sizes in float16: of its weights, and beyond them by what is done."""
    from bench import registry
    from bench.benchmarks.sizes import SIZES, model_of, task_of
    from bench.devices import deterministic
    from bench.toybox.embedded import with_ranker
    from editors.toolbox.speed import fitting

    model = model_of(SIZES["SD 1.5"], "float16")
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
    found["decode 1 of 2048"] = peak_of(lambda: model.decode(torch.zeros(1, 4, 256, 256, device="cuda")))
    found["imagic"] = peak_of(edit("imagic", 512, (1.0,), steps=1, embedding_steps=1, unet_steps=1))
    found["direct_inversion at 1024"] = peak_of(edit("direct_inversion", 1024, (0.5, 1.0), steps=2))
    found["ledits_pp at 1024"] = peak_of(edit("ledits_pp", 1024, (0.5, 1.0), steps=2))
    free = torch.cuda.mem_get_info()[0] / 2**30
    fit = fitting(model, 1024)
    found["room"] = {"items": fit, "share": peak_of(lambda: model.predict(latents[:1].expand(fit, -1, -1, -1), 500, text)) / free}
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
    return on_card(taken, gib=24, dry=True)


@pytest.mark.parametrize(
    ("what", "most", "before"),
    [
        ("decode 64 of 512", 2.5, 24),
        ("decode 4 of 1024", 2.5, 24),
        ("decode 1 of 2048", 3, 8),
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


def test_one_measured_step_tells_how_many_items_have_room(gib: dict[str, Any]) -> None:
    items, share = gib["room"]["items"], gib["room"]["share"]
    assert 8 <= items <= 1024
    assert items & (items - 1) == 0, "a power of two"
    # what two items take also counts what one call takes whatever its items; the power below may be half of what fits
    assert 0.3 * MEMORY_SHARE < share < MEMORY_SHARE


def test_the_page_says_what_is_measured() -> None:
    table = page()
    assert table == measured(), "what the page shows, `etabench doctor` tells"
    assert [name.split(",")[0] for name in table] == list(SIZES)
    for column, size in zip(table.values(), SIZES.values(), strict=True):
        fit = {row for row, (name, _) in memory.EDITORS.items() if not registry.load_editor(name).misfit(size.family)}
        assert set(column) == {"weights alone", *fit}
    rows = ["sdedit", "ledits_pp"]
    found = on_card(memory.peaks, gib=80, dry=True, size="SD 1.5", rows=rows)
    # another torch's allocator may cut other blocks
    assert {name: table["SD 1.5, 512 px"][name] for name in found} == pytest.approx(found, rel=0.1)
