"""Commands in processes that begin with what they import, in a tenth of the time: for tests that start many."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

IMPORTED = (
    "palate.align.stage",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "datasets",
    "peft",
)
"""What each process finds imported."""


def palate(words: Sequence[str], errors: Path) -> BaseProcess:
    """A command of palate that was started in a process of its own; its exit code is the command's.

    Args:
        words: those of the command after `palate`.
        errors: a file for what it prints to stderr.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*IMPORTED])
    process = context.Process(target=_run, args=([*words], str(errors)))
    process.start()
    return process


def _run(words: list[str], errors: str) -> None:
    from palate.cli.main import main

    with open(errors, "w") as file:
        sys.stdout = sys.stderr = file
        code = main(words)
    sys.exit(code)
