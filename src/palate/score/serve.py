"""`palate score serve`: the server of `remote:<address>`; the protocol is in `score.remote` and docs/scorers.md."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from palate.core.errors import ConfigError, InputError
from palate.score.score_cache import computing_versions
from palate.score.within_prompt import compares_images

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from palate.score.base import Scorer

LARGEST = 256 * 1024 * 1024
"""Bytes of a request's body."""
MOST = 256
"""Images in a request."""
PROTOCOL = 1
TOKEN = "PALATE_SCORE_TOKEN"
"""The environment variable with the token that a server asks for, if it does."""
Answer: TypeAlias = tuple[int, dict[str, Any]]
"""A status and an object."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, kw_only=True)
class ServeScorersConfig:
    """The settings of `palate score serve`."""

    scorer: tuple[str, ...]
    """One scorer or more, as `palate score` takes them; `palate scorers` lists them."""
    host: str = "127.0.0.1"
    """Address to listen on. On another than this machine's own, requests need the token in $PALATE_SCORE_TOKEN."""
    port: int = 8400
    """Port to listen on; 0 for any free one."""
    device: str | None = None
    """Such as cpu or cuda; the best one there is when left out."""

    def __post_init__(self) -> None:
        if not self.scorer:
            raise ValueError("scorer must name at least one, such as clip:<model>")
        if not 0 <= self.port < 65536:
            raise ValueError(f"port must be from 0 to 65535, not {self.port}")


def serve_scorers(config: ServeScorersConfig) -> None:
    """Serves scorers until it is interrupted; requests that have begun are answered first.

    Raises:
        ConfigError: starlette and uvicorn are not installed, the address cannot be used, or it is open to other
            machines and there is no token.
        InputError: there is no such scorer.
    """
    from palate.score.load import load_scorer

    try:
        import uvicorn
    except ImportError as error:
        raise ConfigError("palate score serve needs starlette and uvicorn: pip install 'palate[serve]'") from error
    token = os.environ.get(TOKEN)
    if config.host not in LOOPBACK and not token:
        fix = f"set ${TOKEN} to a secret, here and where scores are asked for"
        raise ConfigError(f"other machines reach {config.host}; {fix}")
    app = score_app([load_scorer(spec, config.device) for spec in dict.fromkeys(config.scorer)], token)
    server = uvicorn.Server(uvicorn.Config(app, host=config.host, port=config.port, log_level="warning", ws="none"))
    try:
        listening = server.config.bind_socket()
        listening.listen()
    except (OSError, SystemExit) as error:
        raise ConfigError(f"cannot listen on {config.host}:{config.port}; give another --port") from error
    host, port = listening.getsockname()[:2]
    print(f"scorers at remote:http://{host}:{port}", flush=True)
    server.run(sockets=[listening])


def score_app(scorers: Sequence[Scorer], token: str | None = None) -> Starlette:
    """The application that answers requests for some scorers, one at a time.

    Args:
        scorers: the scorers.
        token: what `Authorization: Bearer` must have, if anything.
    """
    from starlette.applications import Starlette
    from starlette.routing import Route

    answers = _Answers(scorers, token)
    routes = {"/scorers": (answers.describe, "GET"), "/score": (answers.score, "POST")}
    return Starlette(
        routes=[Route(path, answers.json(answer), methods=[method]) for path, (answer, method) in routes.items()]
    )


class _Answers:
    """The answers to requests, each a status and an object."""

    def __init__(self, scorers: Sequence[Scorer], token: str | None) -> None:
        self._scorers, self._token = {scorer.name: scorer for scorer in scorers}, token
        self._prints = {scorer.name: scorer.fingerprint() for scorer in scorers}
        self._versions = computing_versions()
        self._turn = asyncio.Lock()  # scorers are not made for several threads

    def json(self, answer: Callable[[Request], Awaitable[Answer]]) -> Callable[[Request], Awaitable[Response]]:
        """The function of a route: checks the token, and sends an answer as JSON."""
        from starlette.responses import JSONResponse

        async def respond(request: Request) -> Response:
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            if self._token is not None and not hmac.compare_digest(given.encode(), self._token.encode()):
                return JSONResponse({"error": "the token is missing or wrong"}, 401)
            status, content = await answer(request)
            return JSONResponse(content, status)

        return respond

    async def describe(self, request: Request) -> Answer:
        """What the scorers are."""
        about = [
            {
                "name": name,
                "higher_is_better": scorer.higher_is_better,
                "reads_prompt": scorer.reads_prompt,
                "within_prompt": compares_images(scorer),
                "fingerprint": self._prints[name],
                **self._version(name),
            }
            for name, scorer in self._scorers.items()
        ]
        return 200, {"protocol": PROTOCOL, "scorers": about}

    def _version(self, name: str) -> dict[str, str]:
        """The version, where equal ones mean equal scores."""
        return {"version": self._versions} if getattr(self._scorers[name], "repeatable", True) else {}

    async def score(self, request: Request) -> Answer:
        """The scores of a request's images."""
        from starlette.concurrency import run_in_threadpool

        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST:
                return 413, {"error": f"a request has at most {LARGEST} bytes; send fewer images"}
        try:
            scorer, images, prompts = _asked(json.loads(body), self._scorers)
            async with self._turn:
                found = await run_in_threadpool(_scores, scorer, images, prompts)
        except (InputError, ValueError) as error:
            return 400, {"error": " ".join(str(error).split())}
        except Exception as error:  # a scorer's own; the server goes on
            return 500, {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
        return 200, {"scores": found, "fingerprint": self._prints[scorer.name], **self._version(scorer.name)}


def _scores(scorer: Scorer, images: Sequence[Any], prompts: Sequence[str]) -> list[float]:
    from palate.score.base import require_score, score_images

    found = score_images(scorer, images, prompts)
    for place, value in enumerate(found):
        require_score(scorer.name, value, f"image {place}")
    return found


def _asked(body: Any, scorers: Mapping[str, Scorer]) -> tuple[Scorer, list[Any], list[str]]:
    """The scorer, images and prompts of a request.

    Raises:
        InputError: it is not one of the protocol.
    """
    if not isinstance(body, dict):
        raise InputError("a request is an object with 'prompts' and 'images'")
    name = body.get("scorer", next(iter(scorers)) if len(scorers) == 1 else "")
    if not isinstance(name, str) or name not in scorers:
        raise InputError(f"there is no scorer {name!r}; there are {', '.join(scorers)}")
    prompts, encoded = body.get("prompts"), body.get("images")
    for title, values in (("prompts", prompts), ("images", encoded)):
        if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
            raise InputError(f"{title!r} must be a list of texts")
    assert isinstance(prompts, list) and isinstance(encoded, list)  # checked above
    if len(prompts) != len(encoded) or not 0 < len(encoded) <= MOST:
        raise InputError(f"there are {len(prompts)} prompts and {len(encoded)} images; send as many, from 1 to {MOST}")
    return scorers[name], [_decoded(each, place) for place, each in enumerate(encoded)], prompts


def _decoded(text: str, place: int) -> Any:
    from palate.records.decode import decode_image

    try:
        return decode_image(base64.b64decode(text, validate=True))
    except (binascii.Error, InputError) as error:
        raise InputError(f"image {place} cannot be read: {error}") from error
