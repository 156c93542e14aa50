"""Who asks: the cookies of raters and of the owner, and the checks that a request was meant.

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

from palate.collect.config import ServeConfig
from palate.collect.refusal import Refusal
from palate.collect.secrets import hashed, same, signed
from palate.collect.study import OpenStudy

RATER, OWNER = "palate_rater", "palate_owner"
CSRF_HEADER = "x-csrf-token"
KNOWN = "palate_known"
WEEKS = 8 * 7 * 24 * 3600

_PAGES = jinja2.Environment(
    loader=jinja2.PackageLoader("palate.collect.web", "pages"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def study_of(request: Request) -> OpenStudy:
    """The study that the app serves."""
    return request.app.state.study


async def study(request: Request) -> OpenStudy:
    """The same, for routes: a coroutine is called where it is needed, anything else in a thread of its own."""
    return study_of(request)


Study = Annotated[OpenStudy, Depends(study)]


def rater(request: Request) -> int:
    """The number of the rater who asks.

    Raises:
        Refusal: there is no such rater (401).
    """
    token = request.cookies.get(RATER)
    found = study_of(request).rater(token) if token else None
    if found is None or token is None:
        raise Refusal(401, "open the link that you were sent: this browser is not known here")
    welcome(request, RATER, token)
    return found


def owner(request: Request) -> None:
    """Lets the study's owner pass.

    Raises:
        Refusal: somebody else asks (401).
    """
    token = request.cookies.get(OWNER)
    if not token or not study_of(request).is_owner(token):
        raise Refusal(401, "open the owner's link, which `palate collect serve` prints")
    welcome(request, OWNER, token)


def welcome(request: Request, cookie: str, token: str) -> None:
    """Tells the guard whose cookie this is: from now on its requests are counted as one person's."""
    setattr(request.state, KNOWN, f"{cookie}:{hashed(token)}")


async def csrf(request: Request) -> None:
    """Lets a request pass that a page of this study made.

    Raises:
        Refusal: another origin, or a missing or wrong CSRF token (403); no cookie, to which it belongs (401).
    """
    if request.headers.get("origin") != origin(request):
        raise Refusal(403, "this request comes from another page; reload the study's own")
    if not request.cookies.get(_cookie(request)):
        raise Refusal(401, "this browser is not known here any more; open your link again")
    if not same(request.headers.get(CSRF_HEADER, ""), csrf_token(request)):
        raise Refusal(403, "this page is too old; reload it")


def csrf_token(request: Request) -> str:
    """What a page must send back; bound to the cookie of whoever loads it."""
    name = _cookie(request)
    return signed(study_of(request).secret, "csrf", name, hashed(request.cookies.get(name, "")))


def _cookie(request: Request) -> str:
    return OWNER if request.url.path.startswith("/owner") else RATER


def origin(request: Request) -> str:
    """The study's own origin, such as `http://127.0.0.1:8642`."""
    serve: ServeConfig = request.app.state.serve
    if serve.url:
        parts = urlsplit(serve.url)
        return f"{parts.scheme}://{parts.netloc}"
    return f"{request.url.scheme}://{request.headers.get('host', '')}"


def link_of(request: Request, token: str) -> str:
    """The address that a new rater opens."""
    serve: ServeConfig = request.app.state.serve
    return f"{(serve.url or origin(request)).rstrip('/')}/r/{token}"


def enter(request: Request, cookie: str, token: str, to: str) -> Response:
    """Moves a token from the address into a cookie, and goes on to a page."""
    response = RedirectResponse(to, status_code=303)
    secure = origin(request).startswith("https://")
    path = "/owner" if cookie == OWNER else "/"
    response.set_cookie(cookie, token, max_age=WEEKS, path=path, secure=secure, httponly=True, samesite="lax")
    return response


def render(request: Request, page: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page of `pages/`, everything put into it escaped."""
    config = study_of(request).config
    common = {"title": config.title, "csrf": csrf_token(request)}
    return HTMLResponse(_PAGES.get_template(page).render(**common | values), status)
