"""`palate align NAME`: one command a method, and `convert-beta`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from palate.align.beta import ConvertBetaConfig, convert_beta
from palate.align.config import AlignConfig
from palate.align.methods.config import (
    CPOConfig,
    DPOConfig,
    KTOConfig,
    ListwiseConfig,
    MaPOConfig,
    RewardWeightedConfig,
    SFTConfig,
)
from palate.cli.dispatch import Command, dispatch
from palate.core.config import parse

DESCRIPTION = "Trains a model on feedback, offline; docs/objectives.md sets the methods side by side:"

METHODS: dict[str, tuple[type[AlignConfig], str, str]] = {
    "sft": (
        SFTConfig,
        "fine-tune on preferred or curated images",
        "Supervised fine-tuning on the best images of every ranked set, or on a folder of curated images.",
    ),
    "reward_weighted": (
        RewardWeightedConfig,
        "denoise each image as far as its reward says",
        "Reward-weighted likelihood (Lee et al. 2023, arXiv:2302.12192) on graded images.",
    ),
    "dpo": (
        DPOConfig,
        "prefer winners over losers, staying close to the base model",
        "Diffusion-DPO (Wallace et al. 2023, arXiv:2311.12908) with a LoRA or all weights.",
    ),
    "cpo": (
        CPOConfig,
        "prefer winners over losers, without a reference",
        "Contrastive preference optimisation (Xu et al. 2024, arXiv:2401.08417), carried to diffusion.",
    ),
    "listwise": (
        ListwiseConfig,
        "learn whole rankings of n images at once",
        "Plackett-Luce over the images of each ranked set; two images make it DPO.",
    ),
    "kto": (
        KTOConfig,
        "learn from thumbs up and down, without pairs",
        "Diffusion-KTO (Li et al. 2024, arXiv:2404.04465) on graded images of grade 0 and 1.",
    ),
    "mapo": (
        MaPOConfig,
        "widen the margin of winners over losers, without a reference",
        "MaPO (Hong et al. 2024, arXiv:2406.06424) with a LoRA or all weights.",
    ),
}


def _align(name: str, argv: Sequence[str]) -> int:
    kind, _, description = METHODS[name]
    config = parse(kind, argv, prog=f"palate align {name}", description=description)
    from palate.align.stage import align

    print(align(config, config.method()) / "model")
    return 0


def _convert_beta(argv: Sequence[str]) -> int:
    config = parse(ConvertBetaConfig, argv, prog="palate align convert-beta", description=CONVERT)
    print(f"{convert_beta(config):g}")
    return 0


CONVERT = "Turns another code's beta into Palate's: errors are means, log-ratios have the half."
COMMANDS = {name: Command(help, partial(_align, name)) for name, (_, help, _) in METHODS.items()}
COMMANDS["convert-beta"] = Command("turn another code's beta into Palate's", _convert_beta)


def run(argv: Sequence[str]) -> int:
    """Runs `palate align` on its arguments."""
    return dispatch("palate align", DESCRIPTION, COMMANDS, argv)
