"""The examples of a training run, and the prompts of a finished one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from palate.align.config import AlignConfig
from palate.align.examples import Examples
from palate.align.methods import METHODS, method_config
from palate.align.methods.method import Method
from palate.align.validation.config import held_out_share
from palate.align.validation.split import split_by_prompt
from palate.core.config import load
from palate.core.errors import InputError
from palate.core.runs import read_config
from palate.prefer.curated import load_curated
from palate.prefer.grades import load_graded
from palate.prefer.load import load_rankings

LOADERS = {"rankings": load_rankings, "grades": load_graded, "images": load_curated}
"""The function that reads each kind of feedback, by `Method.learns_from`."""


def examples_of(config: AlignConfig, method: Method) -> Examples:
    """The examples that a run trains on; raises what `learning_sets` raises."""
    return learning_sets(config, method)[0]


def learning_sets(config: AlignConfig, method: Method) -> tuple[Examples, Examples | None]:
    """The examples that a run trains on, and the held-out ones that it is validated on, if there are any.

    Raises:
        InputError: the feedback does not exist, or contains nothing that the method can learn from.
    """
    load = LOADERS[method.learns_from]
    feedback = load(config.preferences, config.cache)
    if config.held_out is None:
        return method.examples(feedback), None
    share = held_out_share(config.held_out)
    if share is None:
        training, held_out = feedback, load(config.held_out, config.cache)
    else:
        training, held_out = split_by_prompt(feedback, share)
    try:
        validating = method.held_out(held_out)
    except InputError as error:
        fix = "hold out a larger share, or other preferences"
        raise InputError(f"of held-out {config.held_out}: {error}; {fix}") from error
    return method.examples(training), validating


def prompts_of_run(run: Path) -> frozenset[str]:
    """The prompts that a run of `palate align` trained on; none where the folder is not such a run.

    Args:
        run: the run folder, or its `model/`.

    Raises:
        InputError: its feedback does not exist any more, or its method is unknown here.
    """
    folder = run if (run / "config.yaml").is_file() else run.parent
    stage, _, name = (read_config(folder) or {}).get("stage", "").partition(" ")
    if stage != "align":
        return frozenset()
    if name not in METHODS:
        raise InputError(
            f"{folder} was trained by the method {name!r}, which is not one of Palate's; give --prompts all"
        )
    config = load(method_config(name), folder / "config.yaml")
    examples = examples_of(config, config.method())
    return frozenset(examples.prompts[number] for number in np.unique(examples.prompt))
