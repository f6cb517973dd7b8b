"""``make bench``: what the harness costs against what its users would run otherwise, on the same weights, in one run.

    python -m bench.benchmark editors [--samples N] [--sweeps diffedit sdedit imagic] [--threads N] [--device cuda] ...

Every part is a subcommand with its own module in ``bench.benchmarks``, which says what is compared and how it is measured.
"""

from __future__ import annotations

import argparse

from bench.benchmarks import editors

__all__ = ["main"]

PARTS = {"editors": editors}
"""Each has a docstring, ``add_arguments(parser)`` and ``run(given)``."""


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.benchmark", description="Costs against peers, as ratios.")
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    for name, module in PARTS.items():
        text = (module.__doc__ or "").splitlines()[0]
        module.add_arguments(parts.add_parser(name, help=text, description=text))
    given = parser.parse_args(arguments)
    PARTS[given.part].run(given)


if __name__ == "__main__":
    main()
