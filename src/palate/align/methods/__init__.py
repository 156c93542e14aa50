"""The offline methods: which examples of the feedback each learns from, and by which loss.

A method is one module: its configuration, and a class that reads the feedback and calls one objective. A new one is a
file here, a file in `palate.objectives` and a line below. Importing this package or a method's module imports nothing
heavy, so that `palate align dpo --help` answers at once; what a method calls is imported where it is called.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palate.align.config import AlignConfig

METHODS = {
    "sft": "palate.align.methods.sft:SFTConfig",
    "reward_weighted": "palate.align.methods.reward_weighted:RewardWeightedConfig",
    "dpo": "palate.align.methods.dpo:DPOConfig",
    "cpo": "palate.align.methods.cpo:CPOConfig",
    "listwise": "palate.align.methods.listwise:ListwiseConfig",
    "kto": "palate.align.methods.kto:KTOConfig",
    "mapo": "palate.align.methods.mapo:MaPOConfig",
}
"""Where the configuration of each method is defined, `module:class`, by the name of its command."""


def method_config(name: str) -> type[AlignConfig]:
    """The configuration class of a method of `METHODS`."""
    module, _, kind = METHODS[name].partition(":")
    return getattr(import_module(module), kind)
