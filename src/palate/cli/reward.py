"""`palate reward train`, `test` and `order`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from palate.cli.dispatch import Command, dispatch
from palate.core.config import parse
from palate.reward.config import (
    BradleyTerryConfig,
    DiscriminatorConfig,
    RegressionConfig,
    RewardConfig,
    RewardTestConfig,
)

DESCRIPTION = "Learns rewards from feedback, and says how far they can be trusted."
TRAIN = "Learns a reward; it is then a scorer, reward:<run>, wherever a scorer is asked for."
TEST = "Holds scorers against people's comparisons on prompts that they were not trained on."
ORDER = "Orders generators and real images by a scorer, with intervals and a report."

KINDS: dict[str, tuple[type[RewardConfig], str, str]] = {
    "bradley_terry": (
        BradleyTerryConfig,
        "under which people's choices are likely",
        "Bradley-Terry (or Plackett-Luce) on a CLIP-like backbone or on image statistics (Kirstain et al. 2023).",
    ),
    "regression": (
        RegressionConfig,
        "that predicts grades, telling prompts apart",
        "The reward function of Lee et al. 2023 (arXiv:2302.12192): squared error, and the choice of the right prompt.",
    ),
    "discriminator": (
        DiscriminatorConfig,
        "of how real an image looks, given its caption",
        "A discriminator of real images and images generated for the same captions.",
    ),
}


def run(argv: Sequence[str]) -> int:
    """Runs one of them."""
    return dispatch("palate reward", DESCRIPTION, COMMANDS, argv)


def _train(name: str, argv: Sequence[str]) -> int:
    kind, _, description = KINDS[name]
    config = parse(kind, argv, prog=f"palate reward train {name}", description=description)
    from palate.core.runs import RunFolder
    from palate.reward.stage import train_reward

    folder = train_reward(config)
    summary = RunFolder(folder).finished or {}
    for part in ("held out", "folds"):
        if part in summary:
            print(f"{part}: {_told(summary[part])}")
    print(f"next: palate score --scorer reward:{folder} --images IMAGES --out {folder}-scores")
    return 0


def _test(argv: Sequence[str]) -> int:
    config = parse(RewardTestConfig, argv, prog="palate reward test", description=TEST)
    from palate.core.runs import RunFolder
    from palate.reward.testing import CHART, test_rewards

    folder = test_rewards(config)
    summary = RunFolder(folder).finished or {}
    if left_out := summary["sets of prompts trained on"]:
        print(f"{left_out} sets are left out: a scorer was trained on their prompts")
    for spec, found in summary["scorers"].items():
        print(f"{spec}: {_told(found)}")
    if (folder / CHART).is_file():
        print(f"the calibration curves are in {folder / CHART}")
    return 0


def _order(argv: Sequence[str]) -> int:
    from palate.evaluate.order import OrderConfig, order_lines, order_sources

    config = parse(OrderConfig, argv, prog="palate reward order", description=ORDER)
    print("\n".join(order_lines(order_sources(config))))
    return 0


def _told(found: dict[str, Any]) -> str:
    """What was measured, in one line."""
    parts = []
    for name, value in found.items():
        if isinstance(value, dict) and "value" in value:
            low, high = value["low"], value["high"]
            ends = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
            parts.append(f"{name} {value['value']:.3f}{ends}")
        elif name == "calibration":
            parts.append(f"calibration error {value['error']:.3f}")
        elif name == "tie threshold":
            parts.append(f"{name} {value:.3g} (chosen on {found['tie threshold chosen on']})")
        elif isinstance(value, (int, float)):
            parts.append(f"{name} {value:.3g}" if isinstance(value, float) else f"{value} {name}")
    return ", ".join(parts)


TRAINERS = {name: Command(f"a reward {help}", partial(_train, name)) for name, (_, help, _) in KINDS.items()}
COMMANDS = {
    "train": Command(TRAIN, partial(dispatch, "palate reward train", TRAIN, TRAINERS), TRAINERS),
    "test": Command(TEST, _test),
    "order": Command(ORDER, _order),
}
