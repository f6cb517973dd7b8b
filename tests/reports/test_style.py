"""One look per name."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from reports.style import INK, MUTED, RC, SECOND, contrast, knob_name, legible, looks, short, swatch


def test_no_two_editors_of_a_large_run_look_the_same() -> None:
    look = looks([f"e{i}" for i in range(24)], [f"a{i}" for i in range(5)])
    assert len({(v.colour, v.marker, str(v.dash)) for v in look.values()}) == 29
    assert len({(v.colour, str(v.dash)) for v in list(look.values())[:24]}) == 24, "lines alone tell them apart"
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


MACHADO = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""On linear RGB, severity 1 (Machado, Oliveira and Fernandes 2009)."""
TO_LMS = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
TO_LAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]
"""Oklab (Ottosson 2020)."""


def linear(colours: list[str]) -> np.ndarray:
    values = np.array([to_rgb(colour) for colour in colours])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def nearest(points: np.ndarray) -> float:
    one, two = np.triu_indices(len(points), 1)
    return float(np.linalg.norm(points[one] - points[two], axis=1).min())


@pytest.mark.parametrize("seen", ["as it is", *MACHADO])
def test_eight_colours_keep_apart_however_they_are_seen(seen: str) -> None:
    """0.1 of Oklab is five times what one just tells apart side by side (0.02)."""
    light = linear([look.colour for look in looks([f"e{i}" for i in range(8)], []).values()])
    if seen in MACHADO:
        light = np.clip(light @ np.array(MACHADO[seen]).T, 0, 1)
    assert nearest(np.cbrt(light @ np.array(TO_LMS).T) @ np.array(TO_LAB).T) > 0.1


def test_eight_colours_keep_apart_in_grey_and_from_the_page() -> None:
    """Five steps of lightness L* (CIE 1976) between any two, and WCAG's 3 : 1 of graphics with white."""
    colours = [look.colour for look in looks([f"e{i}" for i in range(8)], []).values()]
    lightness = 116 * np.cbrt(linear(colours) @ [0.2126, 0.7152, 0.0722]) - 16
    assert nearest(lightness[:, None]) > 5
    assert min(map(contrast, colours)) >= 3


def test_text_can_be_read_whatever_colour_it_has() -> None:
    assert contrast("#000000") == pytest.approx(21)
    assert contrast("#ffffff") == pytest.approx(1)
    for look in looks([f"e{i}" for i in range(8)], []).values():
        assert contrast(legible(look.colour)) >= 4.5
    assert legible("#123456") == "#123456", "what can be read stays as it is"
    for colour in (INK, MUTED, SECOND):
        assert contrast(colour) >= 4.5


def test_no_text_is_smaller_than_seven_points() -> None:
    assert (
        min(
            size
            for name, size in RC.items()
            if name in {"font.size", "legend.fontsize"} or name.endswith(("labelsize", "titlesize"))
        )
        >= 7
    )


def test_long_labels_are_cut_to_one_line() -> None:
    assert short("a\n b") == "a b"
    assert short("x" * 10_000, 20) == "x" * 19 + "…"
    assert short("x" * 20, 20) == "x" * 20
