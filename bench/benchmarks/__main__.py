"""``make bench``: what the harness costs against what its users would run otherwise, on the same weights, in one run.

    python -m bench.benchmarks                   all parts as they come
    python -m bench.benchmarks PART [OPTIONS]    editors, scoring, frechet, memory, raters, scale or fleet; ``--help`` tells its options

Every part is a subcommand with its own module in ``bench.benchmarks``, which says what is compared and how it is measured.
"""

from __future__ import annotations

import argparse

from bench.benchmarks import editors, fleet, frechet, memory, raters, scale, scoring

__all__ = ["main"]

PARTS = {
    "editors": editors,
    "scoring": scoring,
    "frechet": frechet,
    "memory": memory,
    "raters": raters,
    "scale": scale,
    "fleet": fleet,
}
"""Each has a docstring, ``add_arguments(parser)`` and ``run(given)``."""


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.benchmarks", description="Costs against peers, as ratios; without a PART all of them."
    )
    parts = parser.add_subparsers(dest="part", metavar="PART")
    for name, module in PARTS.items():
        text = (module.__doc__ or "").splitlines()[0]
        module.add_arguments(parts.add_parser(name, help=text, description=text))
    given = parser.parse_args(arguments)
    if given.part:
        PARTS[given.part].run(given)
        return
    for name, module in PARTS.items():
        print(f"\n== {name}: {(module.__doc__ or '').splitlines()[0]}\n", flush=True)
        module.run(parser.parse_args([name]))


if __name__ == "__main__":
    main()
