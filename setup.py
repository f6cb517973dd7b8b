"""The one thing that pyproject.toml cannot say: ``tests/conformance`` is installed as ``etabench_conformance``."""

from setuptools import find_namespace_packages, setup

ROOMS = ["bench*", "editors*", "metrics*", "reports*", "data_manifests*"]

setup(
    packages=[*find_namespace_packages(include=ROOMS), "etabench_conformance"],
    package_dir={"etabench_conformance": "tests/conformance"},
)
