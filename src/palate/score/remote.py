"""A scorer that runs elsewhere, behind a small JSON protocol over HTTP: `remote:http://127.0.0.1:8400`.

The protocol, version 1 (docs/scorers.md): `GET /scorers` describes the scorers, `POST /score` takes
`{"scorer": name, "prompts": [...], "images": [...]}`, the images as base64 of PNG or WebP files, and answers
`{"scores": [...], "fingerprint": "..."}`. An error is `{"error": "one line"}` with a status of 400 or more.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from functools import partial
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import torch

from palate.core.errors import InputError, nearest
from palate.core.plugins import ScorerFacts
from palate.core.progress import note
from palate.records.decode import rgb
from palate.score.base import Images, to_images
from palate.score.serve import PROTOCOL, TOKEN
from palate.score.within_prompt import whole_prompts

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

ATTEMPTS = 5
FIRST_WAIT = 1.0
"""Seconds before the second attempt; each further one waits twice as long."""
TIMEOUT = 120.0
"""Seconds without an answer after which a request is repeated."""
AT_ONCE = 16
"""Images in one request."""


class RemoteError(Exception):
    """A request that failed in a way that may pass: no connection, no answer in time, or a senseless one."""


class RemoteScorer:
    """A scorer of a server, such as `palate score serve` in an environment of its own.

    A request that fails is repeated; `repeated` counts that. An answer from a scorer that has changed since is refused.

    Args:
        address: of the server, such as http://127.0.0.1:8400, followed by `#` and a scorer's name if it has several.
        device: not used: the server chooses its own.

    Raises:
        InputError: there is no such server or scorer; when scoring, it refuses the request, or it still fails after
            `ATTEMPTS` attempts.
    """

    facts = ScorerFacts(
        title="a scorer on another machine or in another environment, over HTTP",
        values="those of the scorer",
        licence="that of the scorer",
        size="nothing here",
        source="docs/scorers.md",
    )
    differentiable = False

    def __init__(self, address: str, device: str | None = None) -> None:
        self.name, self.repeated = f"remote:{address}", 0
        self._url, _, wanted = address.rstrip("/").partition("#")
        self._url = self._url.rstrip("/")
        if not self._url.startswith(("http://", "https://")):
            raise InputError(f"{address!r} is not an address; give one such as remote:http://127.0.0.1:8400")
        found = self._request("/scorers", None, _described)
        self._about = _chosen(found, wanted, self._url)
        self.higher_is_better: bool = self._about["higher_is_better"]
        self.reads_prompt: bool = self._about["reads_prompt"]
        self.within_prompt: bool = self._about.get("within_prompt", False)
        self.repeatable = "version" in self._about

    def fingerprint(self) -> str:
        """The server's digest of the scorer, with its name and version there if it gives one; see `Scorer`."""
        about = self._about
        return (
            f"{about['name']} {about['fingerprint']} of {about['version']}" if self.repeatable else about["fingerprint"]
        )

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`."""
        pictures, scores = to_images(images), torch.zeros(len(prompts))
        every = list(range(len(pictures)))
        pieces = (every[start : start + AT_ONCE] for start in every[::AT_ONCE])
        for rows in whole_prompts(prompts, AT_ONCE) if self.within_prompt else pieces:
            texts = [prompts[row] for row in rows]
            encoded = [_encoded(pictures[row]) for row in rows]
            body = {"scorer": self._about["name"], "prompts": texts, "images": encoded}
            found = self._request("/score", body, partial(self._checked, len(texts)))
            scores[rows] = torch.tensor(found, dtype=torch.float32)
        return scores

    def _checked(self, count: int, answer: Any) -> list[float]:
        """The scores of an answer."""
        found = answer.get("scores") if isinstance(answer, dict) else None
        if not isinstance(found, list) or len(found) != count or not all(_is_number(each) for each in found):
            raise RemoteError(f"it answers {_short(answer)} to {count} images, not that many scores")
        made_by = ("fingerprint", "version")
        if any(answer.get(name) != self._about.get(name) for name in made_by):
            fix = "start again in another folder"
            raise InputError(f"the scorer of {self.name} has changed since the run began; {fix}")
        return [float(each) for each in found]

    def _request(self, path: str, body: dict[str, Any] | None, read: Any) -> Any:
        """What `read` makes of the answer; a request that fails is repeated."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return read(_answer(f"{self._url}{path}", body))
            except RemoteError as error:
                if attempt == ATTEMPTS:
                    fix = "check that the server runs; the same command then continues"
                    raise InputError(f"{self.name} fails after {ATTEMPTS} attempts: {error}; {fix}") from error
                self.repeated += 1
                wait = FIRST_WAIT * 2 ** (attempt - 1)
                note(f"{self.name}: {error}; attempt {attempt + 1} of {ATTEMPTS} in {wait:g} s")
                time.sleep(wait)
        raise AssertionError("the last attempt returns or raises")


def _answer(url: str, body: dict[str, Any] | None) -> Any:
    """The JSON that a server answers.

    Raises:
        RemoteError: it does not answer in time, or not with JSON, or it has failed (a status of 500 or more).
        InputError: it refuses the request.
    """
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    headers |= {"Authorization": f"Bearer {os.environ[TOKEN]}"} if TOKEN in os.environ else {}
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=TIMEOUT) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        said = _said(error)
        if error.code >= 500:
            raise RemoteError(f"status {error.code}: {said}") from error
        fix = f"; set {TOKEN}" if error.code == 401 else ""
        raise InputError(f"{url} refuses the request with status {error.code}: {said}{fix}") from error
    except (OSError, HTTPException) as error:  # a time-out is an OSError; the other is an answer that ends too early
        raise RemoteError(f"no answer: {getattr(error, 'reason', error) or type(error).__name__}") from error
    except ValueError as error:
        raise RemoteError(f"its answer is not JSON: {error}") from error


def _described(answer: Any) -> list[dict[str, Any]]:
    """The descriptions of a server's scorers."""
    kinds = {"name": str, "higher_is_better": bool, "reads_prompt": bool, "fingerprint": str}
    may = {"within_prompt": bool, "version": str}
    found = answer.get("scorers") if isinstance(answer, dict) else None
    if not isinstance(found, list) or not found or not all(isinstance(each, dict) for each in found):
        raise RemoteError(f"it describes its scorers with {_short(answer)}")
    if (version := answer.get("protocol")) != PROTOCOL:
        raise InputError(f"the server speaks version {version!r} of the protocol, not {PROTOCOL}; use the same Palate")
    for each in found:
        given = kinds | {name: kind for name, kind in may.items() if name in each}
        if wrong := [name for name, kind in given.items() if not isinstance(each.get(name), kind)]:
            raise RemoteError(f"it describes a scorer without a sound {wrong[0]!r}: {_short(each)}")
    return found


def _chosen(found: Sequence[dict[str, Any]], wanted: str, url: str) -> dict[str, Any]:
    by_name = {each["name"]: each for each in found}
    if wanted in by_name:
        return by_name[wanted]
    names = ", ".join(by_name)
    if wanted:
        raise InputError(f"{url} has no scorer {wanted!r}{nearest(wanted, by_name)}; it has {names}")
    if len(found) > 1:
        raise InputError(
            f"{url} has several scorers; name one: {', '.join(f'remote:{url}#{name}' for name in by_name)}"
        )
    return found[0]


def _encoded(image: Image.Image) -> str:
    data = io.BytesIO()
    rgb(image).save(data, "PNG", compress_level=1)
    return base64.b64encode(data.getvalue()).decode()


def _said(error: urllib.error.HTTPError) -> str:
    """The one line with which a server explains an error."""
    try:
        return str(json.loads(error.read())["error"]).splitlines()[0]
    except (ValueError, KeyError, TypeError, IndexError, OSError):
        return str(error.reason)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:80]}..."
