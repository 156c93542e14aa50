"""Live mode: a rater's prompt is drawn, shown only to them, and voted on like any other screen."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from PIL import Image
from sqlalchemy import select

from palate.collect.asking import next_screens
from palate.collect.config import StudyConfig
from palate.collect.database_rows import ItemRow
from palate.collect.live import EACH, LONGEST_PROMPT, Painter, painter_of
from palate.collect.new import new_study
from palate.collect.refusal import Refusal
from palate.collect.study import OpenStudy, open_study
from palate.collect.voting import VoteRequest, add_vote
from palate.collect.web.logs import FILE, logging_to
from palate.core.errors import InputError


@pytest.fixture
def live(tmp_path) -> OpenStudy:
    made = new_study(StudyConfig(out=tmp_path / "study", live="tiny-sd"))
    return open_study(made.folder)


def flat(prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
    """Pictures that depend on their seed alone."""
    return [Image.new("RGB", (16, 16), (seed % 256, seed // 256 % 256, 7)) for seed in seeds]


def wait(painter: Painter, rater: int, job: str) -> str:
    for _ in range(500):
        if (state := painter.job(rater, job).state) in ("ready", "failed"):
            return state
        time.sleep(0.01)
    raise AssertionError("the painter did not come to an end")


def test_a_prompt_becomes_a_screen_of_the_rater_who_wrote_it(live: OpenStudy) -> None:
    first, other = (live.rater(live.add_rater(name)) for name in ("first", "other"))
    assert first and other
    painter = Painter(live, lambda: flat)
    assert next_screens(live, first) == []
    job = painter.ask(first, "  two   red stars ")
    assert wait(painter, first, job) == "ready"
    (screen,) = next_screens(live, first)
    assert screen.prompt == "two red stars" and len(screen.images) == 2
    assert next_screens(live, other) == []
    add_vote(live, first, VoteRequest(str(uuid.uuid4()), screen.assignment, "answer", {"general": "left"}))
    assert next_screens(live, first) == []


def test_every_screen_has_newly_drawn_images(live: OpenStudy) -> None:
    rater = live.rater(live.add_rater("me"))
    assert rater
    seen: list[int] = []

    def noted(prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        seen.extend(seeds)
        return flat(prompts, seeds)

    painter = Painter(live, lambda: noted)
    for _ in range(3):
        assert wait(painter, rater, painter.ask(rater, "a star")) == "ready"
    assert len(set(seen)) == 6
    with live.database.read() as session:
        assert {item.purpose for item in session.scalars(select(ItemRow))} == {"live"}


@pytest.mark.parametrize("prompt", ["", "   ", "x" * (LONGEST_PROMPT + 1)])
def test_an_empty_or_too_long_prompt_is_refused(live: OpenStudy, prompt: str) -> None:
    rater = live.rater(live.add_rater("me"))
    assert rater
    with pytest.raises(Refusal, match="characters"):
        Painter(live, lambda: flat).ask(rater, prompt)


def test_a_rater_sees_only_their_own_drawings(live: OpenStudy) -> None:
    me, other = (live.rater(live.add_rater(name)) for name in ("me", "other"))
    assert me and other

    def slow() -> Callable:
        time.sleep(0.3)
        return flat

    painter = Painter(live, slow)
    jobs = [painter.ask(me, "a star") for _ in range(EACH)]
    with pytest.raises(Refusal) as refused:
        painter.ask(me, "a star")
    assert refused.value.status == 429
    with pytest.raises(Refusal) as refused:
        painter.job(other, jobs[0])
    assert refused.value.status == 404
    assert wait(painter, other, painter.ask(other, "a star")) == "ready"


def failing(error: Exception) -> Callable[[], Callable]:
    """A model that fails at its first prompt, and draws those after it."""
    errors = [error]

    def sample(prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        if errors:
            raise errors.pop()
        return flat(prompts, seeds)

    return lambda: sample


def test_a_failure_of_the_model_is_reported_to_rater_and_owner_and_the_next_prompt_is_drawn(
    live: OpenStudy, capsys
) -> None:
    """The rater reads no path and no traceback; the owner finds both in the log."""
    rater = live.rater(live.add_rater("me"))
    assert rater
    with logging_to(live.folder):
        painter = Painter(live, failing(RuntimeError("no memory for /home/me/model")))
        job = painter.ask(rater, "a star\u200b")
        assert wait(painter, rater, job) == "failed"
        message = painter.job(rater, job).message
        assert message == "the model failed (RuntimeError); inform the owner of the study"
        assert wait(painter, rater, painter.ask(rater, "a star")) == "ready"
    file, screen = (live.folder / FILE).read_text(), capsys.readouterr().err
    assert "Traceback" in file and "no memory for /home/me/model" in file and f"of rater {rater}" in file
    assert screen.count("\n") == 1 and "no memory for /home/me/model" in screen and "a star" in screen


def test_a_prompt_that_the_model_refuses_is_explained_and_not_logged_as_an_error(live: OpenStudy) -> None:
    rater = live.rater(live.add_rater("me"))
    assert rater
    with logging_to(live.folder):
        painter = Painter(live, failing(InputError("the picture is not the model's; try another prompt")))
        job = painter.ask(rater, "a star")
        assert wait(painter, rater, job) == "failed"
    assert painter.job(rater, job).message == "the picture is not the model's; try another prompt"
    file = (live.folder / FILE).read_text()
    assert "try another prompt" in file and "Traceback" not in file


def test_loading_a_model_is_tried_again_after_a_failure_and_only_the_owner_sees_its_path(live: OpenStudy) -> None:
    rater = live.rater(live.add_rater("me"))
    assert rater
    loads: list[int] = []

    def load() -> Callable:
        loads.append(1)
        if len(loads) == 1:
            raise InputError("/home/me/model has no weights")
        return flat

    with logging_to(live.folder):
        painter = Painter(live, load)
        job = painter.ask(rater, "a star")
        assert wait(painter, rater, job) == "failed"
        assert "/home" not in painter.job(rater, job).message
        assert wait(painter, rater, painter.ask(rater, "a star")) == "ready"
    assert "/home/me/model has no weights" in (live.folder / FILE).read_text()


def test_the_built_in_model_draws(live: OpenStudy) -> None:
    from palate.collect.live import painter_of

    rater = live.rater(live.add_rater("me"))
    painter = painter_of(live, "cpu")
    assert rater and painter
    job = painter.ask(rater, "three red stars on a blue background")
    for _ in range(60):
        if painter.job(rater, job).state == "ready":
            break
        time.sleep(0.5)
    (screen,) = next_screens(live, rater)
    assert {(image.width, image.height) for image in screen.images} == {(64, 64)}


def test_a_model_that_is_not_there_is_refused_at_the_start(live: OpenStudy, tmp_path) -> None:
    with pytest.raises(InputError, match="did you mean 'tiny-sd'"):
        new_study(StudyConfig(out=tmp_path / "other", live="tiny-ds"))
    assert not (tmp_path / "other").exists()
    gone = replace(live, config=replace(live.config, live="tiny-ds"))
    with pytest.raises(InputError, match="did you mean 'tiny-sd'"):
        painter_of(gone, "cpu")
