"""Read by Python as it starts: a process that another with a card has started gets one too, from its beginning to its end."""

import os

if "EMULATED_CUDA_COUNT" in os.environ:
    from bench.benchmarks.emulated.device import Card

    Card(dry=bool(os.environ["EMULATED_CUDA_DRY"])).__enter__()
