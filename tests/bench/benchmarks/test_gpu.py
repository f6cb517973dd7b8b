"""The check of a card, small, on an emulated one: every part of it works. Its seconds say nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from bench.benchmarks.emulated import on_card, unavailable
from bench.benchmarks.gpu import __main__ as command
from bench.benchmarks.gpu.page import EDITORS, PAGE, SMALL, WHOLE, written
from bench.benchmarks.peers import PEERS
from bench.benchmarks.sizes import SIZES


def checked(card: Any) -> dict[str, Any]:
    from bench.benchmarks.gpu.page import check

    found = check(SMALL)
    return {**asdict(found), "page": written(found), "right": [gap.right for gap in found.pictures]}


@pytest.mark.slow
@pytest.mark.skipif(bool(unavailable()), reason=unavailable())
def test_a_card_is_asked_all_questions_and_its_page_answers_them() -> None:
    found = on_card(checked)
    assert {(gap["editor"], gap["dtype"]) for gap in found["pictures"]} == {
        (editor, dtype) for editor in SMALL.editors for dtype in SMALL.dtypes
    }
    assert all(found["right"]), found["pictures"]
    assert any(gap["mean"] for gap in found["pictures"] if gap["dtype"] == "bfloat16")
    sides = {(pace["sweep"], pace["side"]): pace for pace in found["sweeps"]}
    assert sides.keys() == {(sweep, side) for sweep, peers in PEERS.items() for side in ("etabench", *peers)}
    # one edit at strength 1/2 and one at 1 in four steps, guided
    samples = {side: sides["sdedit", side]["cost"]["counts"]["U-Net samples"] for side in ("etabench", "img2img pipeline")}
    assert samples == dict.fromkeys(samples, 2 * (2 + 4))
    assert all(pace["share"] > 0 for (sweep, _), pace in sides.items() if sweep != "imagic")
    assert all(pace["share"] is None for (sweep, _), pace in sides.items() if sweep == "imagic")
    assert found["memory"].keys() == {"weights alone", *SMALL.rows}
    assert all(gib > 0 for gib in found["memory"].values())
    assert "All pictures are the CPU's but for rounding." in found["page"]
    assert found["page"].count("\n| ") == 2 * 3 + 4 + len(sides) + 3


def test_the_whole_check_is_of_the_table_of_memory() -> None:
    assert WHOLE.size in SIZES
    assert set(WHOLE.rows) == set(EDITORS)


def test_where_there_is_no_card_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    before = PAGE.read_bytes()
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match="torch sees no CUDA device"):
        command.main([])
    assert PAGE.read_bytes() == before
