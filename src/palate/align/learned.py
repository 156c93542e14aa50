"""What an aligned model was trained on, asked of its method."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from palate.align.config import AlignConfig
from palate.align.examples import Examples
from palate.align.methods import METHODS, method_config
from palate.align.methods.method import Method
from palate.core.config import load
from palate.core.errors import InputError
from palate.core.runs import read_config
from palate.prefer.curated import load_curated
from palate.prefer.grades import load_graded
from palate.prefer.load import load_rankings

LOADERS = {"rankings": load_rankings, "grades": load_graded, "images": load_curated}
"""How what a method learns from is read."""


def examples_of(config: AlignConfig, method: Method) -> Examples:
    """What a run trains on.

    Raises:
        InputError: the feedback is not there, or has nothing that the method learns from.
    """
    return method.examples(LOADERS[method.learns_from](config.preferences, config.cache))


def prompts_of_run(run: Path) -> frozenset[str]:
    """The prompts that a run of `palate align` trained on; none where the folder is no such run.

    Args:
        run: the run folder, or its `model/`.

    Raises:
        InputError: its feedback is not there any more, or its method is not known here.
    """
    folder = run if (run / "config.yaml").is_file() else run.parent
    stage, _, name = (read_config(folder) or {}).get("stage", "").partition(" ")
    if stage != "align":
        return frozenset()
    if name not in METHODS:
        raise InputError(f"{folder} was trained by the method {name!r}, which is none of Palate's; give --prompts all")
    config = load(method_config(name), folder / "config.yaml")
    examples = examples_of(config, config.method())
    return frozenset(examples.prompts[number] for number in np.unique(examples.prompt))
