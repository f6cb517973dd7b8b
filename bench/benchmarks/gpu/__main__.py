"""``python -m bench.benchmarks.gpu``: check the card, print and write the page."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.benchmarks.gpu.page import PAGE, WHOLE, check, written


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    import torch

    parser = argparse.ArgumentParser(
        prog="python -m bench.benchmarks.gpu", description="What can be said of a card in ten minutes."
    )
    parser.add_argument("--table", type=Path, default=PAGE, help="the page that is written")
    given = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        raise SystemExit(
            "gpu-check: torch sees no CUDA device, and nothing else is checked here; `etabench doctor` says what there is"
        )
    text = written(check(WHOLE))
    print(text)
    given.table.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
