"""A study behind nginx and behind Caddy, set up by the recipes of docs/collect.md."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from collect.database import new_uuid
from collect.web import csrf_of, served, site

from palate.collect.web.logs import FILE

GUIDE = Path(__file__).parents[2] / "docs" / "collect.md"
Start = Callable[[Path, int, int, str], list[str]]
"""Writes a configuration into a folder, for a port to listen on, the study's port and a path; the command to run."""


def recipe(language: str) -> str:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)[0]


def replaced(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert old in text, f"the recipe has no {old!r} any more"
        text = text.replace(old, new)
    return text


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def certificate(folder: Path) -> None:
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)


def nginx(folder: Path, port: int, study: int, path: str) -> list[str]:
    certificate(folder)
    changes = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "server 127.0.0.1:8642": f"server 127.0.0.1:{study}",
        "/etc/ssl/study.pem": str(folder / "cert.pem"),
        "/etc/ssl/study.key": str(folder / "key.pem"),
        "/var/log/nginx/palate.log": str(folder / "access.log"),
        "/var/log/nginx/palate-errors.log": str(folder / "errors.log"),
        "location / {": f"location {path}/ {{",
    }
    kept = "".join(
        f"{each}_temp_path {folder}/{each};\n" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = f"daemon off;\nmaster_process off;\npid {folder}/pid;\nevents {{}}\nhttp {{\n{kept}"
    (folder / "nginx.conf").write_text(f"{text}{replaced(recipe('nginx'), changes)}}}\n")
    return ["nginx", "-p", str(folder), "-e", str(folder / "errors.log"), "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, port: int, study: int, path: str) -> list[str]:
    certificate(folder)
    here = f"https://localhost:{port} {{\n\tbind 127.0.0.1\n\ttls {folder}/cert.pem {folder}/key.pem"
    changes = {
        "study.example.org {": here,
        "reverse_proxy 127.0.0.1:8642": f"reverse_proxy {path}/* 127.0.0.1:{study}",
        "/var/log/caddy/palate.log": str(folder / "access.log"),
    }
    options = "{\n\tadmin off\n\tauto_https off\n\tstorage file_system " + str(folder) + "\n}\n"
    (folder / "Caddyfile").write_text(options + replaced(recipe("caddy"), changes))
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


@contextmanager
def running(command: list[str], folder: Path, port: int) -> Iterator[None]:
    log = folder / "said"
    with open(log, "wb") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 30
        while True:
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            except OSError:
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


class Browser:
    """A client that reaches the study only through the proxy."""

    def __init__(self, port: int) -> None:
        self.port, self.headers = port, {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "http"}

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, str, Any]:
        trusting = ssl._create_unverified_context()  # of a certificate that was made for this test
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=30, context=trusting)
        headers = self.headers | {"content-type": "application/json", "host": f"localhost:{self.port}"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        connection.close()
        return answer.status, text, answer.headers

    def vote(self, path: str) -> None:
        """Fetches a screen and answers it."""
        screen = json.loads(self.ask("GET", f"{path}/api/screens")[1])["screens"][0]
        assert {self.ask("GET", image["src"])[0] for image in screen["images"]} == {200}
        ballot = {"uuid": new_uuid(), "assignment": screen["assignment"], "kind": "answer"}
        status, text, _ = self.ask("POST", f"{path}/api/votes", ballot | {"answers": {"general": "left"}})
        assert status == 200 and json.loads(text)["new"]


def enter(browser: Browser, path: str, token: str) -> None:
    """Opens a rater's link, and the page with all its files."""
    status, _, headers = browser.ask("GET", f"{path}/r/{token}")
    assert status == 303 and headers["location"] == f"{path}/"
    cookie = headers["set-cookie"]
    assert "Secure" in cookie and f"Path={path or '/'};" in f"{cookie};"
    browser.headers["cookie"] = cookie.split(";")[0]
    status, page, _ = browser.ask("GET", f"{path}/")
    assert status == 200
    for address in re.findall(r'(?:href|src)="([^"#]+)"', page):
        assert browser.ask("GET", address)[0] == 200
    browser.headers |= {"x-csrf-token": csrf_of(page), "origin": f"https://localhost:{browser.port}"}


@pytest.mark.parametrize("path", ["", "/palate"], ids=["a host of its own", "below a path"])
@pytest.mark.parametrize("start", [nginx, caddy])
def test_votes_pass_through_a_proxy_whose_logs_have_no_token(tmp_path, start: Start, path: str):
    if not shutil.which(start.__name__) or not shutil.which("openssl"):
        pytest.skip(f"no {start.__name__} or openssl here; Debian's packages nginx-light, caddy and openssl have them")
    front, folder, port = tmp_path / "front", tmp_path / "study", free_port()
    front.mkdir()
    url = f"https://localhost:{port}{path}"
    flags = ("--url", url, "--behind-proxy", "127.0.0.1", "--port", str(study_port := free_port()), "--rate", "3")
    with (
        site(folder, items=6, mirror=0.0) as made,
        served(folder, *flags, at=url) as (_, log, _),
        running(start(front, port, study_port, path), front, port),
    ):
        token, owner = made.study.add_rater("a"), log.read_text().rsplit("/", 1)[1].strip()
        browser = Browser(port)
        enter(browser, path, token)
        for _ in range(3):
            browser.vote(path)
        assert Browser(port).ask("GET", f"{path}/owner/enter/{owner}")[0] == 303
        stranger, answers = Browser(port), []
        for number in range(45):  # who says each time to be somebody else
            stranger.headers["x-forwarded-for"] = f"203.0.113.{number}"
            answers.append(stranger.ask("GET", f"{path}/r/{'x' * 43}")[0])
        assert answers[0] == 404 and answers[-1] == 429
        time.sleep(0.5)  # until the logs are written
        written = "".join(each.read_text(errors="replace") for each in (*front.glob("*.log"), front / "said"))
        assert "(token)" in written and "/api/votes" in written
        for secret in (token, owner, browser.headers["cookie"].split("=")[1]):
            assert secret not in written + (folder / FILE).read_text()
        assert "X-Forwarded-For" not in (folder / FILE).read_text()  # of which it warns where nobody is trusted
