"""Commands in processes that begin with what they import, in a tenth of the time: for tests that start many."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

IMPORTED = (
    "palate.align.stage",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "datasets",
    "peft",
)
"""What each process finds imported."""


def palate(words: Sequence[str], errors: Path, environment: Mapping[str, str] | None = None) -> BaseProcess:
    """A command of palate that was started in a process of its own; its exit code is the command's.

    Args:
        words: those of the command after `palate`.
        errors: a file for what it prints.
        environment: variables of its environment besides those of this process.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*IMPORTED])
    process = context.Process(target=_run, args=([*words], str(errors), dict(environment or {})))
    process.start()
    return process


def two_of(words: Sequence[str], folder: Path) -> None:
    """Runs a command of palate in two processes with the environment of `torchrun --nproc-per-node=2`, to its end.

    Args:
        words: those of the command after `palate`.
        folder: for a file of what each process prints.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    printed = [folder / f"process {rank}.txt" for rank in range(2)]
    ranks = [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    processes = [palate(words, file, each) for file, each in zip(printed, ranks)]
    for process, file in zip(processes, printed):
        process.join(300)
        assert process.exitcode == 0, file.read_text()


def _run(words: list[str], errors: str, environment: dict[str, str]) -> None:
    from palate.cli.main import main

    os.environ |= environment
    with open(errors, "w") as file:
        sys.stdout = sys.stderr = file
        code = main(words)
    sys.exit(code)
