"""The study's database: SQLite in the study's folder, or PostgreSQL by URL; migrations create and update it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DatabaseError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from palate.core.errors import InputError

FILE = "study.db"
PASSWORD = "pgpass"
"""A file with a PostgreSQL password in the study's folder, in libpq's own format; only its owner can read it."""
MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATING = 0x70616C617465
"""PostgreSQL's advisory lock for migrations; the letters of `palate`."""
SERVING = MIGRATING + 1
"""PostgreSQL's advisory lock of the process that serves the study."""
BESIDE = ("", "-wal", "-shm", "-journal")
"""The endings of SQLite's files after the name of the database."""


class Database:
    """Transactions on a study.

    SQLite allows one writer at a time: the writers of this process wait for a lock here, instead of SQLite's polling.
    Every commit is on disk before it is acknowledged (WAL with synchronous FULL; PostgreSQL's default). Only the owner
    of SQLite's files can read them, also those of a study that an earlier version made.

    Args:
        url: a PostgreSQL URL, or a path to SQLite's file.
        password: a file with PostgreSQL's password in the format of `without_password`; without one, libpq uses its
            usual sources, such as PGPASSWORD and ~/.pgpass.

    Raises:
        InputError: the URL is not valid.
    """

    def __init__(self, url: str | Path, password: Path | None = None) -> None:
        self.is_sqlite = isinstance(url, Path)
        if isinstance(url, Path):
            _make_private(url)
        options: dict[str, Any] = {"pool_size": 16, "max_overflow": 16, "pool_pre_ping": not self.is_sqlite}
        if password is not None and password.is_file():
            options["connect_args"] = {"passfile": str(password)}
        self.engine: Engine = create_engine(_address(url), **options)
        self._writing = self.engine.execution_options(palate_begin="BEGIN IMMEDIATE")
        self._writer = threading.Lock() if self.is_sqlite else nullcontext()
        self._closed = False
        event.listen(self.engine, "checkin", self._close_late)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)

    def migrate(self) -> None:
        """Creates or updates the tables in one transaction; of several simultaneous processes, only one does it.

        Raises:
            InputError: the database cannot be reached.
        """
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        try:
            with self._writer, self._writing.begin() as connection:
                if not self.is_sqlite:
                    connection.execute(select(func.pg_advisory_xact_lock(MIGRATING)))
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except DatabaseError as error:
            self.close()
            first = (str(error.orig).strip() or "no reason given").splitlines()[0]
            raise InputError(
                f"the study's database cannot be opened ({first}); check its URL and its rights"
            ) from error

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that changes nothing; on SQLite it sees one state of the database from its first query on."""
        with Session(self.engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session whose changes are committed at its end, all or none; on SQLite one at a time."""
        with self._writer, Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def claimed(self) -> Iterator[bool]:
        """Whether only this process serves the study during the block, ensured by a lock in PostgreSQL.

        The lock ends with the process. With SQLite, the file lock of `claim.claimed` is enough.
        """
        if self.is_sqlite:
            yield True
            return
        with self.engine.connect() as connection:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            alone = bool(connection.scalar(select(func.pg_try_advisory_lock(SERVING))))
            try:
                yield alone
            finally:
                with suppress(DatabaseError):  # the lock of a broken connection is released already
                    if alone:  # before the connection ends: the server notices that only some time later
                        connection.execute(select(func.pg_advisory_unlock(SERVING)))
                connection.invalidate()  # the lock belongs to the connection, which must not go back to the others

    def close(self) -> None:
        """Closes all connections; a connection that another thread still uses is closed when it is returned."""
        self._closed = True
        self.engine.dispose()

    def _close_late(self, _: object, record: ConnectionPoolEntry) -> None:
        """Closes a connection that is returned to the pool of a closed database."""
        if self._closed:
            record.invalidate()


def _make_private(file: Path) -> None:
    """Creates SQLite's file, if it does not exist, and makes it and the files that SQLite creates with it readable only
    for their owner; files of another user are not changed."""
    # Only a new file is opened here: closing any descriptor of a file releases all locks that this process has on it,
    # those of SQLite too (https://www.sqlite.org/howtocorrupt.html, 2.2). SQLite itself reports other errors.
    with suppress(OSError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    for ending in BESIDE:
        with suppress(OSError):
            file.with_name(file.name + ending).chmod(0o600)


def _address(url: str | Path) -> URL:
    if isinstance(url, Path):
        return URL.create("sqlite", database=str(url))
    try:
        return make_url(url).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError) as error:
        raise InputError("the database is not a URL; write one such as postgresql://user@host:5432/name") from error


def without_password(url: str) -> tuple[str, str | None]:
    """A PostgreSQL URL without its password, for a configuration, and the contents of `PASSWORD`, None without one.

    Raises:
        InputError: the URL is not valid.
    """
    full = _address(url)
    asked = full.query.get("password", full.password)
    if asked is None:
        return url, None
    bare = full._replace(password=None).difference_update_query(["password"]).set(drivername="postgresql")
    escaped = str(asked).replace("\\", "\\\\").replace(":", "\\:")
    return bare.render_as_string(hide_password=False), f"*:*:*:*:{escaped}\n"


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself, so that `_begin_sqlite` can
    cursor = connection.cursor()
    for setting in ("busy_timeout=10000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("palate_begin", "BEGIN"))
