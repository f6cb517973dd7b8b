"""``python -m bench.benchmarks.emulated FILE.py:FUNCTION RESULT``, arguments on stdin: what `on_card` starts."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

from bench.benchmarks.emulated.device import Card

STARTUP = Path(__file__).parent / "startup"


def _main(target: str, result: str) -> None:
    file, _, name = target.rpartition(":")
    spec = importlib.util.spec_from_file_location("emulated_job", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["emulated_job"] = module
    spec.loader.exec_module(module)
    sys.path.insert(0, str(STARTUP))  # workers that the job starts get their parent's path, and with it a card of their own
    with Card(dry=bool(os.environ["EMULATED_CUDA_DRY"])) as card:
        found = getattr(module, name)(card, **json.load(sys.stdin))
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    _main(*sys.argv[1:])
