"""Identities stay what they are: unit keys decide whether finished work is found again, fingerprints whether numbers may be compared.

`tests/baselines/identities.json` holds them. A change that moves one on purpose (another version of an editor or metric) writes it anew,
`python -P tests/test_identities.py`, and says so in the changelog.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from bench import api, registry
from bench.scoring import open_metrics
from bench.spec import MetricSpec, load_spec

FILE = Path(__file__).parent / "baselines" / "identities.json"
SPECS = ("ci", "demo", "imagic-fig9", "diffedit-tradeoff", "validate", "calibration")
NEEDS_WEIGHTS = {
    *("aesthetic", "dino_image", "dino_structure", "dreamsim", "flexit_accuracy", "pickscore", "pie_bench_structure", "siglip"),
    *("judge_prompts", "pyiqa"),
}
"""Metrics without a network, prompts or a measure of their own on ToyBox."""


def units() -> dict[str, Any]:
    """Per shipped spec on ToyBox how many units it has, and 16 hex over their keys in order."""
    found = {}
    for name in SPECS:
        keys = [unit.key for unit in api.plan(load_spec(name))[0].units]
        found[name] = [len(keys), hashlib.sha256(json.dumps(keys).encode()).hexdigest()[:16]]
    return found


def fingerprints() -> dict[str, str]:
    """Of every registered metric with its defaults on ToyBox."""
    base, found = load_spec("ci"), {}
    for name in sorted(registry.metrics().keys() - NEEDS_WEIGHTS):
        opened = open_metrics(base.model_copy(update={"metrics": [MetricSpec(name=name)]}), "cpu")
        found[name] = next(iter(opened.values())).card.fingerprint
    return found


def test_unit_keys_of_the_shipped_specs_are_those_that_were_written_down() -> None:
    assert units() == json.loads(FILE.read_text())["units"]


def test_fingerprints_of_all_metrics_are_those_that_were_written_down() -> None:
    assert fingerprints() == json.loads(FILE.read_text())["fingerprints"]


if __name__ == "__main__":
    FILE.write_text(json.dumps({"units": units(), "fingerprints": fingerprints()}, indent=1) + "\n")
