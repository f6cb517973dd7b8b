from __future__ import annotations

from dataclasses import replace

import numpy as np

from editors import DiffusionModel, EditTask
from editors.direct_inversion import DirectInversion
from editors.negative_prompt import NegativePromptInversion


def test_an_edit_to_the_source_text_is_free_of_guidance(model: DiffusionModel, masked: EditTask) -> None:
    """eps + w (eps - eps): any w gives what no guidance gives."""
    same = replace(masked, target_text=masked.source_text or "")

    def edit(guidance: float) -> np.ndarray:
        params = {"steps": 6, "guidance": guidance, "equaliser": 1.0, "cross_replace": 0.0, "self_replace": 0.0}
        editor = NegativePromptInversion(model, NegativePromptInversion.resolve("", params))
        return np.stack(editor.render(editor.prepare(same), (0.5, 1.0))).astype(int)

    assert np.abs(edit(1.0) - edit(20.0)).max() <= 1


def test_it_is_direct_inversion_with_the_source_text_for_no_text(model: DiffusionModel, masked: EditTask) -> None:
    given = {"steps": 4, "cross_replace": 0.4, "self_replace": 0.6}
    editor = NegativePromptInversion(model, NegativePromptInversion.resolve("", given))
    other = DirectInversion(model, DirectInversion.resolve("", given))
    found = np.stack(editor.render(editor.prepare(masked), (1.0,)))
    state = other.prepare(masked)
    assert not np.array_equal(found, np.stack(other.render(state, (1.0,))))
    swapped = replace(state, empty=state.source)
    assert np.array_equal(found, np.stack(other.render(swapped, (1.0,))))
