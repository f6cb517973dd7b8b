"""A small study on disk, and one that is served on loopback by a thread of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.raters.study import Item, Shown, Study, StudyFolder

EDITORS = ("imagic", "sdedit", "diffedit")
HOSTILE = (
    "<script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">",
    "\u202e\u05e9\u05dc\u05d5\u05dd a cat \u202e reversed",
    "word " * 2000,
    "w" * 10_000,
    "{{ 7 * 7 }} {% raw %} \x07\x1b[2J",
    "",
)


def small_study(path: Path, *, texts: tuple[str, ...] = (), side: int = 32, **changes: Any) -> StudyFolder:
    """Pairs of three editors on six source pictures of `side` pixels, with two gold items; ``changes`` are fields of the study."""
    rng = np.random.default_rng(0)
    folder = StudyFolder.create(path)
    items: list[Item] = []
    ratings = changes.get("form") == "ratings"
    for number in range(6):
        flat = np.full((side, side, 3), 40 * number, np.uint8)  # pictures that are packed well and badly: of very different sizes
        pictures = [flat, *(rng.integers(1 + 40 * k, size=(side, side, 3), dtype=np.uint8) for k in range(1, 4))]
        source, *edits = (folder.put(picture) for picture in pictures)
        shown = [Shown(editor, 0.5, picture) for editor, picture in zip(EDITORS, edits, strict=True)]
        text = texts[number % len(texts)] if texts else f"a cat, number {number}"
        about = (f"sample-{number}", f"source-{number}", f"category-{number % 2}", f"a dog, number {number}", text, source)
        if ratings:
            items += [Item(f"{number}-{one.editor}", "trial", *about, one) for one in shown]
        else:
            pairs = [(one, other) for index, one in enumerate(shown) for other in shown[index + 1 :]]
            items += [Item(f"{number}-{one.editor}-{other.editor}", "trial", *about, one, other) for one, other in pairs]
        if number < 2:
            right, wrong = Shown("(right)", 0.0, edits[0]), Shown("(wrong)", 0.0, edits[1])
            gold = Item(f"{number}-gold", "gold", *about, wrong, None, "0")
            items.append(gold if ratings else replace(gold, first=right, second=wrong, expected="first"))
    plain = Study(path.name, "pairs", 0, 3, 4, 1, 1, tuple(items))
    folder.write(replace(plain, **changes))
    return folder


@contextmanager
def serving(folder: StudyFolder) -> Iterator[str]:
    """Serve the study and give the address that raters open."""
    import uvicorn

    from bench.raters.server import application

    config = uvicorn.Config(application(folder), host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        threading.Event().wait(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/?token={folder.token()}"
    finally:
        server.should_exit = True
        thread.join(20)
