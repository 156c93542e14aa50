"""Measures a study in another process, so that votes do not wait while it computes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from palate.collect.quality.study_quality import Quality, quality
from palate.collect.study import OpenStudy, open_study

NICE = 10
"""The niceness of the process: above 0, other processes run first."""
PATIENCE = 10.0
"""The time in seconds in which it can end by itself before it is killed."""


class Apart:
    """The function `quality`, computed in another process.

    The process is started when it is first needed, and again if it was stopped. It ends when this process ends, for
    whatever reason: it reads from a pipe, and only this process has the other end.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: tuple[Connection, BaseProcess] | None = None

    def __call__(self, study: OpenStudy) -> Quality:
        """Measures the present state of a study, which must be the same one at every call."""
        with self._lock:
            try:
                found = self._ask(study.folder)
            except (EOFError, OSError):  # it was stopped from outside, or ran out of memory: try again once
                self._stop()
                found = self._ask(study.folder)
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        """Ends the process."""
        with self._lock:
            self._stop()

    def _ask(self, folder: Path) -> Quality | Exception:
        pipe, _ = self._running = self._running or _started(folder)
        pipe.send("measure")
        return pipe.recv()

    def _stop(self) -> None:
        if self._running is not None:
            pipe, process = self._running
            pipe.close()  # then the process ends, after its current measurement
            process.join(PATIENCE)
            process.kill()
        self._running = None


def _started(folder: Path) -> tuple[Connection, BaseProcess]:
    fresh = multiprocessing.get_context("spawn")
    pipe, other = fresh.Pipe()
    process = fresh.Process(target=_work, args=(other, folder), name="palate quality", daemon=True)
    process.start()
    other.close()
    return pipe, process


def _work(pipe: Connection, folder: Path) -> None:
    """Measures the study for each message, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server
    if hasattr(os, "nice"):
        os.nice(NICE)
    study = open_study(folder)
    try:
        while pipe.recv():
            try:
                pipe.send(quality(study))
            except Exception as error:  # raised again in the process that asked
                pipe.send(error)
    except (EOFError, OSError):
        pass
    finally:
        study.close()
