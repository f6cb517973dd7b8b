"""One look per name."""

from __future__ import annotations

import pytest

from reports.style import knob_name, looks, swatch


def test_no_two_editors_of_a_large_run_look_the_same() -> None:
    look = looks([f"e{i}" for i in range(20)], [f"a{i}" for i in range(5)])
    assert len({(v.colour, v.marker, str(v.dash)) for v in look.values()}) == 25
    assert len({v.colour for v in list(look.values())[:8]}) == 8
    assert {v.colour for v in look.values() if v.anchor} == {"#000000"}


@pytest.mark.parametrize(("knob", "shown"), [("eta", "η"), ("encode_ratio", "encode ratio"), (None, ""), (float("nan"), "")])
def test_knob_name(knob: object, shown: str) -> None:
    assert knob_name(knob) == shown


def test_swatch_stays_inside_its_box_and_carries_the_colour() -> None:
    for look in looks([f"e{i}" for i in range(8)], [f"a{i}" for i in range(7)]).values():
        text = str(swatch(look, 14))
        assert f'fill="{look.colour}"' in text
        numbers = [float(n) for part in text.split('points="')[1:] for n in part.split('"')[0].replace(",", " ").split()]
        assert len(numbers) >= 6
        assert min(numbers) >= 0
        assert max(numbers) <= 14
