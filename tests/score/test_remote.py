"""A remote scorer gives the numbers of the scorer behind it; a server that fails, lies or dies is one clear error."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import uvicorn
from pictures import image_folder
from PIL import Image

from palate.core.errors import ConfigError, InputError
from palate.core.runs import RunFolder
from palate.score import remote
from palate.score.image import ImageScorer
from palate.score.load import load_scorer
from palate.score.remote import RemoteScorer
from palate.score.score_cache import computing_versions
from palate.score.scored import read_scores
from palate.score.serve import ServeScorersConfig, score_app, serve_scorers
from palate.score.stage import ScoreConfig, score

COLOURS = ["red", "green", "blue"]
ABOUT = {"name": "x", "higher_is_better": True, "reads_prompt": False, "fingerprint": "f"}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(remote, "TIMEOUT", 5.0)


@contextmanager
def serving(*scorers: Any, token: str | None = None) -> Iterator[str]:
    """A real server of some scorers on loopback; its address."""
    server = uvicorn.Server(uvicorn.Config(score_app(scorers, token), host="127.0.0.1", port=0, log_level="error"))
    listening = server.config.bind_socket()
    listening.listen()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def answering(answers: Callable[[str, int], tuple[int, Any]]) -> Iterator[str]:
    """A server that gives a status and a body to each path; the number counts the requests of that path."""
    seen: dict[str, int] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen[self.path] = seen.get(self.path, 0) + 1
            status, body = answers(self.path, seen[self.path])
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # a client that does not wait for the answer
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def pictures() -> list[Image.Image]:
    return [Image.new("RGB", (8 + number, 8), colour) for number, colour in enumerate(COLOURS)]


@pytest.mark.shows("remote", "formula")
def test_the_scores_are_those_of_the_scorer_behind_the_server() -> None:
    many = pictures() * 12  # more than one request
    with serving(ImageScorer("brightness")) as address:
        scorer = load_scorer(f"remote:{address}")
        scores = scorer(many, [""] * len(many))
        tensor = torch.rand(2, 3, 8, 8)
        rounded = (tensor * 255).round() / 255
        torch.testing.assert_close(scorer(tensor, ["", ""]), ImageScorer("brightness")(rounded, ["", ""]))
    torch.testing.assert_close(scores, ImageScorer("brightness")(many, [""] * len(many)))
    assert scorer.fingerprint() == f"image:brightness image:brightness of {computing_versions()}"
    assert scorer.higher_is_better and not scorer.reads_prompt and not scorer.differentiable


def test_one_of_several_scorers_is_named_after_the_address() -> None:
    with serving(ImageScorer("brightness"), ImageScorer("contrast")) as address:
        named = RemoteScorer(f"{address}#image:contrast")
        assert named(pictures(), [""] * 3).tolist() == [0, 0, 0]
        with pytest.raises(InputError, match=r"has several scorers; name one: remote:.*#image:brightness, remote:"):
            RemoteScorer(address)
        with pytest.raises(InputError, match="has no scorer 'image:contrst'; did you mean 'image:contrast'"):
            RemoteScorer(f"{address}#image:contrst")


def test_a_token_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(remote.TOKEN, raising=False)
    with serving(ImageScorer("brightness"), token="secret") as address:
        with pytest.raises(InputError, match="status 401: the token is missing or wrong; set PALATE_SCORE_TOKEN"):
            RemoteScorer(address)
        monkeypatch.setenv(remote.TOKEN, "secret")
        assert RemoteScorer(address)(pictures(), [""] * 3).shape == (3,)


def test_a_server_open_to_others_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(remote.TOKEN, raising=False)
    with pytest.raises(ConfigError, match=r"other machines reach 0\.0\.0\.0; set \$PALATE_SCORE_TOKEN"):
        serve_scorers(ServeScorersConfig(scorer=("image:brightness",), host="0.0.0.0"))


@pytest.mark.parametrize(
    "body, complaint",
    [
        (b"{", "Expecting property name"),
        (b"[]", "a request is an object"),
        (b'{"scorer": "y", "prompts": [], "images": []}', "there is no scorer 'y'"),
        (b'{"prompts": "a", "images": []}', "'prompts' must be a list of texts"),
        (b'{"prompts": ["a"], "images": []}', "there are 1 prompts and 0 images"),
        (b'{"prompts": ["a"], "images": ["!"]}', "image 0 cannot be read"),
        (b'{"prompts": ["a"], "images": ["aGVsbG8="]}', "image 0 cannot be read: Pillow does not know its format"),
    ],
)
def test_a_request_that_is_none_of_the_protocol_is_answered_with_one_line(body: bytes, complaint: str) -> None:
    import urllib.error
    import urllib.request

    with serving(ImageScorer("brightness")) as address, pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(f"{address}/score", body), timeout=5)
    assert caught.value.code == 400
    said = json.loads(caught.value.read())["error"]
    assert said.startswith(complaint) and "\n" not in said


@pytest.mark.parametrize(
    "answer, complaint",
    [
        ((200, b"<html>"), "its answer is not JSON"),
        ((200, {"scores": [1.0], "fingerprint": "f"}), "it answers .* to 3 images, not that many scores"),
        ((200, {"scores": [1.0, 2.0, None], "fingerprint": "f"}), "not that many scores"),
        ((200, b'{"scores": [1.0, 2.0, NaN], "fingerprint": "f"}'), "not that many scores"),
        ((200, [1.0, 2.0, 3.0]), "not that many scores"),
        ((503, {"error": "out of memory"}), "status 503: out of memory"),
    ],
)
def test_nonsense_is_asked_for_again_and_then_one_clear_error(answer: tuple[int, Any], complaint: str) -> None:
    def answers(path: str, number: int) -> tuple[int, Any]:
        return (200, {"protocol": 1, "scorers": [ABOUT]}) if path == "/scorers" else answer

    with answering(answers) as address:
        scorer = RemoteScorer(address)
        with pytest.raises(InputError, match=f"fails after 5 attempts: .*{complaint}.*; check that the server runs"):
            scorer(pictures(), [""] * 3)
    assert scorer.repeated == 4


def test_a_refused_request_is_not_repeated_and_a_changed_scorer_is_refused() -> None:
    def answers(path: str, number: int) -> tuple[int, Any]:
        if path == "/scorers":
            return 200, {"protocol": 1, "scorers": [ABOUT]}
        return (400, {"error": "no"}) if number == 1 else (200, {"scores": [1, 2, 3], "fingerprint": "other"})

    with answering(answers) as address:
        scorer = RemoteScorer(address)
        with pytest.raises(InputError, match="refuses the request with status 400: no"):
            scorer(pictures(), [""] * 3)
        with pytest.raises(InputError, match="has changed since the run began"):
            scorer(pictures(), [""] * 3)
    assert scorer.repeated == 0


@pytest.mark.parametrize(
    "described, complaint",
    [
        ({"protocol": 2, "scorers": [ABOUT]}, "speaks version 2 of the protocol, not 1"),
        ({"protocol": 1, "scorers": []}, "fails after 5 attempts: it describes its scorers with"),
        ({"protocol": 1, "scorers": [{**ABOUT, "reads_prompt": "yes"}]}, "without a sound 'reads_prompt'"),
    ],
)
def test_a_server_that_describes_no_scorer_is_refused_before_any_work(described: Any, complaint: str) -> None:
    with answering(lambda path, number: (200, described)) as address, pytest.raises(InputError, match=complaint):
        RemoteScorer(address)


def test_a_server_that_is_not_there_or_no_address_is_one_clear_error() -> None:
    with pytest.raises(InputError, match=r"fails after 5 attempts: no answer: .*refused"):
        RemoteScorer("http://127.0.0.1:9")
    with pytest.raises(InputError, match="'localhost' is not an address"):
        RemoteScorer("localhost")


def test_a_slow_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "TIMEOUT", 0.1)
    monkeypatch.setattr(remote, "ATTEMPTS", 2)
    with answering(lambda path, number: (time.sleep(0.5), (200, {}))[1]) as address:
        with pytest.raises(InputError, match="fails after 2 attempts: no answer: .*timed out"):
            RemoteScorer(address)


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b"nonsense\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\n"]
)
def test_an_answer_that_breaks_off_is_asked_for_again(said: bytes) -> None:
    """The server sends a part of an answer and closes the connection, four times; then it answers."""
    left = [said] * 4
    good = json.dumps({"protocol": 1, "scorers": [ABOUT]}).encode()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(good), good)
            self.request.sendall(left.pop() if left else whole)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        scorer = RemoteScorer(f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
    assert scorer.repeated == 4


def test_a_server_that_becomes_slow_in_a_run_is_asked_again_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(path: str, number: int) -> tuple[int, Any]:
        if path == "/scorers":
            return 200, {"protocol": 1, "scorers": [ABOUT]}
        time.sleep(1 if number == 2 else 0)
        return 200, {"scores": [float(number)], "fingerprint": "f"}

    folder = image_folder(tmp_path / "images", ["a", "b", "c"])
    monkeypatch.setattr(remote, "TIMEOUT", 0.3)
    with answering(answers) as address:
        spec = f"remote:{address}"
        run = score(ScoreConfig(images=folder, scorer=(spec,), out=tmp_path / "scores", batch=1))
    assert [row[spec] for row in read_scores(run)] == [1.0, 3.0, 4.0]
    assert (RunFolder(run).finished or {})[f"requests repeated by {spec}"] == 1


def test_a_run_goes_on_where_a_dead_server_left_it_and_counts_what_was_repeated(tmp_path: Path) -> None:
    """The server dies after the first images; the same command, with a server again, scores only the others."""
    folder = image_folder(tmp_path / "images", ["a", "b", "c", "d"])
    alive, asked = {"on": True}, []

    def answers(path: str, number: int) -> tuple[int, Any]:
        if path == "/scorers":
            return 200, {"protocol": 1, "scorers": [ABOUT]}
        asked.append(number)
        if number == 2:
            return 500, {"error": "once"}
        if number > 3 and not alive["on"]:
            return 500, {"error": "dead"}
        return 200, {"scores": [float(number)], "fingerprint": "f"}

    with answering(answers) as address:
        config = ScoreConfig(images=folder, scorer=(f"remote:{address}",), out=tmp_path / "scores", batch=1)
        alive["on"] = False
        with pytest.raises(InputError, match="fails after 5 attempts: status 500: dead"):
            score(config)
        assert len(read_scores(tmp_path / "scores")) == 2
        alive["on"] = True
        before = len(asked)
        score(config)
        assert len(asked) - before == 2
        assert len(read_scores(tmp_path / "scores")) == 4
    summary = RunFolder(tmp_path / "scores").finished or {}
    assert summary["images"] == 4


def test_what_was_repeated_is_in_the_summary(tmp_path: Path) -> None:
    def answers(path: str, number: int) -> tuple[int, Any]:
        if path == "/scorers":
            return 200, {"protocol": 1, "scorers": [ABOUT]}
        return (500, b"") if number == 1 else (200, {"scores": [1.0, 2.0], "fingerprint": "f"})

    folder = image_folder(tmp_path / "images", ["a", "b"])
    with answering(answers) as address:
        score(ScoreConfig(images=folder, scorer=(f"remote:{address}",), out=tmp_path / "scores"))
    summary = RunFolder(tmp_path / "scores").finished or {}
    assert summary[f"requests repeated by remote:{address}"] == 1
