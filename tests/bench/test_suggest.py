from __future__ import annotations

from bench.suggest import MOST, did_you_mean, shortened


def test_a_close_word_is_suggested_and_otherwise_the_choices_are_named() -> None:
    assert did_you_mean("lpisp", ["clip", "lpips"]) == "did you mean 'lpips'?"
    assert did_you_mean("qq", ["b", "a"]) == "choose from a, b"
    assert did_you_mean("qq", []) == ""


def test_thousands_of_choices_are_not_all_named() -> None:
    ids = [f"sample-{number:05d}" for number in range(10_000)]
    said = did_you_mean("zzz", ids)
    assert said.endswith(f"{ids[MOST - 1]} and {10_000 - MOST} more")


def test_a_long_text_is_shown_in_one_line_without_its_middle() -> None:
    assert shortened("x" * 240) == "x" * 240
    assert shortened("a\nb") == "a b"
    assert shortened("ab" * 10_000, 100) == "ab" * 24 + "..." + "ab" * 24
