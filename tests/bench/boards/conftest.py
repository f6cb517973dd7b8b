from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_specs import ALL_METRICS, SpecMaker

from bench import api
from bench.store import Run
from bench.workers.crew import Options

RunMaker = Callable[..., Run]
"""The name of a run, its editors and keys of its spec to the run, scored."""


@pytest.fixture
def make_run(make_spec: SpecMaker, tmp_path: Path) -> RunMaker:
    def make(name: str, *editors: dict[str, Any], folder: str = "", **more: Any) -> Run:
        spec = make_spec(*editors, **({"name": name, "metrics": ALL_METRICS} | more))
        run = api.run(spec, tmp_path / "runs" / (folder or name), options=Options(executor="inline"))
        api.score(run)
        return run

    return make
