"""The server's log: it has the errors and no token, and stays small."""

from __future__ import annotations

import logging
import re
import stat

import pytest
from collect.web import served, site

from palate.collect.secrets import new_token
from palate.collect.web import logs
from palate.collect.web.logs import FILE, KEPT, LARGEST, OFTEN, logging_to

LOG = logging.getLogger("palate.collect.test")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    return now


def fail(secret: str) -> None:
    try:
        raise ValueError(f"no luck with /r/{secret}\nand more\x1b[2J")
    except ValueError:
        LOG.exception("drawing %r failed", "a\nb")


def test_an_error_is_in_the_file_with_its_traceback_and_on_the_screen_as_one_line(tmp_path, capsys):
    token = new_token()
    with logging_to(tmp_path):
        LOG.info("begun")
        fail(token)
    file, screen = (tmp_path / FILE).read_text(), capsys.readouterr().err
    assert "Traceback" in file and "in fail" in file and "and more" in file and "begun" in file
    assert re.fullmatch(r"error: drawing 'a\\nb' failed: ValueError: no luck with /r/\(token\); .* has more\n", screen)
    for text in (file, screen):
        assert token not in text and "(token)" in text and "\x1b" not in text


def test_only_its_owner_can_read_the_log_file(tmp_path):
    with logging_to(tmp_path):
        LOG.warning("x")
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_many_messages_of_one_kind_are_counted_and_not_written(tmp_path, clock, capsys):
    with logging_to(tmp_path):
        for number in range(5000):
            LOG.warning("refused %s", number)
        LOG.warning("another")
        clock[0] += logs.MINUTE
        LOG.warning("refused %s", "again")
    for text in ((tmp_path / FILE).read_text(), capsys.readouterr().err):
        assert text.count("refused") == OFTEN + 1 and text.count("another") == 1
        assert f"refused again ({5000 - OFTEN} more before)" in text


def test_many_errors_of_asyncio_and_uvicorn_are_counted_too(tmp_path, clock, capsys):
    with logging_to(tmp_path):
        for number in range(5000):
            for name in ("asyncio", "uvicorn.error"):
                error = OSError(24, f"Too many open files {number}")
                text = f"socket.accept() out of system resource\nsocket: <socket fd={number}>"
                logging.getLogger(name).error(text, exc_info=(OSError, error, None))
    assert (tmp_path / FILE).stat().st_size < 5000 and len(capsys.readouterr().err) < 5000


def test_a_full_log_file_is_renamed_and_no_file_is_too_large(tmp_path, monkeypatch):
    with logging_to(tmp_path):
        for number in range(60):
            LOG.warning(f"kind {number} " + "x" * LARGEST_PART)  # so that each is of its own kind
    files = sorted(tmp_path.glob(f"{FILE}*"))
    assert len(files) == KEPT + 1 and all(each.stat().st_size <= LARGEST for each in files)
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}


LARGEST_PART = LARGEST // 10


def test_a_log_file_that_cannot_be_written_stops_nothing(tmp_path, capsys):
    (tmp_path / FILE).mkdir()
    with logging_to(tmp_path):
        LOG.error("still said")
    assert capsys.readouterr().err == "error: still said\n"


def test_loggers_have_their_old_settings_once_the_server_has_ended(tmp_path):
    names = ("palate", "uvicorn.error", "asyncio")
    before = [(each.handlers[:], each.level, each.propagate) for each in map(logging.getLogger, names)]
    with logging_to(tmp_path):
        pass
    assert before == [(each.handlers, each.level, each.propagate) for each in map(logging.getLogger, names)]


def test_a_server_logs_its_start_and_its_end_and_no_link(tmp_path):
    folder = tmp_path / "study"
    with site(folder, items=2) as made, served(folder) as (port, log, _):
        made.study.add_rater("a")
        owner = log.read_text().rsplit("/", 1)[1].strip()
    written = (folder / FILE).read_text()
    assert f"serving at http://127.0.0.1:{port}" in written and "stopped" in written
    assert owner not in written
