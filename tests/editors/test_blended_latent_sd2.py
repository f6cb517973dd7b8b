from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from editors import DiffusionModel, EditTask, MissingInput
from editors.blended_latent_sd2 import BlendedLatentSD2
from editors.toolbox.diffusion import derive_seed

STEPS = 8


def make(model: DiffusionModel, **params: object) -> BlendedLatentSD2:
    return BlendedLatentSD2(model, BlendedLatentSD2.resolve("", {"steps": STEPS, **params}))


def final_latents(editor: BlendedLatentSD2, task: EditTask, values: tuple[float, ...]) -> Tensor:
    seen: list[Tensor] = []
    decode = editor.model.decode
    editor.model.decode = lambda x: (seen.append(x), decode(x))[1]  # type: ignore[method-assign]
    editor.render(editor.prepare(task), values)
    return seen[0]


def test_it_is_the_scripts_loop_on_the_librarys_scheduler(model: DiffusionModel, masked: EditTask) -> None:
    """The loop as described, step by step, with the library's DDIM scheduler and its noising."""
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False
    )
    scheduler.set_timesteps(STEPS)
    assert masked.mask is not None
    mask = torch.from_numpy(masked.mask[::4, ::4].copy())[None, None]
    target, empty = model.embed_pair(masked.target_text)
    source, x = model.encode(masked.image), model.noise(masked.seed, (1, 4, 16, 16))
    skipped = int(STEPS * 0.25)
    for number, t in enumerate(scheduler.timesteps[skipped:]):
        x = scheduler.step(model.predict(x, int(t), target, 7.5, empty), t, x).prev_sample
        level = STEPS - skipped - number
        noise = model.noise(derive_seed(masked.seed, f"background {level}"), x.shape)
        x = torch.where(mask, x, scheduler.add_noise(source, noise, t))
    # another order of the same float32 operations over six steps
    assert torch.allclose(final_latents(make(model), masked, (0.75,)), x, atol=1e-4)


def test_the_last_background_has_the_noise_of_timestep_0(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model)
    state = editor.prepare(masked)
    outside = ~state.cells.expand_as(state.x0)
    implied = final_latents(editor, masked, (0.75,))[outside] - state.x0[outside]
    assert editor.schedule.timestep(1) == 0
    expected = (1 - float(model.scheduler.alphas_cumprod[0])) ** 0.5
    # about 700 draws: a deviation within a tenth, plus the slight scaling of the source
    assert float(implied.std()) == pytest.approx(expected, rel=0.15)


def test_the_executed_share_is_what_is_not_cut_off(model: DiffusionModel) -> None:
    editor = make(model, steps=50)
    assert [50 - editor.skipped(s) for s in (0.75, 0.8, 1.0, 0.0, 0.77)] == [38, 40, 50, 0, 39]


def test_at_strength_0_the_result_is_decoded_noise(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model)
    before = model.unet_evaluations
    latents = final_latents(editor, masked, (0.0,))
    assert torch.equal(latents, model.noise(masked.seed, latents.shape))
    assert model.unet_evaluations == before


def test_values_do_not_depend_on_their_batch_nor_on_calls_before(
    model: DiffusionModel, masked: EditTask, other: EditTask
) -> None:
    together = final_latents(make(model.variant()), masked, (0.5, 0.75, 1.0))
    torch.testing.assert_close(final_latents(make(model.variant()), masked, (0.75,)), together[1:2], atol=1e-4, rtol=0)


def test_the_foreground_starts_without_the_source(model: DiffusionModel, masked: EditTask) -> None:
    from dataclasses import replace

    dark = replace(masked, image=np.zeros_like(masked.image))
    editor = make(model)
    assert torch.equal(editor.prepare(masked).cells, editor.prepare(dark).cells)
    assert torch.equal(final_latents(make(model.variant()), dark, (0.0,)), final_latents(make(model.variant()), masked, (0.0,)))


def test_it_needs_a_mask(model: DiffusionModel, task: EditTask) -> None:
    with pytest.raises(MissingInput, match="blended_latent_sd2 needs mask"):
        make(model).prepare(task)
    assert make(model).fair_play().uses_mask
