"""The routes of the study's owner: the quality of votes, the raters, and their quarantine."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, Field

from palate.collect import voting
from palate.collect.database_rows import ImageRow
from palate.collect.refusal import Refusal
from palate.collect.study import LONGEST_NAME
from palate.collect.web import session
from palate.collect.web.dashboard_view import dashboard_values
from palate.collect.web.inputs import TOKEN, In
from palate.collect.web.rater_routes import picture_response
from palate.collect.web.schema import QualityOut
from palate.collect.web.session import Study
from palate.core.errors import InputError
from palate.core.runs import RunFolder

router = APIRouter(prefix="/owner")
OWNER = [Depends(session.owner)]
CHANGE = [Depends(session.owner), Depends(session.csrf)]
NAME = Field(min_length=1, max_length=LONGEST_NAME, pattern=r"^[^\x00-\x1f\x7f]*$")


class RaterIn(In):
    """The name of the rater whom a link is for."""

    name: str = NAME


class LinkOut(BaseModel):
    """A rater's link, which is shown only once."""

    link: str


class QuarantineIn(In):
    """The rater whose votes must not count, or must count again."""

    name: str = NAME
    on: bool


class QuarantineOut(BaseModel):
    """Whether the rater is quarantined now."""

    name: str
    quarantined: bool


@router.get("/enter/{token}", include_in_schema=False)
def open_owner_link(request: Request, study: Study, token: Annotated[str, TOKEN]) -> Response:
    """Opens the owner's link."""
    if not study.is_owner(token):
        raise Refusal(404, "this link is not valid, or no longer valid; `palate collect serve` prints a new one")
    return session.enter_session(request, session.OWNER, token, "/owner")


@router.get("", include_in_schema=False, dependencies=OWNER)
@router.get("/", include_in_schema=False, dependencies=OWNER)
def dashboard(request: Request, study: Study) -> HTMLResponse:
    """The page on which the owner watches a study."""
    made = RunFolder(study.folder).finished or {}
    return session.render_page(
        request, "dashboard.html.jinja", **dashboard_values(request.app.state.measure(study), study.config, made)
    )


@router.get("/api/quality", dependencies=OWNER)
def measures(request: Request, study: Study) -> QualityOut:
    """Progress, agreement, systems, raters and flagged items."""
    return QualityOut.model_validate(request.app.state.measure(study).to_dict())


@router.post("/api/raters", dependencies=CHANGE)
def add(request: Request, study: Study, rater: RaterIn) -> LinkOut:
    """Invites a rater."""
    try:
        token = study.add_rater(rater.name)
    except InputError as error:  # an empty name, or one that is taken
        raise Refusal(409, str(error)) from error
    return LinkOut(link=session.link_of(request, token))


@router.post("/api/raters/renew", dependencies=CHANGE)
def renew(request: Request, study: Study, rater: RaterIn) -> LinkOut:
    """Gives a rater a new link; the old one is no longer valid."""
    try:
        token = study.renew_rater(rater.name)
    except InputError as error:
        raise Refusal(404, str(error)) from error
    return LinkOut(link=session.link_of(request, token))


@router.post("/api/quarantine", dependencies=CHANGE)
def set_quarantine(study: Study, wish: QuarantineIn) -> QuarantineOut:
    """Makes a rater's votes not count, or count again; none is deleted."""
    try:
        voting.quarantine(study, wish.name, wish.on)
    except InputError as error:
        raise Refusal(404, str(error)) from error
    return QuarantineOut(name=wish.name, quarantined=wish.on)


@router.get(
    "/i/{image_id}", dependencies=OWNER, response_class=Response, responses={200: {"content": {"image/png": {}}}}
)
def study_image(study: Study, image_id: Annotated[int, Path(ge=1, lt=2**63)]) -> Response:
    """A picture of the study, by its number."""
    with study.database.read() as database:
        found = database.get(ImageRow, image_id)
    if found is None:
        raise Refusal(404, "the study has no such picture")
    return picture_response(study, found.file, "private, max-age=86400, immutable")
