"""What editors share that decode with prompt-to-prompt, in Direct Inversion."""

from __future__ import annotations

import torch

from editors import DiffusionModel, EditTask
from editors.direct_inversion import DirectInversion


def test_control_takes_part_in_an_edit(model: DiffusionModel, masked: EditTask) -> None:
    def latent(**params: float) -> torch.Tensor:
        editor = DirectInversion(model, DirectInversion.resolve("", {"steps": 4, **params}))
        return torch.from_numpy(editor.render(editor.prepare(masked), (1.0,))[0]).float()

    free = latent(cross_replace=0.0, self_replace=0.0)
    for changed in ({"cross_replace": 1.0}, {"self_replace": 1.0}):
        assert not torch.equal(latent(**{"cross_replace": 0.0, "self_replace": 0.0, **changed}), free)
    assert torch.equal(latent(cross_replace=0.0, self_replace=0.0, equaliser=5.0), free)  # a factor on replaced maps only


def test_a_small_batch_limit_changes_nothing_but_the_number_of_calls(model: DiffusionModel, masked: EditTask) -> None:
    editor = DirectInversion(model, DirectInversion.resolve("", {"steps": 4}))
    state, values = editor.prepare(masked), (0.5, 0.75, 1.0)
    wide = editor.render(state, values)
    model.max_batch = 3
    for a, b in zip(wide, editor.render(state, values), strict=True):
        # rounding of another batch size may move a value across the border of two grey levels
        assert abs(a.astype(int) - b.astype(int)).max() <= 1
