"""What pyproject.toml cannot say: packages that are installed under another name than that of their folder."""

from setuptools import find_namespace_packages, setup

ROOMS = ["bench*", "editors*", "metrics*", "reports*", "data_manifests*"]
ALIASES = {"etabench": "bench/alias", "etabench_conformance": "tests/conformance"}

setup(packages=[*find_namespace_packages(include=ROOMS), *ALIASES], package_dir=ALIASES)
