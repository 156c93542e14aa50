"""The offline methods: the examples that each makes of the feedback, and its loss.

A method is one module: its configuration, and a class that reads the feedback and calls one objective. A new method is
a file here, a file in `palate.objectives` and a line below. Importing this package or a method's module imports nothing
heavy, so that `palate align dpo --help` answers at once; what a method calls is imported where it is called.
"""

from __future__ import annotations

from dataclasses import is_dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from palate.core.errors import InputError
from palate.core.user_code import is_user_code, load_user_code

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
    "dmpo": "palate.align.methods.dmpo:DMPOConfig",
    "alpha_dpo": "palate.align.methods.alpha_dpo:AlphaDPOConfig",
    "linear_dpo": "palate.align.methods.linear_dpo:LinearDPOConfig",
}
"""The configuration of each method, as `module:class`, by the name of its command."""


def method_config(name: str) -> type[AlignConfig]:
    """The configuration class of a method of `METHODS`, or of the user's own, `python:<module>:<class>`.

    Raises:
        InputError: the user's code does not exist or is not such a class; the message says what it lacks.
    """
    if is_user_code(name):
        return _user_config(name)
    module, _, kind = METHODS[name].partition(":")
    return getattr(import_module(module), kind)


def _user_config(spec: str) -> type[AlignConfig]:
    from palate.align.config import AlignConfig

    kind = load_user_code(spec)
    if not (isinstance(kind, type) and issubclass(kind, AlignConfig) and is_dataclass(kind)):
        what = kind.__name__ if isinstance(kind, type) else type(kind).__name__
        raise InputError(
            f"{spec} is {what}, and must be a dataclass derived from palate.align.config.AlignConfig; "
            "see docs/plugins.md"
        )
    if kind.method is AlignConfig.method:
        raise InputError(f"{spec} lacks method(), which returns the method; see docs/plugins.md")
    return kind
