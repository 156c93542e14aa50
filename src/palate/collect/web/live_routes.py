"""Live mode over HTTP: a rater sends a prompt and gets a screen."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from palate.collect.live import LONGEST_PROMPT, Painter
from palate.collect.refusal import Refusal
from palate.collect.web import session
from palate.collect.web.inputs import HANDLE, In

router = APIRouter()
Who = Annotated[int, Depends(session.rater)]


def painter(request: Request) -> Painter:
    """The study's painter; Refusal (404) where it has no live mode."""
    found: Painter | None = request.app.state.painter
    if found is None:
        raise Refusal(404, "this study shows images that are there already; it draws none")
    return found


Paints = Annotated[Painter, Depends(painter)]


class PromptIn(In):
    """A rater's prompt."""

    prompt: str = Field(min_length=1, max_length=LONGEST_PROMPT)


class JobOut(BaseModel):
    """The name of the drawing, with which its state is requested."""

    job: str


class DrawingOut(BaseModel):
    """The state of a drawing; once it is ready, its screen is among the rater's screens."""

    state: Literal["waiting", "drawing", "ready", "failed"]
    message: str


@router.post("/api/live", dependencies=[Depends(session.csrf)])
def ask(who: Who, paints: Paints, wish: PromptIn) -> JobOut:
    """Requests a drawing of a prompt."""
    return JobOut(job=paints.ask(who, wish.prompt))


@router.get("/api/live/{job}")
def drawing(who: Who, paints: Paints, job: Annotated[str, HANDLE]) -> DrawingOut:
    """The state of a drawing."""
    found = paints.job(who, job)
    return DrawingOut(state=found.state, message=found.message)
