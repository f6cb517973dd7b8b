"""A manifest may name what its samples share; else it is the source picture."""

from __future__ import annotations

from pathlib import Path

from fixtures_manifest import row, write_folder

from bench.manifest import open_manifest


def test_cluster_overrides_the_picture(tmp_path: Path) -> None:
    plain = open_manifest(write_folder(tmp_path / "plain", [row(0), row(1), row(2)]))
    named = open_manifest(write_folder(tmp_path / "named", [row(0, cluster="s1"), row(1, cluster="s1"), row(2)]))
    assert len({sample.source_id for sample in plain}) == 3
    first, second, third = named
    assert first.source_id == second.source_id != third.source_id
    assert third.source_id == plain.load(2).source_id


def test_cluster_is_part_of_the_manifest_but_of_no_edit(tmp_path: Path) -> None:
    plain = open_manifest(write_folder(tmp_path / "plain", [row(0)]))
    named = open_manifest(write_folder(tmp_path / "named", [row(0, cluster="s1")]))
    assert plain.content_hash != named.content_hash
    assert plain.digest(0) == named.digest(0)
