"""What a rater's browser asks for."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from palate.collect import session
from palate.collect.asking import next_screens
from palate.collect.refusal import Refusal
from palate.collect.secrets import signed
from palate.collect.study import OpenStudy
from palate.collect.tables import Assignment, Handle, Image, Rater
from palate.collect.voting import Ballot, Receipt, cast, undo

router = APIRouter()
Who = Annotated[int, Depends(session.rater)]
Study = Annotated[OpenStudy, Depends(session.study_of)]
TOKEN = Path(min_length=43, max_length=43, pattern=r"^[A-Za-z0-9_-]+$")
HANDLE = Path(min_length=22, max_length=22, pattern=r"^[A-Za-z0-9_-]+$")
UUID = Field(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")


class ShownImage(BaseModel):
    """One image of a screen."""

    src: str
    width: int
    height: int


class ScreenOut(BaseModel):
    """What is shown."""

    assignment: int
    prompt: str
    images: list[ShownImage]


class ScreensOut(BaseModel):
    """The screens to answer, the first one now; none where there is no more to ask."""

    screens: list[ScreenOut]
    done: int


class VoteIn(BaseModel):
    """A vote; see `collect.answers` for what can be answered."""

    model_config = ConfigDict(extra="forbid", strict=True)
    uuid: str = UUID
    assignment: int = Field(ge=1, lt=2**63)
    kind: Literal["answer", "skip", "flag"]
    answers: dict[str, str | int | list[int]] | None = Field(default=None, max_length=20)
    reason: str | None = Field(default=None, max_length=200)
    seconds: float | None = Field(default=None, ge=0, le=86_400)


class UndoIn(BaseModel):
    """A wish to take the last vote back."""

    model_config = ConfigDict(extra="forbid", strict=True)
    uuid: str = UUID


class ReceiptOut(BaseModel):
    """Says that a vote is on disk; `new` is false where it was there already."""

    new: bool
    done: int


@router.get("/r/{token}", include_in_schema=False)
def enter(request: Request, study: Study, token: Annotated[str, TOKEN]) -> Response:
    """Opens a rater's link."""
    if study.rater(token) is None:
        raise Refusal(404, "this link is not valid, or no more; ask whoever sent it for a new one")
    return session.enter(request, session.RATER, token, "/")


@router.get("/", include_in_schema=False)
def page(request: Request, who: Who, study: Study) -> HTMLResponse:
    """The page on which a rater compares images."""
    config = study.config
    shown = {"instructions": config.instructions, "task": config.task, "live": bool(config.live)}
    shown["rater"] = signed(study.secret, "rater", str(who))[:16]  # under which the browser keeps unsent votes
    return session.render(request, "rater.html.jinja", questions=config.wording(), n=config.per_screen, **shown)


@router.get("/api/screens")
def screens(who: Who, study: Study, count: Annotated[int, Query(ge=1, le=4)] = 2) -> ScreensOut:
    """The screens that the rater is to answer: the first one now, the others to be loaded ahead."""
    found = next_screens(study, who, count)
    with study.database.read() as database:
        done = database.get_one(Rater, who).done
    return ScreensOut(screens=[_screen(each) for each in found], done=done)


@router.post("/api/votes", dependencies=[Depends(session.csrf)])
def vote(who: Who, study: Study, ballot: VoteIn) -> ReceiptOut:
    """Adds a vote; sending the same one again changes nothing."""
    return _receipt(cast(study, who, Ballot(**ballot.model_dump())))


@router.post("/api/undo", dependencies=[Depends(session.csrf)])
def take_back(who: Who, study: Study, wish: UndoIn) -> ReceiptOut:
    """Takes the rater's last vote back; its screen comes first again."""
    return _receipt(undo(study, who, wish.uuid))


@router.get("/i/{handle}", response_class=Response, responses={200: {"content": {"image/png": {}}}})
def image(who: Who, study: Study, handle: Annotated[str, HANDLE]) -> Response:
    """A picture of one of the rater's own screens, by its random name."""
    with study.database.read() as database:
        query = select(Image.file).join(Handle, Handle.image_id == Image.id)
        query = query.join(Assignment, Assignment.id == Handle.assignment_id)
        file = database.scalar(query.where(Handle.name == handle, Assignment.rater_id == who))
    if file is None:
        raise Refusal(404, "there is no such picture among your screens")
    return picture(study, file, "private, max-age=86400, immutable")


def picture(study: OpenStudy, file: str, cache: str) -> Response:
    """A file of the study's pictures; links that lead out of their folder are not followed.

    Raises:
        Refusal: it is not there (404).
    """
    path = (study.folder / file).resolve()
    if not path.is_relative_to(study.images) or not path.is_file():
        raise Refusal(404, "this picture is missing; tell the study's owner")
    return Response(FilePath(path).read_bytes(), media_type="image/png", headers={"cache-control": cache})


def _screen(screen: Any) -> ScreenOut:
    images = [ShownImage(src=f"/i/{each.handle}", width=each.width, height=each.height) for each in screen.images]
    return ScreenOut(assignment=screen.assignment, prompt=screen.prompt, images=images)


def _receipt(receipt: Receipt) -> ReceiptOut:
    return ReceiptOut(new=receipt.new, done=receipt.done)
