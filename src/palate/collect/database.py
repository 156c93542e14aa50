"""The study's database: SQLite beside its images, or PostgreSQL by URL; made and kept up to date by migrations."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.orm import Session

from palate.core.errors import InputError

FILE = "study.db"
MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """Transactions on a study.

    SQLite has one writer: writers of this process wait for each other here, in turn, and not by its polling. Every
    commit is on disk before it is acknowledged (WAL with synchronous FULL; PostgreSQL's default).

    Args:
        url: a PostgreSQL URL, or a path to SQLite's file.
    """

    def __init__(self, url: str | Path) -> None:
        self.is_sqlite = isinstance(url, Path)
        self.url = (
            f"sqlite:///{url}" if isinstance(url, Path) else url.replace("postgresql://", "postgresql+psycopg://")
        )
        options: dict[str, Any] = {"pool_size": 16, "max_overflow": 16, "pool_pre_ping": not self.is_sqlite}
        self.engine: Engine = create_engine(self.url, **options)
        self._writer = threading.Lock()
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)

    def migrate(self) -> None:
        """Makes the tables, or brings them up to date.

        Raises:
            InputError: the database cannot be reached.
        """
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        try:
            with self.engine.begin() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except (OperationalError, DatabaseError) as error:
            first = str(error.orig).strip().splitlines()[0]
            raise InputError(
                f"the study's database cannot be opened ({first}); check its URL and its rights"
            ) from error

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that changes nothing."""
        with Session(self.engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session whose changes are committed at its end, all or none; on SQLite one at a time."""
        if not self.is_sqlite:
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                yield session
            return
        with self._writer, Session(self.engine, expire_on_commit=False) as session:
            session.connection(execution_options={"isolation_level": "AUTOCOMMIT"}).exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield session
                session.flush()
            except BaseException:
                session.connection().exec_driver_sql("ROLLBACK")
                raise
            session.connection().exec_driver_sql("COMMIT")

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()


def _prepare_sqlite(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()
