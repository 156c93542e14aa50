"""`palate collect new`: a study's folder, its pictures and its database."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from palate.collect.config import StudyConfig
from palate.collect.database import FILE, PASSWORD, without_password
from palate.collect.database_rows import ImageRow, ItemRow
from palate.collect.gather import Original, Question, gather, gather_gold
from palate.collect.secrets import new_token
from palate.collect.study import OpenStudy, create
from palate.collect.study_pictures import common_size, picture_of
from palate.core.errors import InputError
from palate.core.files import write_atomic
from palate.core.progress import track
from palate.core.runs import RunFolder
from palate.core.seeds import derive
from palate.models.source import resolve
from palate.records.images import StoredImage
from palate.records.tally import Tally

SEVERAL_SIZES, MADE_SMALLER = "items with images of several sizes", "images made smaller"
"""The names of these two counts in a summary."""


@dataclass(frozen=True)
class Made:
    """A new study; the owner's token is stored nowhere else."""

    folder: Path
    owner: str
    counts: dict[str, int]


def new_study(config: StudyConfig) -> Made:
    """Copies the pictures, without metadata and in one size for each comparison (see `sizes`), and writes the items.

    A password in the database's URL is stored in a file of its own, and in no configuration.

    Raises:
        InputError: the images or the model do not exist, an image is broken, there is nothing to compare, the database
            cannot be reached, or the folder holds a study already; the files of an incomplete study are deleted.
        RunFolderError: the folder holds another run.
    """
    if config.live:
        resolve(config.live).check()
    tally = Tally(config.skip_bad)
    asked = [("real", each) for each in gather(config, tally)] + [("gold", each) for each in gather_gold(config, tally)]
    url, password = without_password(config.database) if config.database else (None, None)
    config = replace(config, database=url)
    run = RunFolder.open(config.out, "collect new", config, free={"out"})
    if run.finished is not None:
        raise InputError(f"{config.out} holds a study already; `palate collect serve --study {config.out}` serves it")
    images, owner = config.out / "images", new_token()
    begun_before = images.exists()
    try:
        images.mkdir(exist_ok=True)
        if password is not None:
            write_atomic(config.out / PASSWORD, password, mode=0o600)
        with run.timer("new"):
            counts = {**_write(config, asked, owner), **tally.summary()}
    except InputError:
        if not begun_before:
            _take_back(run, images)
        raise
    run.finish({**counts, "made": round(time.time())})
    return Made(config.out, owner, counts)


def _write(config: StudyConfig, asked: Sequence[tuple[str, Question]], owner: str) -> dict[str, int]:
    """Writes all of a study in one transaction, so that the database has all of it or nothing after an interruption."""
    study = create(config)
    album = Album(study.folder, config.sizes == "keep")
    try:
        with study.database.write() as session:
            if study.begin(session, owner):
                for purpose, question in track(asked, "preparing pictures"):
                    add_item(session, study, purpose, question, album)
        return study.counts() | album.counts()
    except IntegrityError as error:  # another process began a study there at the same moment
        raise InputError("the database holds a study already; name another database") from error
    finally:
        study.close()


def _take_back(run: RunFolder, images: Path) -> None:
    shutil.rmtree(images)
    for file in [*run.path.glob(f"{FILE}*"), *run.path.glob(PASSWORD)]:
        file.unlink()
    run.abandon()


@dataclass(frozen=True)
class Stored:
    """A picture on disk: its file, relative to the study, and its size in pixels."""

    file: str
    width: int
    height: int


class Album:
    """The pictures of a study; each original is decoded and written once for each size in which it is compared.

    Args:
        folder: the folder of the study.
        keep: keep the size of each picture, whatever the sizes of the others on the screen.
    """

    def __init__(self, folder: Path, keep: bool = False) -> None:
        self.folder, self.keep = folder, keep
        self._made_smaller: set[str] = set()
        self._mixed = 0
        self.ids: dict[str, int] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._stored: dict[tuple[str, tuple[int, int]], Stored] = {}

    def pictures(self, originals: Sequence[Original]) -> list[Stored]:
        """The pictures of a comparison, all of one size unless sizes are kept."""
        sizes = [self._size(each.image) for each in originals]
        mixed, common = len(set(sizes)) > 1, common_size(sizes)
        self._mixed += mixed
        if mixed and not self.keep:
            self._made_smaller |= {each.image.digest() for each, size in zip(originals, sizes) if size != common}
        return [self._store(each.image, size if self.keep else common) for each, size in zip(originals, sizes)]

    def counts(self) -> dict[str, int]:
        """The number of items with images of several sizes, and of images that were made smaller, where above zero."""
        found = {SEVERAL_SIZES: self._mixed, MADE_SMALLER: len(self._made_smaller)}
        return {name: count for name, count in found.items() if count}

    def _size(self, image: StoredImage) -> tuple[int, int]:
        if image.digest() not in self._sizes:
            self._sizes[image.digest()] = image.open().size
        return self._sizes[image.digest()]

    def _store(self, image: StoredImage, size: tuple[int, int]) -> Stored:
        key = image.digest(), size
        if key not in self._stored:
            picture = picture_of(image.open(), size)
            if not (self.folder / picture.file).exists():
                write_atomic(self.folder / picture.file, picture.data)
            self._stored[key] = Stored(picture.file, picture.width, picture.height)
        return self._stored[key]


def add_item(session: Session, study: OpenStudy, purpose: str, question: Question, album: Album) -> ItemRow:
    """Writes a question's pictures and its item."""
    pictures = album.pictures(question.originals)
    images = [_image(session, *each, album) for each in zip(question.originals, pictures)]
    turn = derive(study.config.seed, "turn", "\x1f".join([question.prompt, *map(str, images)])) % 2**31
    answer = list(question.answer) if question.answer else None
    item = ItemRow(purpose=purpose, prompt=question.prompt, images=images, answer=answer, turn=turn, filled=0, left=0)
    session.add(item)
    session.flush()
    return item


def _image(session: Session, original: Original, picture: Stored, album: Album) -> int:
    origin = "\x1f".join([picture.file, original.system, str(original.seed), str(original.image)])
    if origin not in album.ids:
        image = ImageRow(
            file=picture.file,
            width=picture.width,
            height=picture.height,
            system=original.system,
            seed=original.seed,
            source=str(original.image),
            about=dict(original.about),
        )
        session.add(image)
        session.flush()
        album.ids[origin] = image.id
    return album.ids[origin]
