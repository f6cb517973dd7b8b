"""``python -m emulated FILE.py:FUNCTION RESULT``, arguments on stdin: what `emulated.process.on_card` starts."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

from emulated.device import Card


def _main(target: str, result: str) -> None:
    given = json.load(sys.stdin)
    file, _, name = target.rpartition(":")
    spec = importlib.util.spec_from_file_location("emulated_job", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["emulated_job"] = module
    spec.loader.exec_module(module)
    with Card(dry=given["dry"]) as card:
        found = getattr(module, name)(card, **given["arguments"])
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    _main(*sys.argv[1:])
