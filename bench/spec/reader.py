"""YAML text as plain data: one strict document, of bounded depth and size also where aliases repeat it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from bench.errors import SpecError
from bench.suggest import kind_of

__all__ = ["MOST_BYTES", "MOST_DEPTH", "parse_yaml", "read_yaml"]

MOST_BYTES = 4 << 20
"""Largest file that is read, and most characters that aliases may repeat a document to; a key or a value counts as sixteen at least."""
MOST_DEPTH = 40
"""Deepest nesting, aliases followed."""
_PLAIN = ("binary", "omap", "pairs", "set", "timestamp")
"""Tags for what is no plain data; a date without quotes is a text."""


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys, reads ``1e-3`` as a number, as YAML 1.2 does, and knows plain data alone."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._measures: dict[yaml.Node, tuple[int, int]] = {}
        self._depth, self._aliased = 0, False

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The next node, measured with all that its aliases stand for."""
        alias = self.check_event(yaml.AliasEvent)
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._aliased |= alias
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {MOST_DEPTH} levels", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if alias and node not in self._measures:
            raise yaml.composer.ComposerError(None, None, "an alias stands inside what it names", mark)
        if node is not None and not alias:
            size, depth = self._measures[node] = self._measure(node)
            if depth > MOST_DEPTH or (self._aliased and size > MOST_BYTES):
                raise yaml.composer.ComposerError(None, None, "aliases repeat more than a spec can hold; write out less", mark)
        return node

    def _measure(self, node: yaml.Node) -> tuple[int, int]:
        """Characters and depth of a node whose parts are measured."""
        if isinstance(node, yaml.ScalarNode):
            return max(16, len(node.value)), 1
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        found = [self._measures[part] for part in parts]
        return 16 + sum(size for size, _ in found), 1 + max((depth for _, depth in found), default=0)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """What a node stands for; a tag that its value does not fit is a mistake of the document, whichever way the library fails."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise yaml.constructor.ConstructorError(
                None, None, f"the value does not fit its tag {node.tag}", node.start_mark
            ) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise yaml.constructor.ConstructorError(None, None, f"the value does not fit its tag {node.tag}", node.start_mark)
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"duplicate key '{key.value[:80]}', first on line {seen[key.value]}", key.start_mark
                    )
                seen[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in found if not tag.endswith(":timestamp")]
    for first, found in _Loader.yaml_implicit_resolvers.items()
}
_Loader.yaml_constructors = {
    tag: make for tag, make in _Loader.yaml_constructors.items() if tag is None or tag.rpartition(":")[2] not in _PLAIN
}


def parse_yaml(text: str, source: str) -> Any:
    """The one YAML document in ``text`` as plain data; SpecError names ``source`` and the line of a mistake."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise SpecError(f"{source}{line}: {error.problem or 'not YAML'}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"{source}: not YAML: {' '.join(str(error).split())}") from error


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; SpecError when it is missing, unreadable, empty or something else."""
    from editors.toolbox.files import read_regular

    try:
        text = read_regular(file, MOST_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise SpecError(f"{file}: no such spec file") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"{file}: cannot be read as UTF-8 text: {error}") from error
    data = parse_yaml(text, str(file))
    if data is None:
        raise SpecError(f"{file}: empty; a spec needs at least manifest, editors and metrics")
    if not isinstance(data, dict):
        raise SpecError(f"{file}: expected a mapping of keys to values, got {kind_of(data)}")
    return data
