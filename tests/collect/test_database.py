"""A study's database: migrations create it, votes are only added, and transactions are complete or have no effect."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from collect.database import answer_next, rows
from sqlalchemy.exc import DatabaseError, IntegrityError

from palate.collect.database import FILE, Database
from palate.collect.database_rows import Base, RaterRow
from palate.core.errors import InputError

BOTH = ["UPDATE vote SET kind = 'skip'", "UPDATE vote SET said = said WHERE id = 1", "DELETE FROM vote"]
COLUMNS = "id + 9, uuid, assignment_id, rater_id, item_id, kind, said, seconds, created, supersedes"
CHANGES = {
    "sqlite": [
        *BOTH,
        "INSERT OR REPLACE INTO vote SELECT * FROM vote",
        f"REPLACE INTO vote SELECT {COLUMNS} FROM vote",
    ],
    "postgresql": [*BOTH, "TRUNCATE vote", "TRUNCATE rater CASCADE"],
}
"""Statements that would change votes."""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """Of a database without tables."""
    return tmp_path / FILE if request.param == "sqlite" else request.getfixturevalue("postgresql").new(empty=True)


@pytest.fixture
def database(url: str | Path) -> Iterator[Database]:
    opened = Database(url)
    yield opened
    opened.close()


def rater(name: str = "ann") -> RaterRow:
    return RaterRow(name=name, token_hash=name, created=time.time())


def test_the_migrations_make_the_tables_that_the_code_declares(database):
    database.migrate()
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_migrating_again_changes_nothing(database):
    database.migrate()
    with database.write() as session:
        session.add(rater())
    database.migrate()
    with database.read() as session:
        assert session.scalars(sa.select(RaterRow.name)).all() == ["ann"]


def test_several_processes_may_migrate_at_once(url):
    databases = [Database(url) for _ in range(4)]
    databases[0].engine.connect().close()  # a file of SQLite has one maker
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Database.migrate, databases))
    with databases[0].read() as session:
        assert session.scalars(sa.text("SELECT version_num FROM alembic_version")).all() == ["0001"]
    for each in databases:
        each.close()


def test_a_migration_that_fails_leaves_nothing(database):
    with database.write() as session:
        session.execute(sa.text("CREATE TABLE vote (id INTEGER)"))  # stands in the way of the fifth table
    with pytest.raises(InputError, match="vote"):
        database.migrate()
    assert sa.inspect(database.engine).get_table_names() == ["vote"]


def test_the_database_itself_refuses_to_change_a_vote(study):
    study = study()
    answer_next(study, 1)
    before = rows(study, "SELECT * FROM vote")
    for statement in CHANGES["sqlite" if study.database.is_sqlite else "postgresql"]:
        with pytest.raises(DatabaseError, match="votes are only ever added"), study.database.write() as session:
            session.execute(sa.text(statement))
    assert rows(study, "SELECT * FROM vote") == before != []


def test_a_write_that_fails_leaves_nothing_and_says_why(database):
    database.migrate()
    for mistake in (lambda session: session.add(rater()), lambda session: 1 / 0):
        with pytest.raises((IntegrityError, ZeroDivisionError)), database.write() as session:
            session.add(rater())
            session.flush()
            mistake(session)
            session.flush()
    with database.read() as session:
        assert session.scalars(sa.select(RaterRow.name)).all() == []
    with database.write() as session:  # and the next one is well
        session.add(rater())


def test_on_sqlite_every_commit_is_on_disk_and_foreign_keys_hold(tmp_path):
    database = Database(tmp_path / FILE)
    with database.read() as session:
        found = {name: session.scalar(sa.text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous")}
        assert found == {"journal_mode": "wal", "synchronous": 2}
        assert session.scalar(sa.text("PRAGMA foreign_keys")) == 1
    database.close()


def test_on_sqlite_a_reader_sees_one_state_while_others_write(tmp_path):
    database = Database(tmp_path / FILE)
    database.migrate()
    count = sa.select(sa.func.count(RaterRow.id))
    with database.read() as session:
        before = session.scalar(count)
        with database.write() as other:
            other.add(rater())
        assert session.scalar(count) == before == 0
    with database.read() as session:
        assert session.scalar(count) == 1
    database.close()


def test_a_folder_may_have_any_name(tmp_path):
    folder = tmp_path / "50%(x)s of? #them&"
    folder.mkdir()
    database = Database(folder / FILE)
    database.migrate()
    database.close()
    assert (folder / FILE).is_file()


@pytest.mark.parametrize(
    "url, words",
    [
        ("postgresql://ann:hush@127.0.0.1:1/study", "cannot be opened .*refused"),
        ("postgresql://ann:hush@127.0.0.1:port/study", "write one such as postgresql://"),
        (Path("/no/such/folder/study.db"), "unable to open"),
    ],
)
def test_the_error_for_an_unreachable_database_is_a_sentence_without_the_password(url, words):
    with pytest.raises(InputError, match=words) as caught:
        Database(url).migrate()
    assert "hush" not in str(caught.value)


def test_a_file_that_is_not_a_database_is_refused(tmp_path):
    (tmp_path / FILE).write_bytes(b"something else" * 100)
    with pytest.raises(InputError, match="not a database"):
        Database(tmp_path / FILE).migrate()


def test_opening_a_study_again_keeps_the_locks_of_this_process(tmp_path):
    """A process that closes any descriptor of a file loses all its locks on it; another one that then closes the
    database believes to be the last, and deletes the file into which this one writes."""
    first = Database(tmp_path / FILE)
    first.migrate()
    with first.write() as session:
        session.add(rater())
    Database(tmp_path / FILE).close()
    script = (
        f"import sqlite3; c = sqlite3.connect({str(tmp_path / FILE)!r}); c.execute('SELECT * FROM rater'); c.close()"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / FILE], check=True, timeout=60)
    assert (tmp_path / f"{FILE}-wal").exists()
    first.close()


def test_a_connection_that_is_in_use_when_the_database_closes_is_closed_when_it_comes_back(database):
    with database.read() as session:
        session.execute(sa.text("SELECT 1"))
        raw = session.connection().connection.dbapi_connection
        database.close()
        assert session.execute(sa.text("SELECT 2")).scalar() == 2
    if database.is_sqlite:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            raw.execute("SELECT 3")
    else:
        assert raw.closed


def test_a_study_can_be_served_by_another_process_as_soon_as_it_is_released(url):
    if isinstance(url, Path):
        pytest.skip("SQLite's file is locked by its folder's lock: test_claim")
    database = Database(url)
    for _ in range(50):  # the server notices the end of a connection only some time later
        with database.claimed() as alone:
            assert alone
    database.close()
