"""A scorer of the user's own: `python:my_module:make_scorer`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from palate.core.errors import InputError
from palate.core.user_code import explain_user_errors, make_user_object, source_digest
from palate.score.base import Images

if TYPE_CHECKING:
    from torch import Tensor


class UserScorer:
    """What a factory of the user's makes, as a `Scorer` whose name is its spec.

    The object is called with images and prompts as a `Scorer` is, and returns B numbers: a tensor, an array or a list.
    It must say whether `higher_is_better`; `reads_prompt` is true and `differentiable` false where it does not say.
    Under a `fingerprint()` of its own, scores count as the same; otherwise under the same text of the factory's module.

    Args:
        spec: `python:<module>:<factory>`.
        device: what the factory is called with, if it takes an argument.

    Raises:
        InputError: as of `make_user_object`; or the object lacks something, which the message names.
    """

    def __init__(self, spec: str, device: str) -> None:
        self._scorer: Any = make_user_object(spec, device)
        kind = type(self._scorer).__name__
        lacks = [] if callable(self._scorer) else ["__call__(images, prompts)"]
        if not isinstance(getattr(self._scorer, "higher_is_better", None), bool):
            lacks.append("higher_is_better (True or False)")
        if lacks:
            lacking = " and ".join(lacks)
            raise InputError(f"{spec} made {kind}, which is no scorer: it lacks {lacking}; see docs/plugins.md")
        self.name = spec
        self.higher_is_better: bool = self._scorer.higher_is_better
        self.differentiable = bool(getattr(self._scorer, "differentiable", False))
        self.reads_prompt = bool(getattr(self._scorer, "reads_prompt", True))

    def fingerprint(self) -> str:
        """The object's own, else of the text of the factory's module; see `Scorer`."""
        if hasattr(self._scorer, "fingerprint"):
            with explain_user_errors(self.name):
                return str(self._scorer.fingerprint())
        return source_digest(self.name)

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`."""
        with explain_user_errors(self.name):
            return torch.as_tensor(self._scorer(images, list(prompts))).float().cpu()
