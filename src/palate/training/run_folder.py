"""The run folder of a training with one or several processes: one process writes, the others read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from palate.core.errors import PalateError
from palate.core.runs import RunFolder

if TYPE_CHECKING:
    from collections.abc import Collection

    from accelerate import Accelerator

    from palate.training.config import TrainingConfig


def open_run(
    accelerator: Accelerator,
    stage: str,
    config: TrainingConfig,
    free: Collection[str],
    inputs: Mapping[str, str],
) -> RunFolder:
    """Opens the run folder on the first process, then on the others; see `RunFolder.open`."""
    writes: Any = accelerator.is_main_process
    with accelerator.main_process_first():
        return RunFolder.open(config.out, stage, config, free=free, inputs=inputs, writes=writes)


@contextmanager
def abandoned_on_error(run: RunFolder) -> Iterator[None]:
    """Releases a run folder for another command if an error is raised before anything was trained in it.

    Args:
        run: the folder that `open_run` returned.
    """
    try:
        yield
    except PalateError:
        if run.writes and {each.name for each in run.path.iterdir()} <= {"config.yaml", "timings.json"}:
            run.abandon()
        raise
