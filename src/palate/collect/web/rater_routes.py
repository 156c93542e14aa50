"""The routes of a rater's browser."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, Field, FiniteFloat
from sqlalchemy import bindparam, select

from palate.collect.asking import Screen, next_screens
from palate.collect.characters import visible_text
from palate.collect.database_rows import AssignmentRow, HandleRow, ImageRow, RaterRow
from palate.collect.refusal import Refusal
from palate.collect.remaining import State, remaining
from palate.collect.secrets import authentication_code, token_hash
from palate.collect.study import OpenStudy
from palate.collect.study_pictures import StudyPicture
from palate.collect.voting import Receipt, VoteRequest, add_vote, undo_vote
from palate.collect.web import session
from palate.collect.web.inputs import HANDLE, TOKEN, UUID, In
from palate.collect.web.session import Study

router = APIRouter()

# Built once: building a statement takes longer than SQLite takes to answer it. For the same reason routes look up the
# rater themselves: a dependency would run in one more thread.
_FILE = select(ImageRow.file).join(HandleRow, HandleRow.image_id == ImageRow.id)
_FILE = _FILE.join(AssignmentRow, AssignmentRow.id == HandleRow.assignment_id).join(
    RaterRow, RaterRow.id == AssignmentRow.rater_id
)
_FILE = _FILE.where(HandleRow.name == bindparam("handle"), RaterRow.token_hash == bindparam("token"))
_DONE = select(RaterRow.done).where(RaterRow.id == bindparam("me"))


class ShownImage(BaseModel):
    """One image of a screen."""

    src: str
    width: int
    height: int


class ScreenOut(BaseModel):
    """A screen: the prompt and the images."""

    assignment: int
    prompt: str
    images: list[ShownImage]


class AheadOut(BaseModel):
    """The rater's remaining screens; see `collect.remaining`. In live mode there is no end: `screens` is null."""

    screens: int | None
    pace: FiniteFloat | None
    state: State


class ScreensOut(BaseModel):
    """The screens to answer, the first one now; empty where there are no more.

    `done` is how many the rater has answered; `ahead` is given where it was asked for, and where there is no screen.
    """

    screens: list[ScreenOut]
    done: int
    ahead: AheadOut | None


class VoteIn(In):
    """A vote; see `collect.answers` for the valid answers."""

    uuid: str = Field(pattern=UUID)
    assignment: int = Field(ge=1, lt=2**63)
    kind: Literal["answer", "skip", "flag"]
    answers: dict[str, str | int | list[int]] | None = Field(default=None, max_length=20)
    reason: str | None = Field(default=None, max_length=200)
    seconds: float | None = Field(default=None, ge=0, le=86_400)


class UndoIn(In):
    """A request to take a vote back: the one with the number `vote`, or the last one."""

    uuid: str = Field(pattern=UUID)
    vote: str | None = Field(default=None, pattern=UUID)


class ReceiptOut(BaseModel):
    """The confirmation that a vote is on disk; `new` is false where it was there already."""

    new: bool
    done: int


@router.get("/r/{token}", include_in_schema=False)
def open_rater_link(request: Request, study: Study, token: Annotated[str, TOKEN]) -> Response:
    """Opens a rater's link."""
    if study.rater(token) is None:
        raise Refusal(404, "this link is not valid, or no longer valid; ask the sender for a new one")
    return session.enter_session(request, session.RATER, token, "/")


@router.get("/", include_in_schema=False)
def page(request: Request, study: Study) -> HTMLResponse:
    """The page on which a rater compares images."""
    who, config = session.rater(request), study.config
    shown = {"instructions": config.instructions, "task": config.task, "live": bool(config.live)}
    # The browser keeps unsent votes under this name.
    shown["rater"] = authentication_code(study.secret, "rater", str(who))[:16]
    return session.render_page(request, "rater.html.jinja", questions=config.wording(), n=config.per_screen, **shown)


@router.get("/api/screens")
def screens(
    request: Request, study: Study, count: Annotated[int, Query(ge=1, le=4)] = 2, ahead: bool = False
) -> ScreensOut:
    """The screens that the rater must answer: the first one now; the page loads the others ahead."""
    who = session.rater(request)
    found = next_screens(study, who, count)
    with study.database.read() as database:
        done = database.scalars(_DONE, {"me": who}).one()
    known = _ahead(study, who) if ahead or not found else None
    base = session.path_of(request)
    return ScreensOut(screens=[_screen(each, base) for each in found], done=done, ahead=known)


@router.post("/api/votes", dependencies=[Depends(session.csrf)])
def vote(request: Request, study: Study, ballot: VoteIn) -> ReceiptOut:
    """Adds a vote; sending the same one again changes nothing."""
    return _receipt(add_vote(study, session.rater(request), VoteRequest(**ballot.model_dump())))


@router.post("/api/undo", dependencies=[Depends(session.csrf)])
def take_back(request: Request, study: Study, wish: UndoIn) -> ReceiptOut:
    """Takes a vote of the rater back; its screen comes first again."""
    return _receipt(undo_vote(study, session.rater(request), wish.uuid, wish.vote))


@router.get("/i/{handle}", response_class=Response, responses={200: {"content": {"image/png": {}}}})
def screen_image(request: Request, study: Study, handle: Annotated[str, HANDLE]) -> Response:
    """A picture of one of the rater's own screens, by its random name."""
    token = session.token_of(request, session.RATER)
    with study.database.read() as database:
        file = database.scalar(_FILE, {"handle": handle, "token": token_hash(token)})
    if file is None:
        session.rater(request)
        raise Refusal(404, "there is no such picture among your screens")
    return picture_response(study, file, "private, max-age=86400, immutable")


def picture_response(study: OpenStudy, file: str, cache: str) -> Response:
    """A file of the study's pictures; its name is a digest of its content, so a changed file is recognised.

    Raises:
        Refusal: the file is missing, a link leads out of the folder, or the file was changed (404).
    """
    try:
        path = (study.folder / file).resolve()
        data = path.read_bytes() if path.is_relative_to(study.images) and path.is_file() else None
    except (OSError, RuntimeError):  # Python before 3.13 raises the latter for links in a circle
        data = None
    if data is None:
        raise Refusal(404, "this picture is missing; inform the study's owner")
    if StudyPicture(data, 0, 0).file != file:
        raise Refusal(404, "this picture is broken; inform the study's owner")
    return Response(data, media_type="image/png", headers={"cache-control": cache})


def _screen(screen: Screen, base: str) -> ScreenOut:
    images = [ShownImage(src=f"{base}/i/{each.handle}", width=each.width, height=each.height) for each in screen.images]
    return ScreenOut(assignment=screen.assignment, prompt=visible_text(screen.prompt), images=images)


def _ahead(study: OpenStudy, rater: int) -> AheadOut:
    found = remaining(study, rater)
    return AheadOut(screens=None if study.config.live else found.screens, pace=found.pace, state=found.state)


def _receipt(receipt: Receipt) -> ReceiptOut:
    return ReceiptOut(new=receipt.new, done=receipt.done)
