"""Every registered editor against every public check."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_checkpoints
import tiny_families
from PIL import Image
from transformers import CLIPTokenizer

from bench import api, registry
from bench.spec import Spec
from bench.toybox.embedded import TOYBOX
from bench.workers.crew import Options
from etabench_conformance import Case, conformance
from etabench_conformance.case import SAMPLES

Check = Callable[[], None]

GENERATOR = TOYBOX / "generator"

QUICK: Mapping[str, Any] = {
    "steps": 3,
    "draws": 2,
    "embedding_steps": 2,
    "unet_steps": 2,
    "background_reconstruction_steps": 2,
    "mask_maps": 2,
    "candidates": 2,
    "augmentations": 2,
    "inner_steps": 2,
    "jump_length": 2,
    "jump_n_sample": 2,
    "regularisation_steps": 1,
}
"""Small values of the parameters that decide how long an edit takes, for every editor that has them."""

KNOB: Mapping[str, Any] = {
    "steps": 12,
    "draws": 1,
    "embedding_steps": 20,
    "unet_steps": 50,
    "inner_steps": 2,
    "jump_length": 3,
    "augmentations": 2,
    "candidates": 1,
}
"""The same for the check of the knob, which needs edits that mean something."""


@cache
def _folder() -> Path:
    """A folder for what the checks write, gone when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="conformance-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _instruction_model() -> Path:
    return tiny_checkpoints.with_channels(GENERATOR, _folder() / "instruction", 8)


@cache
def _flow_model() -> Path:
    return tiny_families.tiny("flux", CLIPTokenizer.from_pretrained(GENERATOR / "tokenizer"), _folder() / "flow")


@cache
def _powerpaint_model() -> Path:
    return tiny_checkpoints.with_task_words(GENERATOR, _folder() / "powerpaint")


@cache
def _controlnet() -> Path:
    return tiny_checkpoints.controlnet(GENERATOR, _folder() / "controlnet")


@cache
def _brushnet() -> Path:
    return tiny_checkpoints.brushnet(GENERATOR, _folder() / "brushnet")


DELIVERED = (0.25, 0.5, 1.0)


@cache
def _delivery() -> Path:
    """What an outside method might deliver: the source faded into the true edit."""
    for task in (Case("folder").task(number) for number in range(SAMPLES)):
        assert task.truth is not None
        (_folder() / "delivery" / task.sample_id).mkdir(parents=True)
        for value in DELIVERED:
            faded = np.rint((1 - value) * task.image + value * task.truth).astype(np.uint8)
            Image.fromarray(faded).save(_folder() / "delivery" / task.sample_id / f"{value}.png")
    return _folder() / "delivery"


SPECIAL: Mapping[str, Mapping[str, Any]] = {
    "instruct_pix2pix": {
        "model": _instruction_model,
        "skip": {"more_is_further_from_the_source": "the checkpoint is random, so its guidance towards the source means nothing"},
    },
    "flowedit": {"model": _flow_model},
    "rf_inversion": {
        "model": _flow_model,
        "skip": {"more_is_further_from_the_source": "the checkpoint is random, so what its flow leads to means nothing"},
    },
    "rf_solver": {
        "model": _flow_model,
        "skip": {"more_is_further_from_the_source": "the checkpoint is random, so what its flow leads to means nothing"},
    },
    "powerpaint": {"model": _powerpaint_model},
    "controlnet_inpaint": {"files": lambda: {"controlnet": str(_controlnet())}},
    "brushnet": {"files": lambda: {"brushnet": str(_brushnet())}},
    "pipeline": {
        "files": lambda: {
            "checkpoint": str(GENERATOR),
            "pipeline": "StableDiffusionImg2ImgPipeline",
            "device": "cpu",
            "call": {"num_inference_steps": 10, "guidance_scale": 3.0},
        }
    },
    "folder": {"files": lambda: {"path": str(_delivery())}},
    "edict": {"knob": {"steps": 25}},  # in fewer steps its inversion under guidance leaves the pictures it knows
    "flexit": {"values": (0, 2, 6)},
    "text2live": {
        "skip": {"nan_is_a_typed_failure": "none of the diffusion model's networks takes part; tests/editors has its own"}
    },
}
"""Arguments of `conformance` for editors that need another checkpoint, values or files. `files` makes parameters, `knob` adds to `KNOB`."""


def _having(name: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    fields = registry.load_editor(name).Params.model_fields
    return {key: value for key, value in wanted.items() if key in fields}


def _preset(name: str) -> str:
    return "toybox" if "toybox" in registry.load_editor(name).presets else ""


def _case(name: str) -> Any:
    special = dict(SPECIAL.get(name, {}))
    files, knob = special.pop("files", dict), {**KNOB, **special.pop("knob", {})}

    def params(wanted: Mapping[str, Any]) -> Callable[[], Mapping[str, Any]]:
        return lambda: {**_having(name, wanted), **files()}

    return conformance(name, preset=_preset(name), params=params(QUICK), knob_params=params(knob), **special)


QUICKEST = "sdedit"
"""Its checks take part in `make quick`: a model, noise, a knob with a zero, and every check applies."""


def _all_checks() -> list[Any]:
    return [
        pytest.param(
            *parameter.values,
            id=f"{name}-{parameter.id}",
            marks=parameter.marks if name == QUICKEST else [*parameter.marks, pytest.mark.slow],
        )
        for name in registry.editors()
        for parameter in _case(name).args[1]
    ]


@pytest.mark.parametrize("check", _all_checks())
def test_every_registered_editor(check: Check) -> None:
    check()


SHARED = ("sdedit", "diffedit", "blended_latent", "imagic", "null_text", "repaint", "regenerate")
"""Editors of several families for the check of the executors: noise, inversion, masks, training, attention, candidates."""


def _entry(name: str) -> dict[str, Any]:
    knob = registry.load_editor(name).knob
    entry = {"name": name, "preset": _preset(name), "params": _having(name, QUICK)}
    return entry if knob is None else {**entry, "grid": [knob.grid[0], knob.grid[-1]]}


def _edits(executor: str, workers: int, folder: Path) -> dict[str, list[bytes]]:
    """Unit key to the pixels of its edits."""
    spec = Spec.model_validate(
        {
            "name": "executors",
            "manifest": "toybox-mini",
            "samples": Case("copy").sample_ids(2),
            "model": "toybox",
            "device": "cpu",
            "editors": [_entry(name) for name in SHARED],
            "metrics": ["lpips"],
        }
    )
    run = api.run(spec, folder, options=Options(executor=executor, workers=workers))
    found = {}
    for unit in run.units.iterdir():
        record = run.record(unit.name)
        assert record is not None
        assert record.status == "done", record.reason
        found[record.key] = [np.asarray(Image.open(unit / edit.file)).tobytes() for edit in record.edits]
    return found


@pytest.mark.slow
def test_two_local_processes_make_the_very_pictures_of_one(tmp_path: Path) -> None:
    alone = _edits("inline", 1, tmp_path / "inline")
    assert len(alone) == 2 * len(SHARED)
    assert _edits("local", 2, tmp_path / "local") == alone
