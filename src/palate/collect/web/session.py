"""The cookies of raters and of the owner, and the checks that a page of the study sent a request.

A link holds a token. Opening it once moves the token into a cookie that scripts cannot read and other sites do not
send, and takes it out of the address. Whatever changes something must also carry the CSRF token of the page and come
from the study's own origin.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

import jinja2
from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from palate.collect.characters import visible_text
from palate.collect.config import ServeConfig
from palate.collect.refusal import Refusal
from palate.collect.secrets import authentication_code, equal_in_constant_time, token_hash
from palate.collect.study import OpenStudy

RATER, OWNER = "rater", "owner"
"""Whose cookies there are."""
CSRF_HEADER = "x-csrf-token"
WEEKS = 8 * 7 * 24 * 3600

_PAGES = jinja2.Environment(
    loader=jinja2.PackageLoader("palate.collect.web", "pages"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
    finalize=lambda value: visible_text(value) if type(value) is str else value,
)


def study_of(request: Request) -> OpenStudy:
    """The study that the app serves."""
    return request.app.state.study


async def study(request: Request) -> OpenStudy:
    """The same, for routes: a coroutine is called where it is needed, anything else in a thread of its own."""
    return study_of(request)


Study = Annotated[OpenStudy, Depends(study)]


def cookie_of(study: OpenStudy, whose: str) -> str:
    """The name of a study's cookie: browsers keep those of one host together, whatever the port, so each study has a
    name of its own."""
    return f"palate_{whose}_{authentication_code(study.secret, 'cookie')[:12]}"


def token_of(request: Request, whose: str) -> str:
    """What the cookie of a rater, or of the owner, holds; "" where there is none."""
    return request.cookies.get(cookie_of(study_of(request), whose), "")


def rater(request: Request) -> int:
    """The number of the rater who asks.

    Raises:
        Refusal: there is no such rater (401).
    """
    token = token_of(request, RATER)
    found = study_of(request).rater(token) if token else None
    if found is None:
        raise Refusal(401, "open the link that you were sent: this browser is not known here")
    return found


def owner(request: Request) -> None:
    """Lets the study's owner pass.

    Raises:
        Refusal: somebody else asks (401).
    """
    token = token_of(request, OWNER)
    if not token or not study_of(request).is_owner(token):
        raise Refusal(401, "open the owner's link, which `palate collect serve` prints")


async def csrf(request: Request) -> None:
    """Lets a request pass that a page of this study made.

    Raises:
        Refusal: another origin, or a missing or wrong CSRF token (403); no cookie, to which it belongs (401).
    """
    if request.headers.get("origin") != origin(request):
        raise Refusal(403, "this request comes from another page; reload the study's own")
    if not token_of(request, _whose(request)):
        raise Refusal(401, "this browser is not known here any more; open your link again")
    if not equal_in_constant_time(request.headers.get(CSRF_HEADER, ""), csrf_token(request)):
        raise Refusal(403, "this page is too old; reload it")


def csrf_token(request: Request) -> str:
    """The token that a page must send back; it is bound to the cookie of the client."""
    whose = _whose(request)
    return authentication_code(study_of(request).secret, "csrf", whose, token_hash(token_of(request, whose)))


def _whose(request: Request) -> str:
    return OWNER if request.scope["path"].startswith("/owner") else RATER


def origin(request: Request) -> str:
    """The study's own origin, such as `http://127.0.0.1:8642`."""
    serve: ServeConfig = request.app.state.serve
    if serve.url:
        return origin_of(serve.url)
    return f"{request.url.scheme}://{request.headers.get('host', '')}"


def origin_of(url: str) -> str:
    """The origin of an address, as browsers write it: in lower case, without the port that the scheme has anyway."""
    parts = urlsplit(url.lower())
    usual = {"http": ":80", "https": ":443"}[parts.scheme]
    return f"{parts.scheme}://{parts.netloc.removesuffix(usual)}"


def path_of(request: Request) -> str:
    """The common beginning of the paths of all of the study's addresses; "" in most cases."""
    return request.app.state.serve.path


def link_of(request: Request, token: str) -> str:
    """The address that a new rater opens."""
    serve: ServeConfig = request.app.state.serve
    return f"{(serve.url or origin(request)).rstrip('/')}/r/{token}"


def enter_session(request: Request, whose: str, token: str, to: str) -> Response:
    """Moves a token from the address into a cookie, and goes on to a page."""
    base = path_of(request)
    response = RedirectResponse(base + to, status_code=303)
    about = {"secure": origin(request).startswith("https://"), "httponly": True, "samesite": "lax", "max_age": WEEKS}
    path = f"{base}/owner" if whose == OWNER else base or "/"
    response.set_cookie(cookie_of(study_of(request), whose), token, path=path, **about)
    return response


def render_page(request: Request, page: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page of `pages/`, everything put into it escaped."""
    config = study_of(request).config
    base = path_of(request)
    # The owner's browser sends its cookie to paths below /owner alone: its files are there, so that limits know it.
    files = f"{base}/owner/static" if _whose(request) == OWNER else f"{base}/static"
    common = {"title": config.title, "csrf": csrf_token(request), "base": base, "files": files, "status": status}
    return HTMLResponse(_PAGES.get_template(page).render(**common | values), status)
