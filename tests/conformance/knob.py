"""The knob means what it says: more is more edit, and the lowest value what the editor declares."""

from __future__ import annotations

import numpy as np

from editors import DiffusionModel
from etabench_conformance.case import SAMPLES, Case, edit

SLACK = 0.05
"""Of the curve's range: a mean over a few samples may waver by so much at a plateau without telling against the knob."""


def more_is_further_from_the_source(case: Case) -> None:
    """Mean absolute difference from the source, averaged over ToyBox samples, rises along the grid."""
    editor = case.make(slow=True)
    if editor.knob is None:
        return
    values = case.grid
    far = np.zeros(len(values))
    for number in range(SAMPLES):
        task = case.task(number)
        source = task.image.astype(float)
        far += [np.abs(picture - source).mean() / SAMPLES for picture in edit(editor, task, values)]
    steps = np.diff(far)
    span = far[-1] - far[0]
    distances = {value: round(float(d), 2) for value, d in zip(values, far, strict=True)}
    assert span > 0, f"the highest value is no further from the source than the lowest: {distances}"
    assert (steps >= -SLACK * span).all(), f"the distance falls on the way: {distances}"


def zero_is_what_it_declares(case: Case) -> None:
    """Where the knob's lowest value promises the source or the VAE round trip, that is what it gives, to the bit."""
    knob = case.knob(slow=True)
    if knob is None or not knob.zero:
        return
    model = case.open_model()
    editor, task = case.make(model, slow=True), case.task()
    picture = edit(editor, task, (knob.low,))[0]
    if knob.zero == "source":
        assert np.array_equal(picture, task.image), "the lowest value does not return the source"
    else:
        assert isinstance(model, DiffusionModel)
        round_trip = model.decode(model.encode(task.image))[0]
        assert np.array_equal(picture, round_trip), "the lowest value does not return the VAE round trip"
