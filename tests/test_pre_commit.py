"""The hooks of a commit are what `make lint types docs` runs, from the same place, and fetch nothing."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent


def test_hooks_run_what_ci_runs_and_fetch_nothing() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    make = (ROOT / "Makefile").read_text()
    run = [
        line
        for name in ("lint", "types", "docs")
        for line in re.search(rf"^{name}:.*\n((?:\t.*\n)+)", make, re.M)[1].splitlines()
    ]  # type: ignore[index]
    plain = {re.sub(r" --check| \.$", "", line.strip().replace("$(BIN)", ".venv/bin")) for line in run}
    assert {hook["entry"].removesuffix(" --fix") for hook in hooks} == {entry.removesuffix(" .") for entry in plain}
    assert all(Path(ROOT / word).is_file() for hook in hooks for word in hook["entry"].split()[1:] if word.endswith(".py"))
