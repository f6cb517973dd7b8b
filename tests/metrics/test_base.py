from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metrics.base import Card, FeatureSet, MetricError, PairBatch

CARD = Card("m", "1", "net", "ab", "64x64", "none", "0..1", "1 x", "whole", "never", True, "what it is", "a paper")


@pytest.mark.parametrize("field", ["definition", "source"])
def test_prose_is_not_in_the_fingerprint(field: str) -> None:
    assert replace(CARD, **{field: "other words"}).fingerprint == CARD.fingerprint


@pytest.mark.parametrize(
    "field",
    ["name", "version", "network", "weights", "resolution", "resize", "value_range", "scale", "masking", "nan_rule"],
)
def test_every_other_field_is_in_the_fingerprint(field: str) -> None:
    assert replace(CARD, **{field: "other"}).fingerprint != CARD.fingerprint


def test_direction_is_in_the_fingerprint_and_its_form_is_fixed() -> None:
    assert replace(CARD, higher_is_better=False).fingerprint != CARD.fingerprint
    assert CARD.fingerprint == "11f426450681"


def test_batch_refuses_columns_of_other_lengths() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(MetricError, match=r"'edits': 2, 'sources': 1"):
        PairBatch([picture] * 2, [picture], ["a"] * 2, [None] * 2, [None] * 2, [None] * 2)


@pytest.mark.parametrize(
    ("features", "classes", "message"),
    [
        (np.zeros((2, 3, 1)), [None, None], r"expected a floating array .* got float64 \(2, 3, 1\)"),
        (np.zeros((2, 3), np.int64), [None, None], "got int64"),
        (np.zeros((0, 3)), [], r"got float64 \(0, 3\)"),
        ([[1.0]], [None], "got list"),
        (np.zeros((2, 3)), ["a"], "expected 2 entries, one per feature row, got 1"),
        (np.array([[0.0], [np.nan]]), [None, None], "row 1 is not finite"),
    ],
)
def test_feature_set_refuses(features: object, classes: list[str | None], message: str) -> None:
    with pytest.raises(MetricError, match=message):
        FeatureSet(features, classes)  # type: ignore[arg-type]
