"""Each family against diffusers' own pipeline of it, on random weights of its architecture."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    FluxImg2ImgPipeline,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusionXLImg2ImgPipeline,
)
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image as Pillow

from editors import DiffusionModel, EditTask, Image
from editors.sdedit import SDEdit
from editors.toolbox.checkpoint import CheckpointError, digest, load_tokenizer
from editors.toolbox.diffusion import seeded

PIPELINES: dict[str, Any] = {
    "sdxl": StableDiffusionXLImg2ImgPipeline,
    "sd3": StableDiffusion3Img2ImgPipeline,
    "flux": FluxImg2ImgPipeline,
}
STEPS = 10


def ours(folder: Path, task: EditTask, strength: float) -> Image:
    editor = SDEdit(DiffusionModel.load(folder, side=64), SDEdit.resolve("", {"steps": STEPS, "guidance": 4.0}))
    return editor.render(editor.prepare(task), (strength,))[0]


def theirs(kind: Any, folder: Path, task: EditTask, strength: float) -> Image:
    pipeline = kind.from_pretrained(folder)
    if kind is StableDiffusionXLImg2ImgPipeline:
        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    size = {} if kind is StableDiffusionXLImg2ImgPipeline else {"height": 64, "width": 64}
    output = pipeline(
        task.target_text,
        image=Pillow.fromarray(task.image),
        strength=strength,
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        generator=seeded(task.seed),
        output_type="np",
        **size,
    )
    return np.round(output.images[0] * 255).astype(np.uint8)


@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("family", list(PIPELINES))
def test_sdedit_is_the_image_to_image_pipeline_of_the_family(
    family: str, strength: float, family_folders: dict[str, Path], task: EditTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mean)
    folder = family_folders[family]
    edited, expected = ours(folder, task, strength), theirs(PIPELINES[family], folder, task, strength)
    assert np.abs(edited.astype(int) - task.image).max() > 20
    assert np.abs(edited.astype(int) - expected).max() <= 1


@pytest.fixture(params=list(PIPELINES))
def family_model(request: pytest.FixtureRequest, family_folders: dict[str, Path]) -> DiffusionModel:
    return DiffusionModel.load(family_folders[request.param], side=64)


def latent(model: DiffusionModel, seed: int = 1) -> torch.Tensor:
    return model.noise(seed, (1, model.backbone.latent_channels, 16, 16))


def test_text_its_pooled_vector_and_guidance_all_count(family_model: DiffusionModel) -> None:
    x, timestep = latent(family_model), family_model.schedule(STEPS).timestep(6)
    cat, ball = family_model.embed(["a blue cat"]), family_model.embed(["a red ball"])
    crossed = torch.cat([cat[:, :-1], ball[:, -1:]], dim=1)
    plain = family_model.predict(x, timestep, cat)
    assert torch.equal(plain, family_model.predict(x, timestep, cat))
    guided = family_model.predict(x, timestep, cat, 4.0, family_model.embed([""]))
    for other in (family_model.predict(x, timestep, ball), family_model.predict(x, timestep, crossed), guided):
        assert (plain - other).abs().max() > 1e-4


def test_a_result_does_not_depend_on_the_rest_of_the_batch(family_model: DiffusionModel) -> None:
    x, timestep = torch.cat([latent(family_model, seed) for seed in range(3)]), family_model.schedule(STEPS).timestep(6)
    texts = family_model.embed(["a blue cat", "a red ball", "the grass"])
    together = family_model.predict(x, timestep, texts, torch.tensor([2.0, 4.0, 6.0]), family_model.embed([""]))
    alone = family_model.predict(x[1:2], timestep, texts[1:2], 4.0, family_model.embed([""]))
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


def test_inversion_and_decoding_with_the_same_outputs_give_the_latent_back(family_model: DiffusionModel) -> None:
    schedule, x = family_model.schedule(STEPS), latent(family_model)
    for level in range(1, STEPS + 1):
        output = latent(family_model, 100 + level)
        there = schedule.ddim_inverse_step(x, output, level)
        torch.testing.assert_close(schedule.ddim_step(there, output, level), x, rtol=1e-4, atol=1e-4)


def test_the_training_loss_is_nothing_for_what_training_asks_for(
    family_model: DiffusionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    x0, noise = latent(family_model), torch.cat([latent(family_model, seed) for seed in (2, 3)])
    levels = torch.tensor([100, 900])
    x, timesteps, target = family_model.backbone.noised(x0, levels, noise)
    schedule = family_model.schedule(STEPS)
    assert 0 < timesteps[0] < timesteps[1] <= family_model.train_levels
    assert (x[1] - noise[1]).abs().max() < (x[0] - noise[0]).abs().max()
    asked: list[torch.Tensor] = []
    monkeypatch.setattr(type(family_model.backbone), "evaluate", lambda self, x, t, context, guidance: asked.append(t) or target)
    assert float(family_model.denoising_loss(x0, levels, noise, family_model.embed(["a cat"]))) == 0
    assert torch.equal(asked[0], timesteps)
    if family_model.backbone.flow:
        near = min(range(1, STEPS + 1), key=lambda level: abs(schedule.timestep(level) - float(timesteps[1])))
        clean, _ = schedule.split(schedule.q_sample(x0, noise[:1], near), noise[:1] - x0, near)
        torch.testing.assert_close(clean, x0, rtol=1e-4, atol=1e-5)


def test_flux_is_asked_once_a_step_and_others_twice(family_model: DiffusionModel) -> None:
    x, timestep = latent(family_model), family_model.schedule(STEPS).timestep(6)
    before = family_model.unet_evaluations
    family_model.predict(x, timestep, family_model.embed(["a cat"]), 4.0, family_model.embed([""]))
    assert family_model.unet_evaluations - before == (1 if family_model.family == "flux" else 2)


def test_the_shift_of_flux_is_that_of_the_pictures(family_folders: dict[str, Path]) -> None:
    small, large = (DiffusionModel.load(family_folders["flux"], side=side).schedule(STEPS) for side in (64, 1024))
    assert all(small.timestep(level) < large.timestep(level) for level in range(1, STEPS))
    assert (
        DiffusionModel.load(family_folders["flux"]).resolution == 512
    )  # 128 cells of 4 pixels, as the tiny autoencoder has them


def copied(folder: Path, tmp_path: Path, **index: Any) -> Path:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    file = copy / "model_index.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **index}))
    return copy


def test_the_empty_text_of_xl_is_zeros_unless_its_index_says_otherwise(family_folders: dict[str, Path], tmp_path: Path) -> None:
    texts = ["a cat", ""]
    zeros = DiffusionModel.load(family_folders["sdxl"]).embed(texts)
    assert zeros[0].abs().max() > 0
    assert zeros[1].abs().max() == 0
    copy = copied(family_folders["sdxl"], tmp_path, force_zeros_for_empty_prompt=False)
    assert DiffusionModel.load(copy).embed(texts)[1].abs().max() > 0
    index = json.loads((copy / "model_index.json").read_text())
    del index["force_zeros_for_empty_prompt"]  # written before diffusers had the key
    (copy / "model_index.json").write_text(json.dumps(index))
    assert DiffusionModel.load(copy).embed(texts)[1].abs().max() == 0


def test_stable_diffusion_3_does_without_t5(family_folders: dict[str, Path], tmp_path: Path, task: EditTask) -> None:
    copy = copied(family_folders["sd3"], tmp_path, text_encoder_3=[None, None], tokenizer_3=[None, None])
    shutil.rmtree(copy / "text_encoder_3")
    shutil.rmtree(copy / "tokenizer_3")
    model = DiffusionModel.load(copy)
    assert model.embed(["a cat"])[:, 12:-1].abs().max() == 0
    assert model.embed(["a cat"]).shape == DiffusionModel.load(family_folders["sd3"]).embed(["a cat"]).shape


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("flux", {"guidance_embeds": False}, r"schnell.*use FLUX\.1 dev"),
        ("sdxl", {"addition_time_embed_dim": 4, "projection_class_embeddings_input_dim": 72}, "numbers on the picture's size"),
    ],
)
def test_relatives_that_take_something_else_are_refused(
    family: str, change: dict[str, Any], message: str, family_folders: dict[str, Path]
) -> None:
    model = DiffusionModel.load(family_folders[family])
    network = model.unet
    for key, value in change.items():
        network.register_to_config(**{key: value})
    with pytest.raises(CheckpointError, match=message):
        type(model.backbone)(model.backbone.loaded, dict(model.scheduler.config), model.backbone.index)


def test_a_refiner_is_refused(family_folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="refiners are not supported"):
        DiffusionModel.load(copied(family_folders["sdxl"], tmp_path, requires_aesthetics_score=True))


def test_the_digest_covers_every_part(family_folders: dict[str, Path], tmp_path: Path) -> None:
    copy = copied(family_folders["flux"], tmp_path)
    before = digest(copy)
    for file in (copy / "text_encoder_2" / "model.safetensors", copy / "tokenizer_2" / "tokenizer.json"):
        content = file.read_bytes()
        file.write_bytes(content + b" ")
        assert digest(copy) != before
        file.write_bytes(content)
    assert digest(copy) == before


def test_texts_are_cut_where_the_longest_encoder_cuts_them(family_folders: dict[str, Path]) -> None:
    assert load_tokenizer(family_folders["flux"]).model_max_length == 512
    assert load_tokenizer(family_folders["sdxl"]).model_max_length == 12


def test_sides_are_multiples_of_a_patch(family_model: DiffusionModel) -> None:
    multiple = family_model.factor if family_model.family == "sdxl" else 2 * family_model.factor
    assert family_model.backbone.multiple == multiple
    with pytest.raises(Exception, match=f"expected multiples of {multiple}"):
        family_model.encode(np.zeros((64, 64 + multiple // 2, 3), np.uint8))
