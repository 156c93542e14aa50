"""Studies of small drawn pictures, on SQLite and on PostgreSQL: every test with the fixture `study` runs on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from collect.database import MakeStudy, Server, binaries, server, small_config

from palate.collect.new import new_study
from palate.collect.study import OpenStudy, open_study


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server, for all tests of one process."""
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL here; Debian's package `postgresql` has it")
    with server(programs) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest) -> Callable[[], str | None]:
    """A new database at each call: None for SQLite in the study's folder, or a URL."""
    if request.param == "sqlite":
        return lambda: None
    return request.getfixturevalue("postgresql").new


@pytest.fixture
def study(tmp_path: Path, new_database: Callable[[], str | None]) -> Iterator[MakeStudy]:
    """Makes a study: `study(items=6, raters=3, **changes)`, where `changes` are settings of `StudyConfig`.

    Two folders, `base` and `tuned`, with one picture each of `items` prompts, unless the changes name other images.
    The raters are `rater 0` and so on, with ids from 1.
    """
    made: list[OpenStudy] = []
    numbers = count()

    def make(items: int = 6, raters: int = 3, **changes: object) -> OpenStudy:
        folder = tmp_path / f"study-{next(numbers)}"
        new_study(small_config(folder, items, new_database(), **changes))
        made.append(open_study(folder))
        for number in range(raters):
            made[-1].add_rater(f"rater {number}")
        return made[-1]

    yield make
    for each in made:
        each.close()
