"""The house stands: nothing imports in a circle, nothing runs back up the stairs, the leaves know nothing of each other.

Imports count wherever they stand, inside functions and under TYPE_CHECKING too: what a reader must know is what a module names.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEAVES = ("editors", "metrics", "reports", "data_manifests")
STAIRS = (
    ("errors", "suggest", "progress", "interrupts"),
    ("registry",),
    ("spec",),
    ("toybox",),
    ("models", "devices", "environment", "trust"),
    ("manifest",),
    ("plan",),
    ("store",),
    ("workers", "scoring", "sidecars"),
    ("analysis", "bundles"),
    ("commands", "raters", "boards"),
    ("api",),
    ("studies", "benchmarks", "baselines"),
    ("cli",),
    ("alias",),
)
"""The rooms of bench from the ground up. A room imports from the floors below it, and from itself; never from beside or above."""
FACES: Mapping[str, str] = {
    "bench": "Options Run __version__ report run score",
    "bench.alias": "Options Run __version__ report run score",
    "bench.spec": "AxesSpec EditorSpec MANIFEST_FIELDS ManifestRef MetricSpec ModelRef ReferenceSpec Spec anchored load_spec shipped_specs",
    "bench.manifest": "Manifest Sample open_manifest",
    "bench.plan": "Entry Plan SampleInfo Unit make_plan resolve_entries unit_seed",
    "bench.store": "EditFile Record Run png_bytes write_atomically",
    "bench.sidecars": "Captioner Segmenter Writer Written opened write",
    "bench.scoring": "Scores open_metrics preflight read_scores score_run",
}
"""What others may use of a room, and nothing else: a name that is added or taken away here is a decision."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    found = {}
    for package in ("bench", *LEAVES):
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


@cache
def imports(name: str) -> frozenset[str]:
    """The modules of the product that a module imports, from anywhere in it."""
    known, found = modules(), set()
    for node in ast.walk(ast.parse(known[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & known.keys() or {node.module}
            if not inner <= known.keys():
                found.add(node.module)
    return frozenset(found & known.keys()) - {name}


def room(name: str) -> str:
    """The room of bench that a module stands in."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "api"


def circles() -> Iterator[list[str]]:
    """Sets of modules that import each other, the strongly connected ones."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    names = sorted(modules())
    place = {name: number for number, name in enumerate(names)}
    rows, columns = zip(*((place[a], place[b]) for a in names for b in imports(a)), strict=True)
    graph = coo_matrix(([1] * len(rows), (rows, columns)), shape=(len(names), len(names)))
    number, labels = connected_components(graph, directed=True, connection="strong")
    for label in range(number):
        members = [name for name in names if labels[place[name]] == label]
        if len(members) > 1:
            yield members


def test_nothing_imports_in_a_circle() -> None:
    assert list(circles()) == []


def test_imports_of_bench_go_down_the_stairs() -> None:
    floor = {name: height for height, names in enumerate(STAIRS) for name in names}
    rooms = {room(name) for name in modules() if name.startswith("bench.")}
    assert rooms == set(floor), "a new room needs a place on the stairs"
    wrong = [
        f"{name} imports {other}"
        for name in modules()
        if name.startswith("bench.")
        for other in imports(name)
        if other.startswith("bench.") and room(name) != room(other) and floor[room(other)] >= floor[room(name)]
    ]
    assert wrong == []


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaves_know_nothing_of_each_other(leaf: str) -> None:
    others = {package for package in ("bench", *LEAVES) if package != leaf}
    wrong = [
        f"{name} imports {other}"
        for name in modules()
        for other in imports(name)
        if name.split(".")[0] == leaf and other.split(".")[0] in others
    ]
    assert wrong == []


@pytest.mark.parametrize("name", FACES)
def test_a_face_shows_what_it_is_meant_to_show(name: str) -> None:
    face = importlib.import_module(name)
    assert sorted(face.__all__) == sorted(FACES[name].split())
    assert all(hasattr(face, each) for each in face.__all__)


def test_both_names_of_the_package_tell_the_version_that_is_installed() -> None:
    assert {importlib.import_module(name).__version__ for name in ("bench", "bench.alias")} == {version("etabench")}


def test_every_error_stands_in_the_tree() -> None:
    """The tree in the docstring of `bench.errors` has each exception of the product once, below what it is derived from."""
    from bench import errors

    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        words = line.split()
        indent = len(line) - len(line.lstrip())
        if indent >= 4 and words and words[0][0].isupper():
            above = [(depth, name) for depth, name in above if depth < indent]
            drawn[words[0]] = above[-1][1] if above else ""
            above.append((indent, words[0]))
    bases: dict[str, list[str]] = {}
    for path in modules().values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
    roots, found = ("Exception", "UserWarning"), dict[str, str]()
    while more := {n: b for n, names in bases.items() for b in names if n not in found and (b in found or b in roots)}:
        found |= {name: "" if base in roots else base for name, base in more.items()}
    assert drawn == found
