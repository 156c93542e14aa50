"""The web app of one study."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from palate import __version__
from palate.collect.config import ServeConfig
from palate.collect.live import painter_of
from palate.collect.quality.study_quality import Quality, quality
from palate.collect.refusal import Refusal
from palate.collect.study import OpenStudy
from palate.collect.web import live_routes, owner_routes, rater_routes, session
from palate.collect.web.guard import ADDED, FILES, Guard

NOWHERE = "there is nothing at this address; open the link that you were sent"
STATIC = Path(__file__).parent / "static"
mimetypes.add_type("text/javascript", ".js")  # some systems have another type for it, which browsers refuse


class Refused(BaseModel):
    """The reason why a request is refused, one sentence."""

    detail: str


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refused} for status in (400, 401, 403, 404, 409, 413, 422, 429)
}


def create_app(study: OpenStudy, serve: ServeConfig, measure: Callable[[OpenStudy], Quality] = quality) -> FastAPI:
    """The app that serves a study.

    Args:
        study: the study, which has the items and receives the votes.
        serve: the address at which it is reached, and the limits.
        measure: computes the quality of the votes, for the owner's page.

    Raises:
        InputError: the model of a study in live mode does not exist.
    """
    about: dict[str, Any] = {"title": "Palate collect", "version": __version__, "responses": REFUSALS}
    app = FastAPI(**about, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.study, app.state.serve, app.state.measure = study, serve, measure
    app.state.painter = painter_of(study, serve.device)
    app.include_router(rater_routes.router)
    app.include_router(live_routes.router)
    app.include_router(owner_routes.router)
    for path in FILES:
        app.mount(path, StaticFiles(directory=STATIC))
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _failed)
    app.add_middleware(Guard, study=study, serve=serve, refuse=_said)
    return app


def _refused(request: Request, error: Any) -> Response:
    return _said(request, error.status, str(error))


def _malformed(request: Request, error: Any) -> Response:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return _said(request, 422, f"{where}: {first['msg']}" if where else first["msg"])


def _http(request: Request, error: Any) -> Response:
    nowhere = error.status_code == 404 and error.detail == HTTPStatus.NOT_FOUND.phrase  # Starlette's own text
    response = _said(request, error.status_code, NOWHERE if nowhere else str(error.detail))
    response.headers.update(error.headers or {})
    return response


def _failed(request: Request, error: Any) -> Response:
    """The answer after an unexpected error, which the log has; it bypasses the guard, so headers are added here."""
    response = _said(request, 500, "the server failed; what it has confirmed is safe")
    response.headers.update(ADDED)
    return response


def _said(request: Request, status: int, message: str) -> Response:
    """A refusal: a page for a person, JSON for a script."""
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return session.render_page(request, "refusal.html.jinja", status, message=message)
    return JSONResponse({"detail": message}, status)
