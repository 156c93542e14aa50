"""A study: its folder, its database, its owner and its raters."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sqlalchemy import bindparam, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from palate.collect.config import StudyConfig
from palate.collect.database import FILE, PASSWORD, Database
from palate.collect.database_rows import ImageRow, ItemRow, RaterRow, StudyRow
from palate.collect.secrets import equal_in_constant_time, new_token, token_hash
from palate.core.config import from_mapping, to_mapping
from palate.core.errors import InputError
from palate.core.runs import read_config

LONGEST_NAME = 80
_WHOSE = select(RaterRow.id).where(RaterRow.token_hash == bindparam("token"))  # asked at every request, so built once


@dataclass(frozen=True)
class OpenStudy:
    """An open study.

    Attributes:
        folder: the folder with the images; no other file in it is served.
        database: the database with all other data.
        config: the configuration.
        secret: the key of CSRF tokens.
    """

    folder: Path
    database: Database
    config: StudyConfig
    secret: str

    @cached_property
    def images(self) -> Path:
        """The folder of pictures, links resolved."""
        return (self.folder / "images").resolve()

    def add_rater(self, name: str) -> str:
        """Adds a rater and returns their token, which is not stored: whoever has the link is the rater.

        Raises:
            InputError: the name is empty, too long or taken, or cannot be printed.
        """
        return self.invite([name])[0]

    def invite(self, names: Sequence[str], renew: bool = False) -> list[str]:
        """Adds several raters and returns a token for each; all of them are added, or none.

        Args:
            renew: give existing raters a new token, which makes the old one invalid, instead of refusing them.

        Raises:
            InputError: a name is empty, too long or taken, or cannot be printed.
        """
        names, tokens = [_name(each) for each in names], [new_token() for _ in names]
        try:
            with self.database.write() as session:
                for name, token in zip(names, tokens):
                    rater = session.scalar(select(RaterRow).where(RaterRow.name == name))
                    if rater is not None and not renew:
                        raise InputError(f"there is a rater named {name!r}; choose another name")
                    if rater is None:
                        session.add(RaterRow(name=name, token_hash=token_hash(token), created=time.time()))
                        session.flush()
                    else:
                        rater.token_hash = token_hash(token)
        except IntegrityError as error:  # somebody else invites them at the same moment
            raise InputError(f"one of {', '.join(names)} is a rater by now; try again") from error
        return tokens

    def renew_rater(self, name: str) -> str:
        """A new token for a rater who lost theirs; the old one is no longer valid.

        Raises:
            InputError: there is no such rater.
        """
        token = new_token()
        with self.database.write() as session:
            rater = session.scalar(select(RaterRow).where(RaterRow.name == name))
            if rater is None:
                raise InputError(f"there is no rater named {name!r}")
            rater.token_hash = token_hash(token)
        return token

    def rater(self, token: str) -> int | None:
        """The number of the rater with a token; None where no rater has it."""
        with self.database.read() as session:
            return session.scalar(_WHOSE, {"token": token_hash(token)})

    def is_owner(self, token: str) -> bool:
        """Whether a token is the owner's."""
        with self.database.read() as session:
            return equal_in_constant_time(session.scalars(select(StudyRow.owner_hash)).one(), token_hash(token))

    def renew_owner(self) -> str:
        """A new owner's token; the old one is no longer valid."""
        token = new_token()
        with self.database.write() as session:
            session.scalars(select(StudyRow)).one().owner_hash = token_hash(token)
        return token

    def counts(self) -> dict[str, int]:
        """How many items of each purpose, images and raters there are."""
        with self.database.read() as session:
            items = session.execute(select(ItemRow.purpose, func.count()).group_by(ItemRow.purpose)).all()
            images = session.scalar(select(func.count(ImageRow.id))) or 0
            raters = session.scalar(select(func.count(RaterRow.id))) or 0
        return {**{f"{purpose} items": count for purpose, count in items}, "images": images, "raters": raters}

    def begin(self, session: Session, owner: str) -> bool:
        """Writes the study's row, with the owner's token.

        Returns:
            False where the study was there already; its items were written together with it.

        Raises:
            InputError: the database holds another study.
        """
        config, row = to_mapping(self.config), session.scalar(select(StudyRow))
        if row is None:
            values = {"owner_hash": token_hash(owner), "secret": self.secret, "created": time.time()}
            session.add(StudyRow(id=1, config=config, **values))
        elif self.database.is_sqlite or row.config == config:
            row.owner_hash = token_hash(owner)
        else:
            raise InputError("the database holds a study already; name another database")
        return row is None

    def close(self) -> None:
        """Closes the database."""
        self.database.close()


def _name(text: str) -> str:
    name = text.strip()
    if not 0 < len(name) <= LONGEST_NAME:
        raise InputError(f"a rater's name has 1 to {LONGEST_NAME} characters, not {len(name)}")
    if not name.isprintable():
        raise InputError(f"a rater's name cannot have characters that do not print: {name!r}")
    return name


def _make_private(folder: Path) -> None:
    with suppress(OSError):  # another user's folder, or a file system without permissions
        folder.chmod(0o700)


def create(config: StudyConfig) -> OpenStudy:
    """A study with all tables, which are empty unless it was begun before; only its owner can read its folder.

    Raises:
        InputError: the database cannot be reached.
    """
    _make_private(config.out)
    database = Database(config.database or config.out / FILE, config.out / PASSWORD)
    database.migrate()
    return OpenStudy(config.out, database, config, secrets.token_hex(32))


def open_study(folder: Path | str) -> OpenStudy:
    """A study that `palate collect new` made; from then on, only its owner can read its folder.

    Raises:
        InputError: there is none, or its database cannot be opened.
    """
    folder = Path(folder).expanduser()
    stored = read_config(folder) if folder.is_dir() else None
    if not stored or stored.get("stage") != "collect new":
        raise InputError(f"{folder} is not a study; give a folder that `palate collect new` made")
    if not stored.get("database") and not (folder / FILE).is_file():
        raise InputError(f"the study in {folder} lacks {FILE}; run `palate collect new` again")
    _make_private(folder)
    database = Database(stored.get("database") or folder / FILE, folder / PASSWORD)
    database.migrate()
    with database.read() as session:
        row = session.scalars(select(StudyRow)).one_or_none()
    if row is None:
        database.close()
        raise InputError(f"the database of {folder} holds no study; run `palate collect new` again")
    return OpenStudy(folder, database, from_mapping(StudyConfig, row.config), row.secret)
