"""The cookies of raters and of the owner, and the checks that a page of the study sent a request.

A link contains a token. Opening it moves the token into a cookie that scripts cannot read and other sites cannot send,
and removes it from the address. A request that changes something must also have the page's CSRF token and come from the
study's own origin.
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
"""The two kinds of cookies, by who has them."""
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
    """The same, as a dependency of routes: as a coroutine, it needs no thread of its own."""
    return study_of(request)


Study = Annotated[OpenStudy, Depends(study)]


def cookie_of(study: OpenStudy, whose: str) -> str:
    """The name of a study's cookie. Browsers do not separate the cookies of a host by port, so each study has a name of
    its own."""
    return f"palate_{whose}_{authentication_code(study.secret, 'cookie')[:12]}"


def token_of(request: Request, whose: str) -> str:
    """The token in the cookie of a rater, or of the owner; "" where there is none."""
    return request.cookies.get(cookie_of(study_of(request), whose), "")


def rater(request: Request) -> int:
    """The number of the rater who sent a request.

    Raises:
        Refusal: there is no such rater (401).
    """
    token = token_of(request, RATER)
    found = study_of(request).rater(token) if token else None
    if found is None:
        raise Refusal(401, "open the link that you were sent: this browser is not known here")
    return found


def owner(request: Request) -> None:
    """Checks that a request is from the study's owner.

    Raises:
        Refusal: it is from somebody else (401).
    """
    token = token_of(request, OWNER)
    if not token or not study_of(request).is_owner(token):
        raise Refusal(401, "open the owner's link, which `palate collect serve` prints")


async def csrf(request: Request) -> None:
    """Checks that a page of this study sent a request.

    Raises:
        Refusal: the origin is another one, or the CSRF token is missing or wrong (403), or there is no cookie (401).
    """
    if request.headers.get("origin") != origin(request):
        raise Refusal(403, "this request comes from another page; reload the study's own")
    if not token_of(request, _whose(request)):
        raise Refusal(401, "this browser is not known here any more; open your link again")
    if not equal_in_constant_time(request.headers.get(CSRF_HEADER, ""), csrf_token(request)):
        raise Refusal(403, "this page is too old; reload it")


def csrf_token(request: Request) -> str:
    """The CSRF token that a page must send back; it depends on the client's cookie."""
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
    """The origin of an address, as browsers write it: in lower case, without the scheme's default port."""
    parts = urlsplit(url.lower())
    usual = {"http": ":80", "https": ":443"}[parts.scheme]
    return f"{parts.scheme}://{parts.netloc.removesuffix(usual)}"


def path_of(request: Request) -> str:
    """The common beginning of all the study's paths; usually ""."""
    return request.app.state.serve.path


def link_of(request: Request, token: str) -> str:
    """The address that a new rater opens."""
    serve: ServeConfig = request.app.state.serve
    return f"{(serve.url or origin(request)).rstrip('/')}/r/{token}"


def enter_session(request: Request, whose: str, token: str, to: str) -> Response:
    """Moves a token from the address into a cookie, and redirects to a page."""
    base = path_of(request)
    response = RedirectResponse(base + to, status_code=303)
    about = {"secure": origin(request).startswith("https://"), "httponly": True, "samesite": "lax", "max_age": WEEKS}
    path = f"{base}/owner" if whose == OWNER else base or "/"
    response.set_cookie(cookie_of(study_of(request), whose), token, path=path, **about)
    return response


def render_page(request: Request, page: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page of `pages/`, with all values escaped."""
    config = study_of(request).config
    base = path_of(request)
    # The owner's browser sends its cookie only to paths below /owner: the page's files are there too, so that the
    # limits recognise the owner.
    files = f"{base}/owner/static" if _whose(request) == OWNER else f"{base}/static"
    common = {"title": config.title, "csrf": csrf_token(request), "base": base, "files": files, "status": status}
    return HTMLResponse(_PAGES.get_template(page).render(**common | values), status)
