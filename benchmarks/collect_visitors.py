"""The simulated visitors of a study in `collect_load`: raters, who request screens, wait and vote, and the owner."""

from __future__ import annotations

import http.client
import json
import random
import re
import threading
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from palate.collect.answers import PAIR

UNDONE, SKIPPED = 0.02, 0.02  # shares of the votes
REFRESH = 10.0
"""Seconds between two requests of the owner's page."""
AGAIN, WRITTEN = "requests sent again", "written, but the answer was lost"


@dataclass
class Load:
    """The state that all raters share.

    Attributes:
        goal: votes to be acknowledged.
        acknowledged: UUIDs of votes and of what takes them back.
        milliseconds: of requests that were answered, by kind.
        late: by how many milliseconds a rater's pause was too long.
        again: what was sent again as the server was gone, and which votes it had then already.
    """

    goal: int
    acknowledged: list[str] = field(default_factory=list)
    milliseconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    late: list[float] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def votes(self) -> int:
        return len(self.milliseconds["vote"])

    @property
    def over(self) -> bool:
        return self.votes >= self.goal or bool(self.failures)


class Visitor(threading.Thread):
    """A visitor with a link; list.append and similar operations need no lock."""

    def __init__(self, load: Load, port: int, token: str) -> None:
        super().__init__(daemon=True)
        self.load, self.port, self.token = load, port, token
        self.rng = random.Random(token)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.headers: dict[str, str] = {}

    def run(self) -> None:
        """Visits the study, and records errors."""
        try:
            self.visit()
        except Exception as error:
            self.load.failures.append(repr(error))

    def visit(self) -> None:
        """The actions of this kind of visitor."""
        raise NotImplementedError

    def enter(self, link: str) -> None:
        """Exchanges the token for a cookie."""
        entered = self.request("enter", "GET", link, expect=303)[1]
        self.headers = {"cookie": entered["set-cookie"].split(";")[0]}

    def request(self, kind: str, method: str, path: str, body: Any = None, expect: int = 200) -> tuple[bytes, Any]:
        """Repeats a request until there is an answer, as the server may be down for a while."""
        data = None if body is None else json.dumps(body).encode()
        headers = self.headers if body is None else self.headers | {"content-type": "application/json"}
        while True:
            start = time.perf_counter()
            try:
                self.connection.request(method, path, data, headers)
                answer = self.connection.getresponse()
                read = answer.read()
            except (OSError, http.client.HTTPException):
                self.connection.close()
                self.load.again.append(AGAIN)
                time.sleep(0.05)
                continue
            self.load.milliseconds[kind].append(1e3 * (time.perf_counter() - start))
            if answer.status != expect:
                raise RuntimeError(f"{method} {path} said {answer.status}: {read[:200]!r}")
            return read, answer.headers

    def pause(self, low: float, high: float) -> None:
        wanted, start = self.rng.uniform(low, high), time.perf_counter()
        time.sleep(wanted)
        self.load.late.append(1e3 * (time.perf_counter() - start - wanted))


class Rater(Visitor):
    """A rater, who votes until the goal is reached.

    Args:
        think: seconds between screens, from and to.
    """

    def __init__(self, load: Load, port: int, token: str, think: tuple[float, float]) -> None:
        super().__init__(load, port, token)
        self.think, self.fetched = think, set[str]()

    def visit(self) -> None:
        """Votes on one screen after another."""
        self.pause(0, self.think[1])
        self.begin()
        while not self.load.over and (screens := self.look()):
            self.pause(*self.think)
            self.answer(screens[0]["assignment"])

    def begin(self) -> None:
        """Opens the link and the page to which it leads."""
        self.enter(f"/r/{self.token}")
        page = self.request("page", "GET", "/")[0].decode()
        found = re.search(r'name="csrf" content="([0-9a-f]+)"', page)
        self.headers |= {"x-csrf-token": found[1] if found else "", "origin": f"http://127.0.0.1:{self.port}"}

    def look(self) -> list[dict[str, Any]]:
        """Requests screens and fetches new images."""
        screens = json.loads(self.request("screens", "GET", "/api/screens?count=2")[0])["screens"]
        for src in [image["src"] for screen in screens for image in screen["images"]]:
            if src not in self.fetched:
                self.request("image", "GET", src)
                self.fetched.add(src)
        return screens

    def answer(self, assignment: int) -> None:
        skip, answers = {"kind": "skip", "reason": "unsure"}, {"general": self.rng.choice(PAIR)}
        said = skip if self.rng.random() < SKIPPED else {"kind": "answer", "answers": answers, "seconds": 1.5}
        self.send("vote", "/api/votes", {"assignment": assignment, **said})
        if self.rng.random() < UNDONE:
            self.send("undo", "/api/undo", {})

    def send(self, kind: str, path: str, body: dict[str, Any]) -> None:
        """Sends something under a new UUID until it is acknowledged."""
        name = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        receipt = json.loads(self.request(kind, "POST", path, {"uuid": name, **body})[0])
        self.load.acknowledged.append(name)
        self.load.again.extend([] if receipt["new"] else [WRITTEN])


class Owner(Visitor):
    """The owner, whose page is open."""

    def visit(self) -> None:
        """Requests the newest numbers, as the page does."""
        self.enter(f"/owner/enter/{self.token}")
        while not self.load.over:
            self.pause(REFRESH, REFRESH)
            self.request("dashboard", "GET", "/owner")
