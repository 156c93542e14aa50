"""A study of drawn pictures, served by `palate collect serve` in a process of its own."""

from __future__ import annotations

import colorsys
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from sqlalchemy import select

from palate.collect.config import StudyConfig
from palate.collect.database_rows import AssignmentRow, HandleRow, ItemRow, RaterRow, VoteRow
from palate.collect.new import new_study
from palate.collect.study import OpenStudy, open_study

PROMPTS = (
    "a paper moon over a quiet valley",
    "three hills at dawn, drawn by a child",
    "an evening over the sea, oil on canvas, with a low sun, long shadows, two small boats far out, gulls above the "
    "water and the last warm light of the day on the clouds",
)


def draw(folder: Path, prompts: int, images: int, size: tuple[int, int] = (320, 320)) -> Path:
    """A folder as from `palate generate`, with pictures of hills under a sun, each in other colours."""
    rows = []
    for prompt in range(prompts):
        for image in range(images):
            name = f"images/{prompt}-{image}.png"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            _hills(prompt * images + image, size).save(folder / name)
            text = PROMPTS[prompt % len(PROMPTS)] + (f", version {prompt}" if prompt >= len(PROMPTS) else "")
            row = {"file_name": name, "prompt": text, "seed": image, "model": "secret-model"}
            rows.append(row | {"prompt_index": prompt, "image_index": image})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def _hills(number: int, size: tuple[int, int]) -> Image.Image:
    width, height = size
    hue = number * 0.381966 % 1.0  # the golden ratio keeps neighbours apart

    def colour(turn: float, saturation: float, value: float) -> tuple[int, ...]:
        return tuple(round(255 * part) for part in colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value))

    picture = Image.new("RGB", size, colour(0, 0.35, 0.95))
    pen = ImageDraw.Draw(picture)
    x, y, r = width * (0.25 + hue / 2), height * 0.28, width * 0.11
    pen.ellipse((x - r, y - r, x + r, y + r), fill=colour(0.12, 0.15, 1.0))
    for layer in range(3):
        top = height * (0.45 + 0.16 * layer)
        shift = (number * 37 + layer * 53) % 100 / 100
        points = [(-width * 0.2 + width * shift, top + height * 0.12), (width * (0.2 + shift * 0.6), top)]
        pen.polygon(
            [(0, height), *points, (width, top + height * 0.1), (width, height)],
            fill=colour(0.3, 0.5, 0.75 - layer * 0.2),
        )
    return picture


@dataclass(frozen=True)
class Cast:
    """A vote in the database, and the order of its images on the screen."""

    kind: str
    said: dict[str, Any]
    handles: list[str]
    places: dict[str, int]
    seconds: float | None
    supersedes: int | None
    id: int

    def ranks(self, question: str = "general") -> list[int]:
        """The ranks of the images in the order in which they were shown, found by their names, not by the order."""
        return [self.said["ranks"][question][self.places[handle]] for handle in self.handles]


class Served:
    """A study and its server; `address` stays the same when it is started again."""

    def __init__(self, config: StudyConfig) -> None:
        new_study(config)
        self.folder = config.out
        self.study: OpenStudy = open_study(config.out)
        self.port, self.raters, self.rate = 0, 0, 200.0
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Starts the server, and waits until it listens."""
        command = [sys.executable, "-m", "palate", "collect", "serve", "--study", str(self.folder)]
        command += ["--port", str(self.port), "--rate", str(self.rate)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"NO_COLOR": "1"})
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert " at http://" in line, f"the server said {line!r}"
        self.port = int(line.split(" at ")[1].split()[0].rsplit(":", 1)[1])
        line = self.process.stdout.readline()  # the owner's link is renewed by then, and what tests renew stays
        assert line.startswith("owner: "), f"the server said {line!r}"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self, gently: bool = True) -> None:
        """Stops only this server."""
        if self.process is None:
            return
        self.process.terminate() if gently else self.process.kill()
        self.process.wait(20)
        assert self.process.stdout
        self.process.stdout.close()
        self.process = None

    def close(self) -> None:
        self.stop()
        self.study.close()

    def invite(self) -> str:
        """The link of a new rater."""
        self.raters += 1
        return f"{self.address}/r/{self.study.add_rater(f'rater {self.raters}')}"

    def votes(self, rater: int | None = None) -> list[Cast]:
        """The votes of the rater who was invited last, or of another one, oldest first."""
        name = f"rater {rater or self.raters}"
        with self.study.database.read() as session:
            query = select(VoteRow).join(RaterRow, RaterRow.id == VoteRow.rater_id).where(RaterRow.name == name)
            found = session.scalars(query.order_by(VoteRow.id)).all()
            return [self._cast(session, vote) for vote in found]

    def _cast(self, session: Any, vote: VoteRow) -> Cast:
        images = session.get_one(ItemRow, session.get_one(AssignmentRow, vote.assignment_id).item_id).images
        query = select(HandleRow).where(HandleRow.assignment_id == vote.assignment_id).order_by(HandleRow.position)
        handles = session.scalars(query).all()
        places = {each.name: images.index(each.image_id) for each in handles}
        return Cast(vote.kind, vote.said, list(places), places, vote.seconds, vote.supersedes, vote.id)
