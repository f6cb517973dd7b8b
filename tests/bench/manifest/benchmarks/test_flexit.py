"""FlexIT's queries are named by their place in the file, whatever its first column says."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures_manifest import picture

from bench.errors import ManifestError
from bench.manifest import open_manifest
from bench.spec import ManifestRef

LINES = [
    ",path,source,source_id,target,target_id,is_test",
    "6,val/a.png,tabby,n1,lynx,n2,False",
    "9,val/b.png,lynx,n2,tabby,n1,True",
    '13,val/c.png,"hen, bird",n3,cock,n4,True',
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    (tmp_path / "val").mkdir()
    for seed, name in enumerate("abc"):
        picture(seed).save(tmp_path / f"val/{name}.png")
    (tmp_path / "queries.csv").write_text("\n".join(LINES) + "\n")
    return tmp_path


def test_splits_and_ids(copy: Path) -> None:
    test = list(open_manifest(ManifestRef(benchmark="flexit-imagenet", root=str(copy)), partial=True))
    assert [(each.id, each.source_class, each.target_text) for each in test] == [
        ("1", "lynx", "tabby"),
        ("2", "hen, bird", "cock"),
    ]
    dev = open_manifest(ManifestRef(benchmark="flexit-imagenet", root=str(copy), split="dev"), partial=True)
    assert dev.ids == ["0"]


def test_another_table_is_refused(copy: Path) -> None:
    (copy / "queries.csv").write_text("path,source\nval/a.png,tabby\n")
    with pytest.raises(ManifestError, match="no column target, is_test; it has path, source"):
        open_manifest(ManifestRef(benchmark="flexit-imagenet", root=str(copy)), partial=True)
    (copy / "queries.csv").write_text("\n".join([LINES[0], LINES[1].replace("False", "0")]))
    with pytest.raises(ManifestError, match="row 0: is_test: expected True or False, got '0'"):
        open_manifest(ManifestRef(benchmark="flexit-imagenet", root=str(copy)), partial=True)
