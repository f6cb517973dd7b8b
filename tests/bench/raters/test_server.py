"""What a rater can see of a study, and what not."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from served_study import EDITORS, HOSTILE, small_study
from starlette.testclient import TestClient

from bench.errors import RunError
from bench.raters.export import votes_of
from bench.raters.ledger import Ledger
from bench.raters.server import application, filled, serve_study
from bench.raters.study import StudyFolder
from bench.store import png_bytes


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return small_study(tmp_path / "study", completion_url="https://example.org/done?cc=1", votes=50)


def visitor(folder: StudyFolder) -> TestClient:
    return TestClient(application(folder), follow_redirects=False)


@pytest.fixture
def client(folder: StudyFolder) -> Iterator[TestClient]:
    with visitor(folder) as made:
        yield made


def begin(client: TestClient, folder: StudyFolder, name: str = "P1") -> str:
    """The address of a session that has its trials."""
    address = str(client.get("/", params={"token": folder.token(), "PROLIFIC_PID": name}).headers["location"])
    assert client.post(f"{address}/consent").headers["location"] == address
    return address


def answer(client: TestClient, address: str, position: int, **fields: str) -> int:
    return client.post(f"{address}/vote", data={"position": str(position)} | fields).status_code


def test_without_the_token_there_is_nothing(client: TestClient, folder: StudyFolder) -> None:
    for address in ("/", "/?token=", f"/?token={folder.token()}x", "/?token=\u00fc"):
        assert client.get(address).status_code == 403
    assert client.get("/s/unknown").status_code == 404
    assert client.post("/s/unknown/consent").status_code == 404
    assert client.get("/static/../../study.json").status_code == 404
    assert folder.path.joinpath("token").stat().st_mode & 0o077 == 0


def test_a_whole_session_is_stored_and_ends_with_a_code(client: TestClient, folder: StudyFolder) -> None:
    address = begin(client, folder)
    for position in range(6):
        assert f"{position + 1} of 6" in client.get(address).text
        assert answer(client, address, position, answer="right", seconds="2.25") == 303
    page = client.get(address).text
    code = re.search(r'id="code">([0-9A-F]{8})<', page)
    assert code is not None
    assert "https://example.org/done?cc=1" in page
    study = folder.read()
    ledger = Ledger(folder.ledger, study)
    votes = votes_of(study, ledger)
    assert len(votes) == 6
    assert set(votes["seconds"]) == {2.25}
    assert ledger.sessions()[0]["code"] == code[1]


def test_a_refresh_gives_the_same_pair_and_a_new_visit_the_same_session(client: TestClient, folder: StudyFolder) -> None:
    address = begin(client, folder)
    before = client.get(address).text
    assert client.get(address).text == before
    assert begin(client, folder) == address
    with visitor(folder) as other_browser:
        assert begin(other_browser, folder) == address
        assert begin(other_browser, folder, "P2") != address


def test_who_has_no_id_is_known_by_a_cookie(folder: StudyFolder) -> None:
    with visitor(folder) as one, visitor(folder) as other:
        first = one.get("/", params={"token": folder.token()}).headers["location"]
        assert one.get("/", params={"token": folder.token()}).headers["location"] == first
        assert other.get("/", params={"token": folder.token()}).headers["location"] != first


def test_an_id_that_is_too_long_is_refused(client: TestClient, folder: StudyFolder) -> None:
    assert client.get("/", params={"token": folder.token(), "PROLIFIC_PID": "x" * 200}).status_code == 400


@pytest.mark.parametrize(
    "fields",
    [{}, {"answer": "maybe"}, {"answer": "left", "position": "-1"}, {"answer": "left", "position": "x"}, {"answer": "l" * 5000}],
)
def test_what_is_no_answer_is_not_stored(client: TestClient, folder: StudyFolder, fields: dict[str, str]) -> None:
    address = begin(client, folder)
    sent = client.post(f"{address}/vote", data={"position": "0"} | fields)
    assert sent.status_code == 400
    assert client.post(f"{address}/vote", content=b"\xff\xfe").status_code == 400
    assert answer(client, address, 3, answer="left") == 404, "not its turn"
    assert Ledger(folder.ledger, folder.read()).votes() == []


def test_a_time_that_cannot_be_is_not_taken(client: TestClient, folder: StudyFolder) -> None:
    address = begin(client, folder)
    for position, seconds in enumerate(("nan", "-1", "1e99", "soon")):
        client.get(address)
        assert answer(client, address, position, answer="left", seconds=seconds) == 303
    votes = Ledger(folder.ledger, folder.read()).votes()
    assert all(vote["seconds"] is None and vote["waited"] >= 0 for vote in votes)


def test_nothing_tells_the_editors_apart(client: TestClient, folder: StudyFolder) -> None:
    """Pages and headers name nobody; pictures of a trial have one length and no date, tag or metadata, whatever they show."""
    address = begin(client, folder)
    for position in range(6):
        page = client.get(address)
        words = page.text + str(page.headers)
        assert not [name for name in (*EDITORS, "sample-", "source-", "gold", "duplicate", "first") if name in words]
        seen = {role: client.get(f"{address}/{position}/{role}.png") for role in ("source", "left", "right")}
        headers = [{k: v for k, v in each.headers.items() if k != "date"} for each in seen.values()]
        assert headers[0] == headers[1] == headers[2]
        assert not {"etag", "last-modified", "server"} & headers[0].keys()
        assert len({len(each.content) for each in seen.values()}) == 1
        for each in seen.values():
            picture = Image.open(io.BytesIO(each.content))
            assert picture.info == {}
            picture.load()
        answer(client, address, position, answer="tie")


def test_pictures_are_there_for_the_present_trial_alone(client: TestClient, folder: StudyFolder) -> None:
    address = begin(client, folder)
    assert client.get(f"{address}/0/left.png").status_code == 200
    assert client.get(f"{address}/1/left.png").status_code == 404
    assert client.get(f"{address}/0/edit.png").status_code == 404
    answer(client, address, 0, answer="left")
    assert client.get(f"{address}/0/left.png").status_code == 404


def test_pictures_lie_where_the_ledger_says(client: TestClient, folder: StudyFolder) -> None:
    address, study = begin(client, folder), folder.read()
    pictures = [{role: client.get(f"{address}/0/{role}.png").content for role in ("left", "right")}]
    answer(client, address, 0, answer="left")
    (row,) = votes_of(study, Ledger(folder.ledger, study)).to_dict("records")
    item = next(item for item in study.items if item.id == row["item"])
    chosen = item.first if row["answer"] == "first" else item.second
    assert chosen is not None
    shown = np.asarray(Image.open(io.BytesIO(pictures[0]["left"])))
    assert np.array_equal(shown, np.asarray(Image.open(io.BytesIO(folder.picture(chosen.picture)))))


def test_a_picture_is_filled_up_to_any_length_that_can_be() -> None:
    pixels = np.random.default_rng(0).integers(256, size=(8, 8, 3), dtype=np.uint8)
    png = png_bytes(pixels)
    for extra in (0, 12, 13, 5000):
        longer = filled(png, len(png) + extra)
        assert len(longer) == len(png) + extra
        picture = Image.open(io.BytesIO(longer))
        assert np.array_equal(np.asarray(picture), pixels)


def test_texts_of_strangers_stay_texts(tmp_path: Path) -> None:
    folder = small_study(tmp_path / "study", texts=HOSTILE, votes=50)
    with visitor(folder) as client:
        for number in range(3):
            address = begin(client, folder, f"P{number}")
            for position in range(6):
                page = client.get(address).text
                assert "<script>document" not in page
                assert "<img src=x" not in page
                assert "\x07" not in page
                assert page.count("<bdi") == page.count("</bdi>")
                answer(client, address, position, answer="both_bad")


def test_the_page_may_load_nothing_from_elsewhere(client: TestClient, folder: StudyFolder) -> None:
    address = begin(client, folder)
    page = client.get(address)
    assert page.headers["content-security-policy"].startswith("default-src 'none'; ")
    assert page.headers["referrer-policy"] == "no-referrer"
    assert not re.findall(r"https?://", page.text)


def test_a_full_study_says_so(tmp_path: Path) -> None:
    folder = small_study(tmp_path / "study", votes=1, trials=18)
    with visitor(folder) as client:
        begin(client, folder, "P1")
        assert "The study is complete" in client.get(begin(client, folder, "P2")).text


def test_an_address_that_is_taken_is_named(folder: StudyFolder) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RunError, match=f"127.0.0.1:{port} cannot be listened on"):
            serve_study(folder, host="127.0.0.1", port=port)


@pytest.mark.parametrize("module", ["starlette.applications", "uvicorn"])
def test_without_the_extra_it_says_what_to_install(folder: StudyFolder, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RunError, match=r"pip install 'etabench\[study\]'"):
        serve_study(folder, host="127.0.0.1", port=0)
