"""Live mode: a rater writes a prompt, the model draws images, and the rater chooses; the loop of Pick-a-Pic.

In Pick-a-Pic the winning image stayed for the next choice, which makes comparisons depend on each other (Kirstain et
al. 2023, arXiv:2305.01569, section 2). Here the images of every screen are new.
"""

from __future__ import annotations

import io
import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from palate.collect.asking import assign_item
from palate.collect.characters import typed_text
from palate.collect.database_rows import RaterRow
from palate.collect.gather import Original, Question
from palate.collect.new import Album, add_item
from palate.collect.refusal import Refusal
from palate.collect.secrets import new_handle
from palate.collect.study import OpenStudy
from palate.core.errors import InputError
from palate.core.seeds import derive
from palate.records.images import StoredImage

if TYPE_CHECKING:
    from PIL import Image

LONGEST_PROMPT = 300
WAITING = 64
"""The maximum number of prompts that wait for the model."""
EACH = 2
"""The maximum of these for one rater."""
REMEMBERED = 2000
Sample: TypeAlias = "Callable[[Sequence[str], Sequence[int]], list[Image.Image]]"
"""Prompts and seeds to images."""
State = Literal["waiting", "drawing", "ready", "failed"]


log = logging.getLogger("palate.collect.live")


@dataclass(frozen=True)
class Job:
    """A prompt that was asked for."""

    rater: int
    prompt: str
    state: State = "waiting"
    message: str = ""


class Painter:
    """Draws images for raters' prompts, one prompt after the other, in its own thread.

    Args:
        study: the study that gets the screens.
        load: returns the function from prompts and seeds to images; called in the thread, before the first prompt.
    """

    def __init__(self, study: OpenStudy, load: Callable[[], Sample]) -> None:
        self.study, self._load = study, load
        self._queue: queue.Queue[str] = queue.Queue()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()
        threading.Thread(target=self._work, name="painter", daemon=True).start()

    def ask(self, rater: int, prompt: str) -> str:
        """Adds a prompt to the queue; returns the name of its job.

        Raises:
            Refusal: the prompt is not valid (400), or too many are waiting (429).
        """
        try:
            prompt = typed_text(" ".join(prompt.split())).strip()
        except ValueError as error:
            raise Refusal(400, f"the prompt cannot be drawn: {error}; leave that out") from error
        if not 0 < len(prompt) <= LONGEST_PROMPT:
            raise Refusal(400, f"a prompt has 1 to {LONGEST_PROMPT} characters, not {len(prompt)}")
        with self._lock:
            open_ones = [job for job in self._jobs.values() if job.state in ("waiting", "drawing")]
            if len(open_ones) >= WAITING or sum(job.rater == rater for job in open_ones) >= EACH:
                raise Refusal(429, "the model is still drawing; wait for it")
            name = new_handle()
            self._jobs[name] = Job(rater, prompt)
            while len(self._jobs) > REMEMBERED:
                self._jobs.popitem(last=False)
        self._queue.put(name)
        return name

    def job(self, rater: int, name: str) -> Job:
        """The state of a rater's prompt.

        Raises:
            Refusal: the rater has no job of that name (404).
        """
        job = self._jobs.get(name)
        if job is None or job.rater != rater:
            raise Refusal(404, "there is no such drawing; write the prompt again")
        return job

    def _work(self) -> None:
        sample = None
        while True:
            name = self._queue.get()
            self._note(name, state="drawing")
            try:
                sample = sample or self._load()
                self._draw(name, sample)
            except Exception as error:  # whatever a model raises, the next prompt must be drawn
                self._failed(name, error, loaded=sample is not None)
            else:
                self._note(name, state="ready")

    def _failed(self, name: str, error: Exception, loaded: bool) -> None:
        """Sets a message for the rater on what they can do, and logs the error for the owner."""
        job = self._jobs.get(name)
        prompt, rater = (job.prompt, job.rater) if job else ("", 0)
        if loaded and isinstance(error, InputError):  # it is about the prompt, or about what the model made of it
            log.warning("the prompt %r of rater %d was not drawn: %s", prompt, rater, error)
            message = str(error)
        else:
            what = "drawing" if loaded else "loading the model for"
            log.error("%s the prompt %r of rater %d failed", what, prompt, rater, exc_info=error)
            message = f"the model failed ({type(error).__name__}); inform the owner of the study"
        self._note(name, state="failed", message=message)

    def _draw(self, name: str, sample: Sample) -> None:
        config, job = self.study.config, self._jobs[name]
        seeds = [derive(config.seed, "live", name, number) >> 31 for number in range(config.per_screen)]
        images = sample([job.prompt] * len(seeds), seeds)
        originals = [Original(_stored(image), config.live or "", seed) for image, seed in zip(images, seeds)]
        with self.study.database.write() as session:
            item = add_item(
                session,
                self.study,
                "live",
                Question(job.prompt, tuple(originals)),
                Album(self.study.folder, config.sizes == "keep"),
            )
            assign_item(session, config, session.get_one(RaterRow, job.rater), item, time.time())

    def _note(self, name: str, **changes: str) -> None:
        with self._lock:
            if name in self._jobs:
                self._jobs[name] = replace(self._jobs[name], **changes)  # type: ignore[arg-type]


def painter_of(study: OpenStudy, device: str | None) -> Painter | None:
    """A painter of the study's model; None where the study has no live mode.

    Raises:
        InputError: the model does not exist.
    """
    if study.config.live is None:
        return None
    from palate.models.source import resolve

    resolve(study.config.live).check()

    def load() -> Sample:
        from palate.generate.sampler import Sampler

        return Sampler(study.config.live or "", device=device).sample

    return Painter(study, load)


def _stored(image: Image.Image) -> StoredImage:
    data = io.BytesIO()
    image.save(data, "png")
    return StoredImage(data.getvalue(), name="a drawn image")
