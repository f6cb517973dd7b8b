"""Which papers a run's editors and metrics are of, and their BibTeX.

An editor names its papers in the first lines of its module, a metric on its card, in the form "arXiv 2108.01073" or
"doi 10.1109/TIP.2003.819861". Modules are read and not imported: a report runs no code of a run's spec. What is known of a paper stands
in `references.bib`; one that does not, as a plug-in's, gets an entry with its number alone.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from bench import registry

__all__ = ["bibtex", "key_of", "papers_in", "papers_of_editor"]

FILE = Path(__file__).with_name("references.bib")
_NAMED = re.compile(r"\barXiv[: ]\s*(\d{4}\.\d{4,5})|\bdoi[: ]\s*(10\.\d{4,9}/[^\s;,]+)", re.IGNORECASE)


def papers_in(text: str) -> list[str]:
    """Numbers of arXiv and DOIs that a text names, each once, in order."""
    return list(dict.fromkeys((arxiv or doi).rstrip(".") for arxiv, doi in _NAMED.findall(text)))


def papers_of_editor(target: str) -> list[str]:
    """Papers that the first paragraph of an editor's module names; `target` is what the registry loads."""
    point = registry.editors().get(target)
    module = (point.value if point else target).rpartition(":")[0]
    path = _source(module)
    if path is None:
        return []
    try:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    except (OSError, SyntaxError, ValueError):
        return []
    return papers_in(text.partition("\n\n")[0])


def _source(module: str) -> Path | None:
    """The file of a module, found without importing any part of its package."""
    if module.endswith(".py"):
        return Path(module).expanduser()
    top, *rest = module.split(".")
    try:
        found = importlib.util.find_spec(top) if top else None
    except (ImportError, ValueError):
        return None
    if found is None:
        return None
    if not rest:
        return Path(found.origin) if found.origin else None
    folders = [Path(place).joinpath(*rest) for place in found.submodule_search_locations or ()]
    return next(
        (path for folder in folders for path in (folder.with_suffix(".py"), folder / "__init__.py") if path.is_file()), None
    )


@cache
def _known() -> dict[str, tuple[str, str]]:
    """Number or DOI to the key and the text of its entry."""
    entries = re.split(r"\n(?=@)", FILE.read_text(encoding="utf-8"))[1:]
    found = {}
    for entry in entries:
        key, paper = re.match(r"@\w+\{([^,]+),", entry), re.search(r"^\s*(?:eprint|doi) = \{([^}]+)\}", entry, re.MULTILINE)
        if key and paper:
            found[paper.group(1)] = (key.group(1), entry.strip())
    return found


def key_of(paper: str) -> str:
    """What an entry is called in a citation."""
    return _known().get(paper, (re.sub(r"\W+", "-", paper), ""))[0]


def bibtex(papers: Iterable[str]) -> str:
    """An entry for each paper, in order, each once."""
    entries = []
    for paper in dict.fromkeys(papers):
        by = "doi = {%s}" if paper.startswith("10.") and "/" in paper else "eprint = {%s},\n  archivePrefix = {arXiv}"
        entries.append(_known().get(paper, ("", f"@misc{{{key_of(paper)},\n  {by % paper}\n}}"))[1])
    return "\n\n".join(entries)
