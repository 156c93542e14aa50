"""The user's own scorer: `python:my_module:make_scorer`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from palate.core.errors import InputError
from palate.core.plugins import ScorerFacts
from palate.core.user_code import PREFIX, explain_user_errors, make_user_object, source_digest
from palate.score.base import Images

if TYPE_CHECKING:
    from torch import Tensor


class UserScorer:
    """An object made by the user's factory, as a `Scorer` whose name is its spec.

    The object is called with images and prompts like a `Scorer`, and returns B numbers: a tensor, an array or a list.
    It must have `higher_is_better`; the defaults are true for `reads_prompt` and false for `differentiable` and
    `within_prompt`. Its scores are taken to be unchanged as long as its `fingerprint()` is the same, or without one the
    source of its module; then they are not kept for other runs, as the module may read files that change.

    Args:
        factory: `<module>:<factory>`.
        device: the argument of the factory, if it takes one.

    Raises:
        InputError: see `make_user_object`; or the object lacks something, which the message names.
    """

    facts = ScorerFacts(
        title="your own function or class",
        values="yours",
        licence="yours",
        size="yours",
        source="docs/plugins.md",
    )

    def __init__(self, factory: str, device: str) -> None:
        spec = f"{PREFIX}{factory}"
        self._scorer: Any = make_user_object(spec, device)
        kind = type(self._scorer).__name__
        lacks = [] if callable(self._scorer) else ["__call__(images, prompts)"]
        if not isinstance(getattr(self._scorer, "higher_is_better", None), bool):
            lacks.append("higher_is_better (True or False)")
        if lacks:
            lacking = " and ".join(lacks)
            raise InputError(f"{spec} made {kind}, which is not a scorer: it lacks {lacking}; see docs/plugins.md")
        self.name = spec
        self.higher_is_better: bool = self._scorer.higher_is_better
        self.differentiable = bool(getattr(self._scorer, "differentiable", False))
        self.reads_prompt = bool(getattr(self._scorer, "reads_prompt", True))
        self.within_prompt = bool(getattr(self._scorer, "within_prompt", False))
        self.repeatable = hasattr(self._scorer, "fingerprint")

    def fingerprint(self) -> str:
        """The object's own digest, or one of the source of the factory's module; see `Scorer`."""
        if hasattr(self._scorer, "fingerprint"):
            with explain_user_errors(self.name):
                return str(self._scorer.fingerprint())
        return source_digest(self.name)

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`."""
        with explain_user_errors(self.name):
            return torch.as_tensor(self._scorer(images, list(prompts))).float().cpu()
