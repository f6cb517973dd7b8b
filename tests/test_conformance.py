"""Every registered editor against every public check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from bench import registry
from etabench_conformance import conformance

Check = Callable[[], None]
pytestmark = pytest.mark.slow

QUICK: Mapping[str, Any] = {
    "steps": 5,
    "embedding_steps": 2,
    "unet_steps": 2,
    "background_reconstruction_steps": 2,
    "mask_maps": 2,
}
"""Small values of the parameters that decide how long an edit takes, for every editor that has them."""

KNOB: Mapping[str, Any] = {"steps": 12, "embedding_steps": 40, "unet_steps": 50}
"""The same for the check of the knob, which needs edits that mean something."""


def _having(name: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    fields = registry.load_editor(name).Params.model_fields
    return {key: value for key, value in wanted.items() if key in fields}


def _preset(name: str) -> str:
    return "toybox" if "toybox" in registry.load_editor(name).presets else ""


SPECIAL: Mapping[str, Mapping[str, Any]] = {}
"""Arguments of `conformance` for editors that need files or another checkpoint."""


def _case(name: str) -> Any:
    given = {"preset": _preset(name), "params": _having(name, QUICK), "knob_params": _having(name, KNOB)}
    return conformance(name, **{**given, **SPECIAL.get(name, {})})


def _all_checks() -> list[Any]:
    found = []
    for name in (
        "sdedit",
        "copy",
        "diffedit",
        "blended_latent",
        "imagic",
        "regenerate",
        "oracle",
        "vae_round_trip",
        "encode_decode",
        "diffedit_no_encode",
    ):
        for parameter in _case(name).args[1]:
            found.append(pytest.param(*parameter.values, id=f"{name}-{parameter.id}", marks=parameter.marks))
    return found


@pytest.mark.parametrize("check", _all_checks())
def test_every_registered_editor(check: Check) -> None:
    check()
