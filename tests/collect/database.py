"""Helpers for tests of studies: a PostgreSQL server, drawn pictures, and the actions of a rater."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from PIL import Image
from sqlalchemy import select, text

from palate.collect.asking import LEASED, next_screens
from palate.collect.config import StudyConfig
from palate.collect.database import Database
from palate.collect.database_rows import AssignmentRow, VoteRow, standing_votes_query
from palate.collect.study import OpenStudy
from palate.collect.voting import Receipt, VoteRequest, add_vote
from palate.records.images import StoredImage
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet

MakeStudy = Callable[..., OpenStudy]
SIZE = (8, 8)
PLAIN = {"mirror": 0.0, "gold_share": 0.0}
"""Of a study in which nothing but items is asked."""

PREPARED = "prepared"
"""A database whose tables are made already; new ones are copies of it, which is quicker than migrating each."""
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=32MB", "max_connections=300")
FAST += ("wal_level=minimal", "max_wal_senders=0", "jit=off")
FAST += ("autovacuum=off",)  # it visits every database in turn, and of several hundred one five times a second
STARTED_WITHIN = 30.0
KEYED, PASSWORD = "keyed", "h:u\\s/h @?%"
"""A role that needs its password, unlike all others."""
KEEPER = 'folder=$1; shift; "$@" & cat > /dev/null; kill -QUIT $!; wait $!; rm -rf "$folder"'
"""Of a shell: the server stops at once, and its folder goes, when nobody holds its input: however tests ended."""


@dataclass(frozen=True)
class Server:
    """A running server, whose files are all in a temporary folder, with a unix socket that only this user can reach."""

    folder: Path
    _numbers: Iterator[int] = field(default_factory=count)

    def url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def new(self, *, empty: bool = False) -> str:
        """The URL of a new database, with the tables of a study or without."""
        name = f"study_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name}" + ("" if empty else f" TEMPLATE {PREPARED}"))
        return self.url(name)

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """The result of a statement by the superuser, outside of a transaction."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            cursor = connection.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue]
            return cursor.fetchall() if cursor.description else []

    def prepare(self) -> None:
        self.run(f"CREATE DATABASE {PREPARED}")
        self.run(f"CREATE ROLE {KEYED} LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        database = Database(self.url(PREPARED))
        database.migrate()
        database.close()


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`, which is not in the PATH on Debian."""
    beside = [Path(found).resolve().parent for found in [shutil.which("postgres")] if found]
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    return next(
        (each for each in [*beside, *debian] if (each / "postgres").is_file() and (each / "initdb").is_file()), None
    )


@contextmanager
def server(programs: Path) -> Iterator[Server]:
    """Starts a server, and stops it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # a socket's path has to be short
    who = _unprivileged(folder)
    quiet: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, **who}
    try:
        data, log = folder / "data", folder / "log"
        made = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"]
        subprocess.run(made, check=True, stderr=subprocess.DEVNULL, **quiet)
        access = data / "pg_hba.conf"
        access.write_text(f"local all {KEYED} scram-sha-256\n{access.read_text()}")
        settings = [f"-c{each}" for each in (*FAST, "listen_addresses=", f"unix_socket_directories={folder}")]
        run = ["sh", "-c", KEEPER, "sh", folder, programs / "postgres", "-D", data, *settings]
        with open(log, "wb") as errors, subprocess.Popen(run, stdin=subprocess.PIPE, stderr=errors, **quiet):
            running = Server(folder)
            _wait(running, log)
            running.prepare()
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged(folder: Path) -> dict[str, Any]:
    """PostgreSQL refuses to run as root; it then runs as another user, who gets the folder."""
    if os.geteuid() != 0:
        return {}
    names = {each.pw_name for each in pwd.getpwall()}
    who = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(folder, who.pw_uid, who.pw_gid)
    return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}


def _wait(running: Server, log: Path) -> None:
    end = time.monotonic() + STARTED_WITHIN
    while True:
        try:
            running.run("SELECT 1")
            return
        except psycopg.OperationalError:
            if time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}") from None
            time.sleep(0.05)


def small_config(folder: Path, items: int, database: str | None, **changes: Any) -> StudyConfig:
    """The configuration of a study of two systems with drawn pictures, unless other images are given."""
    if not {"images", "preferences", "live"} & set(changes):
        prompts = [f"prompt {number}" for number in range(items)]
        named = {name: drawn(folder.parent / f"{folder.name}-{name}", prompts, name) for name in ("base", "tuned")}
        changes["images"] = tuple(f"{name}={path}" for name, path in named.items())
    return StudyConfig(**{"out": folder, "database": database, **changes})


def noise(number: int, name: str = "", size: tuple[int, int] = SIZE) -> Image.Image:
    """A picture that differs for every number and name."""
    pixels = np.random.default_rng([number, *name.encode()]).integers(0, 256, (*size[::-1], 3), np.uint8)
    return Image.fromarray(pixels)


def drawn(folder: Path, prompts: Sequence[str], name: str, size: tuple[int, int] = SIZE) -> Path:
    """What `palate generate` writes: one picture for each prompt named; equal prompts are images of one prompt."""
    folder.mkdir(parents=True)
    rows = []
    for number, prompt in enumerate(prompts):
        noise(number, name, size).save(folder / f"{number}.png")
        index = prompts[:number].count(prompt)
        row = {"file_name": f"{number}.png", "prompt": prompt, "seed": index, "model": f"model of {name}"}
        rows.append(row | {"prompt_index": list(dict.fromkeys(prompts)).index(prompt), "image_index": index})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def ranked(folder: Path, name: str, count: int, ranks: Sequence[int] | None, size: tuple[int, int] = SIZE) -> str:
    """A Parquet file of ranked sets, all with the same ranks, whose pictures differ for every name."""
    sets = []
    for number in range(count):
        files = [folder / f"{name}-{number}-{place}.png" for place in range(len(ranks or (1, 2)))]
        for place, file in enumerate(files):
            noise(100 * number + place, name, size).save(file)
        images = tuple(StoredImage(data=file.read_bytes()) for file in files)
        systems = tuple(f"system {place}" for place in range(len(files)))
        sets.append(RankedSet(f"{name} {number}", images, tuple(ranks) if ranks else None, (), systems))
    write_sets(sets, folder / f"{name}.parquet")
    return str(folder / f"{name}.parquet")


def new_uuid() -> str:
    """The UUID of a new vote."""
    return str(uuid.uuid4())


def ballot(assignment: Any, answer: Any = "left", kind: Any = "answer", **changes: Any) -> VoteRequest:
    """A vote of one question: an answer, or a skip or a flag with a reason."""
    said = {"answers": {"general": answer}} if kind == "answer" else {"reason": answer}
    return VoteRequest(**{"uuid": new_uuid(), "assignment": assignment, "kind": kind, **said, **changes})


def answer_next(study: OpenStudy, rater: int, answer: Any = "left") -> Receipt | None:
    """A rater answers the first screen, if there is one."""
    screens = next_screens(study, rater)
    return add_vote(study, rater, ballot(screens[0].assignment, answer)) if screens else None


def rows(study: OpenStudy, query: str, **values: Any) -> list[tuple[Any, ...]]:
    """What a query in SQL gives."""
    with study.database.read() as session:
        return [tuple(row) for row in session.execute(text(query), values)]


def filled(study: OpenStudy) -> list[int]:
    """The number of votes and leases of every item."""
    return [count for (count,) in rows(study, "SELECT filled FROM item ORDER BY id")]


def standing_votes(study: OpenStudy) -> list[VoteRow]:
    """The votes that count."""
    with study.database.read() as session:
        return list(session.scalars(standing_votes_query()))


def assigned(study: OpenStudy) -> dict[int, AssignmentRow]:
    """Which items were shown to which raters, by number."""
    with study.database.read() as session:
        return {each.id: each for each in session.scalars(select(AssignmentRow).order_by(AssignmentRow.id))}


def expire(study: OpenStudy, assignment: int | None = None) -> None:
    """Makes a lease expire, or every lease that no transaction has locked."""
    with study.database.write() as session:
        query = select(AssignmentRow).where(AssignmentRow.state == LEASED)
        query = query if assignment is None else query.where(AssignmentRow.id == assignment)
        for each in session.scalars(query.with_for_update(skip_locked=True)):
            each.until = 0.0


def miscounted(study: OpenStudy) -> list[tuple[Any, ...]]:
    """The items whose `filled` differs from a recount of their votes and leases: id, `filled`, count."""
    return rows(
        study,
        """
        SELECT id, filled, counted FROM (
            SELECT item.id, item.filled, (
                SELECT count(*) FROM assignment JOIN rater ON rater.id = assignment.rater_id
                WHERE assignment.item_id = item.id AND repeat = 0 AND NOT quarantined AND (
                    state = 'leased' OR EXISTS (
                        SELECT 1 FROM vote WHERE assignment_id = assignment.id AND kind = 'answer'
                        AND NOT EXISTS (SELECT 1 FROM vote AS later WHERE later.supersedes = vote.id)
                    )
                )
            ) AS counted FROM item
        ) AS recounted WHERE filled <> counted
        """,
    )
