"""The configuration of a study and of its server. Imports nothing heavy."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from palate.collect.characters import typed_text

Task = Literal["pairwise", "best", "ranking", "rating"]

QUESTIONS = {
    "general": "Which image do you prefer, given the prompt?",
    "appeal": "Which image is more visually appealing, prompt aside?",
    "alignment": "Which image fits the prompt better?",
}
"""Questions that have a short name; the three of Wallace et al. 2023 (arXiv:2311.12908), section 5.1."""
RATING_QUESTIONS = {
    "general": "How good is this image, given the prompt?",
    "appeal": "How visually appealing is this image, prompt aside?",
    "alignment": "How well does this image fit the prompt?",
}
LARGEST_SET = 9


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What is compared, and how."""

    out: Path
    """Folder of the study."""
    images: tuple[str, ...] = ()
    """What is compared: folders with prompts, each name=folder or a folder alone, such as runs of `palate generate`.
    With several, images of one prompt and number are compared across folders; with one, images of one prompt."""
    preferences: str | None = None
    """Instead of images: ranked sets, as `palate align` takes them, whose images will be compared again."""
    task: Task = "pairwise"
    """Two images; the best of n; a ranking of n, with ties; or one image at a time on a scale of 1 to 5."""
    n: int | None = None
    """Images on each screen; when left out, 2 for pairwise, 4 for best and ranking, 1 for rating."""
    questions: tuple[str, ...] = ("general",)
    """Questions on each screen: general, appeal, alignment (Wallace et al. 2023), or a question of your own."""
    title: str = "Which image is better?"
    """Title of the raters' page."""
    instructions: str = ""
    """Instructions that raters read before they begin."""
    raters_per_item: int = 5
    """How many raters see each screen; five in Wallace et al. 2023, who take the majority of three or more."""
    sizes: Literal["fit", "keep"] = "fit"
    """fit: images of several sizes on one screen are reduced to the smallest size, so that no size identifies a system;
    keep: images keep their sizes, and raters may recognise systems by them."""
    limit: int | None = None
    """At most so many screens, drawn at random over all prompts."""
    mirror: float = 0.05
    """Share of a rater's screens that repeat one of their earlier screens, mirrored, to measure consistency."""
    gold: str | None = None
    """Ranked sets with a known answer, as `palate align` takes them, mixed in to measure attention."""
    gold_share: float = 0.05
    """Share of a rater's screens that are gold."""
    adaptive: bool = False
    """Ask next for the screens whose outcome is least certain, instead of those with fewest votes."""
    lease: float = 600.0
    """Seconds that a screen is reserved for a rater; then others may get it, and a late vote still counts."""
    live: str | None = None
    """Live mode: a model such as tiny-sd, which draws images for the prompts that raters write."""
    database: str | None = None
    """A PostgreSQL URL; SQLite in the study's folder when left out."""
    seed: int = 0
    """Seed of all random draws."""
    skip_bad: bool = False
    """Leave out images that are missing or broken and count them, instead of stopping."""

    def __post_init__(self) -> None:
        wrong = []
        if bool(self.images) + (self.preferences is not None) + (self.live is not None) != 1:
            wrong.append("give exactly one of images, preferences and live")
        low, high = (1, 1) if self.task == "rating" else (2, 2) if self.task == "pairwise" else (2, LARGEST_SET)
        if not low <= self.per_screen <= high:
            wrong.append(
                f"n of a {self.task} task is {low}{f' to {high}' if high > low else ''}, not {self.per_screen}"
            )
        for name, texts in (
            ("title", [self.title]),
            ("instructions", [self.instructions]),
            ("questions", self.questions),
        ):
            wrong += [f"{name} cannot be shown: {why}" for text in texts for why in _unshowable(text)]
        if not self.questions or len(set(self.questions)) < len(self.questions):
            wrong.append("questions must be at least one, each once")
        if self.raters_per_item < 1:
            wrong.append(f"raters_per_item must be above zero, not {self.raters_per_item}")
        if self.limit is not None and self.limit < 1:
            wrong.append(f"limit must be above zero or left out, not {self.limit}")
        for name in ("mirror", "gold_share"):
            if not 0 <= getattr(self, name) <= 0.5:
                wrong.append(f"{name} is a share from 0 to 0.5, not {getattr(self, name)}")
        if not 1 <= self.lease < math.inf:
            wrong.append(f"lease must be a second or more, not {self.lease}")
        if self.database and not self.database.startswith(("postgresql://", "postgresql+psycopg://")):
            wrong.append("database is a URL such as postgresql://user@host/name, or left out for SQLite")
        if wrong:
            raise ValueError("; ".join(wrong))

    @property
    def per_screen(self) -> int:
        """The number of images on each screen."""
        return self.n or {"pairwise": 2, "best": 4, "ranking": 4, "rating": 1}[self.task]

    def wording(self) -> dict[str, str]:
        """The wording of each question by its short name."""
        known = RATING_QUESTIONS if self.task == "rating" else QUESTIONS
        return {each: known.get(each, each) for each in self.questions}


def _unshowable(text: str) -> Iterator[str]:
    try:
        if typed_text(text) != text:
            yield "one has characters that change the direction of a text"
    except ValueError as error:
        yield str(error)


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Where a study is served."""

    study: Path
    """Folder of the study."""
    host: str = "127.0.0.1"
    """Address to listen on; only this machine can reach the default. With 0.0.0.0, everybody who can reach this machine
    can connect: use a reverse proxy with TLS."""
    port: int = 8642
    """Port to listen on."""
    url: str | None = None
    """Address that raters open, if a reverse proxy has another one, such as https://study.example.org or
    https://example.org/palate; links and the check of a request's origin use it."""
    behind_proxy: tuple[str, ...] = ()
    """Addresses of the reverse proxies, such as 127.0.0.1 or 10.0.0.0/8: their X-Forwarded-For is taken as the address
    of the client, which limits apply to. When left out, this header is ignored."""
    device: str | None = None
    """Device of live mode's model, such as cpu or cuda; the best one there is when left out."""
    rate: float = 20.0
    """Requests per second that one client may send on average, in bursts of ten times as many; further requests are
    refused for a while."""

    def __post_init__(self) -> None:
        wrong = [*_wrong_url(self.url), *_wrong_networks(self.behind_proxy)]
        if not 0 <= self.port < 65536:
            wrong.append(f"port must be from 0 to 65535, not {self.port}")
        if not 0 < self.rate < math.inf:
            wrong.append(f"rate must be a number above zero, not {self.rate}")
        if wrong:
            raise ValueError("; ".join(wrong))

    @property
    def path(self) -> str:
        """The path of `url`, with which all addresses of the study begin; "" where it has none."""
        return urlsplit(self.url).path.rstrip("/") if self.url else ""


OWN_PATHS = ("api", "i", "owner", "r", "static")
"""The first parts of the paths of a study's own addresses."""
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")


def _wrong_url(url: str | None) -> Iterator[str]:
    if url is None:
        return
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none, or half an IPv6 address
        sound = False
    if not sound:
        yield f"url must be an address such as https://study.example.org, not {url!r}"
    elif parts.query or parts.fragment or parts.username is not None or not _PATH.fullmatch(parts.path):
        yield f"url must be a host, a port and a plain path, such as https://example.org/palate, not {url!r}"
    elif {".", ".."} & set(parts.path.split("/")):
        yield f"url must have a path without dots that lead elsewhere, not {url!r}"
    elif (first := parts.path.strip("/").partition("/")[0]) in OWN_PATHS:
        yield f"url must not begin with /{first}, as the study's own addresses do; choose another path"


def _wrong_networks(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        try:
            ipaddress.ip_network(name, strict=False)
        except ValueError:
            yield f"behind_proxy must be addresses or networks such as 127.0.0.1 or 10.0.0.0/8, not {name!r}"
