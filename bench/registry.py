"""Names to classes: the entry-point groups of editors and metrics, ``module:Class`` and ``path/to/file.py:Class``.

Built-in editors and metrics are declared in the project's own metadata and come through the same door as those of other
distributions. Listing a group reads package metadata only; the class is imported when it is loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bench.errors import RegistryError, message_of
from bench.interrupts import told_to_stop
from bench.suggest import did_you_mean

if TYPE_CHECKING:
    from editors.base import Editor
    from metrics.base import PairMetric, SetMetric

__all__ = ["EDITOR_GROUP", "METRIC_GROUP", "editors", "is_file_target", "load_editor", "load_metric", "metrics"]

EDITOR_GROUP = "etabench.editors"
METRIC_GROUP = "etabench.metrics"


def editors() -> dict[str, EntryPoint]:
    """All registered editors by name, sorted; ``.value`` is the target ``module:Class``, nothing is imported."""
    return _group(EDITOR_GROUP)


def metrics() -> dict[str, EntryPoint]:
    """All registered metrics by name, sorted; ``.value`` is the target ``module:Class``, nothing is imported."""
    return _group(METRIC_GROUP)


def load_editor(name: str) -> type[Editor[Any]]:
    """The editor class registered as ``name``, or the class in ``module:Class`` or ``path/to/file.py:Class``.

    Raises RegistryError when there is none, when its module cannot be imported, or when it is no `editors.Editor`.
    """
    found = _load("editor", name, editors)
    from editors.base import Editor

    return _derived("editor", name, found, Editor)


def load_metric(name: str) -> type[PairMetric] | type[SetMetric]:
    """The metric class registered as ``name``, or the class in ``module:Class`` or ``path/to/file.py:Class``.

    Raises RegistryError when there is none, when its module cannot be imported, or when it is no `metrics.PairMetric` or `SetMetric`.
    """
    found = _load("metric", name, metrics)
    from metrics.base import PairMetric, SetMetric

    return _derived("metric", name, found, PairMetric, SetMetric)


def is_file_target(name: str) -> bool:
    """Whether ``name`` has the form ``path/to/file.py:Class``."""
    return name.rpartition(":")[0].endswith(".py")


def _group(group: str) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise RegistryError(
                f"two installed packages register '{point.name}' in {group}: {_origin(other)} and {_origin(point)}; uninstall one"
            )
    return dict(sorted(found.items()))


def _origin(point: EntryPoint) -> str:
    return f"{point.value} of {point.dist.name}" if point.dist else point.value


def _load(kind: str, name: str, listing: Callable[[], dict[str, EntryPoint]]) -> object:
    if is_file_target(name):
        return _from_file(kind, name)
    if name.endswith(".py"):
        raise RegistryError(f"{kind} '{name}': a file needs the class too: '{name}:ClassName'")
    if ":" in name:
        return _from_module(kind, name)
    return _from_entry_point(kind, name, listing())


def _from_entry_point(kind: str, name: str, known: dict[str, EntryPoint]) -> object:
    if not known:
        raise RegistryError(f"no {kind} is registered: install the package first (pip install -e .)")
    if name not in known:
        raise RegistryError(f"unknown {kind} '{name}'; {did_you_mean(name, known)}")
    with _importing(f"{kind} '{name}' ({_origin(known[name])})"):
        found = known[name].load()
    return found


def _from_module(kind: str, name: str) -> object:
    place, _, attribute = name.partition(":")
    with _importing(f"{kind} '{name}'"):
        module = importlib.import_module(place)
    if not hasattr(module, attribute):
        raise RegistryError(f"{kind} '{name}': {place} has no '{attribute}'; {did_you_mean(attribute, _own_classes(module))}")
    return getattr(module, attribute)


def _from_file(kind: str, name: str) -> object:
    from editors.toolbox.files import expanded

    location, _, attribute = name.rpartition(":")
    file = expanded(location)
    if not file.is_file():
        raise RegistryError(f"{kind} '{name}': no such file: {file}")
    module = _module(kind, name, file)
    if not hasattr(module, attribute):
        raise RegistryError(f"{kind} '{name}': {file} has no '{attribute}'; {did_you_mean(attribute, _own_classes(module))}")
    return getattr(module, attribute)


def _module(kind: str, name: str, file: Path) -> ModuleType:
    """The module of a file, imported once per place and content under a name of its own."""
    resolved = file.resolve()
    identity = hashlib.sha256(str(resolved).encode() + b"\0" + resolved.read_bytes()).hexdigest()[:12]
    unique = f"etabench_plugin_{file.stem}_{identity}"
    if unique in sys.modules:
        return sys.modules[unique]
    spec = importlib.util.spec_from_file_location(unique, resolved)
    if spec is None or spec.loader is None:
        raise RegistryError(f"{kind} '{name}': {file} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    try:
        with _importing(f"{kind} '{name}': {file}"):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[unique]
        raise
    return module


@contextlib.contextmanager
def _importing(what: str) -> Iterator[None]:
    """What foreign code raises while it is imported is a RegistryError, its exit too; the user's Ctrl-C passes."""
    with told_to_stop() as told:
        try:
            yield
        except BaseException as error:
            if told():
                raise
            raise RegistryError(f"{what} cannot be imported: {type(error).__name__}: {message_of(error)}") from error


def _own_classes(module: ModuleType) -> Iterable[str]:
    return (key for key, value in vars(module).items() if isinstance(value, type) and value.__module__ == module.__name__)


def _derived(kind: str, name: str, found: object, *bases: type[Any]) -> type[Any]:
    """``found``, if it is a class that is made of one of ``bases`` and lacks nothing of it."""
    if not isinstance(found, type):
        raise RegistryError(f"{kind} '{name}' is not a class but {type(found).__name__}")
    if not issubclass(found, bases):
        wanted = " or ".join(f"{base.__module__}.{base.__name__}" for base in bases)
        raise RegistryError(f"{kind} '{name}': class {found.__name__} is no {kind}: derive it from {wanted}")
    lacking = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
    if lacking:
        raise RegistryError(f"{kind} '{name}': class {found.__name__} lacks {lacking}")
    return found
