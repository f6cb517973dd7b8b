"""BibTeX of what a run used."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from bench import registry
from bench.commands.references import FILE, bibtex, key_of, papers_in, papers_of_editor

NO_PAPER = {"copy", "folder", "oracle", "pipeline", "regenerate", "retrieve", "vae_round_trip"}
"""Editors that are controls, or whatever method stands behind them."""


def test_papers_are_found_in_the_two_forms() -> None:
    text = "A (arXiv 2108.01073), arXiv:1801.03924; doi 10.1109/TIP.2003.819861; again arXiv 2108.01073."
    assert papers_in(text) == ["2108.01073", "1801.03924", "10.1109/TIP.2003.819861"]
    assert papers_in("arXiv is an archive; 2108.01073 is a number") == []


@pytest.mark.parametrize("name", sorted(set(registry.editors()) - NO_PAPER))
def test_every_editor_names_a_paper_that_is_known(name: str) -> None:
    found = papers_of_editor(name)
    assert found
    for paper in found:
        assert f"{{{paper}}}" in FILE.read_text(encoding="utf-8"), f"enter {paper} in {FILE.name}"


def test_every_paper_on_a_card_is_known() -> None:
    """Cards take their source from the text of their modules: whatever these name as a source is entered."""
    known = FILE.read_text(encoding="utf-8")
    for path in (Path(__file__).parents[2] / "metrics").rglob("*.py"):
        for line in re.findall(r"(?:source=|source = |SOURCE = )(.*)", path.read_text(encoding="utf-8")):
            for paper in papers_in(line):
                assert f"{{{paper}}}" in known, f"{path.name}: enter {paper} in {FILE.name}"


def test_entries_are_whole_and_their_keys_differ() -> None:
    entries = re.split(r"\n(?=@)", FILE.read_text(encoding="utf-8"))[1:]
    keys = [re.match(r"@\w+\{([^,]+),", entry).group(1) for entry in entries]  # type: ignore[union-attr]
    assert len(set(keys)) == len(keys) > 30
    for entry in entries:
        assert entry.count("{") == entry.count("}")
        assert all(f"  {name} = {{" in entry for name in ("title", "author", "year"))


def test_a_paper_that_is_not_known_has_an_entry_all_the_same() -> None:
    text = bibtex(["2108.01073", "2999.00001", "2108.01073"])
    assert text.count("@misc") == 2
    assert "eprint = {2999.00001}" in text
    assert key_of("2108.01073") in text


def test_no_code_is_run_to_find_a_paper(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text('"""Mine (arXiv 2999.00001).\n\nMore, arXiv 2999.00002."""\nraise SystemExit("ran")\n')
    assert papers_of_editor(f"{file}:Mine") == ["2999.00001"]
    assert papers_of_editor(f"{tmp_path / 'gone.py'}:Mine") == []
    assert papers_of_editor("no_such_package.module:Mine") == []
    assert "editors.powerpaint" in sys.modules or papers_of_editor("powerpaint")
