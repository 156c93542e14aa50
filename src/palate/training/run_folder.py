"""The run folder of a training on one process or several: one writes, the others read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
