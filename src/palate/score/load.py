"""A scorer by its spec, `family:argument`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from palate.core.errors import InputError, nearest

if TYPE_CHECKING:
    from palate.score.base import Scorer

FAMILIES = {
    "teacher": "teacher:utility",
    "auditor": "auditor:faithful",
    "clip": "clip:tiny-clip",
    "image": "image:colourfulness",
    "implicit": "implicit:runs/dpo",
    "reward": "reward:runs/reward",
}
"""Each family with an example."""
AUDITOR = "auditor:"


@lru_cache(maxsize=32)
def load_scorer(spec: str, device: str | None = None) -> Scorer:
    """The scorer that a spec names; loaded once.

    Args:
        spec: `teacher:<measure>` or `auditor:<measure>` for a judge of the tiny world, with `utility`, `faithful`,
            `appeal`, `count`, `colour`, `shape`, `background` or `unsafe`; `clip:<model>` for CLIP or PickScore, a
            built-in name, a folder or a hub id; `image:<measure>` for a statistic of the picture; `implicit:<run>` for
            the reward that a run of `palate align` learned; `reward:<run>` for that of `palate reward train`.
        device: the CPU when left out.

    Raises:
        InputError: no such family, measure or model.
    """
    family, _, argument = spec.partition(":")
    examples = f"write one such as {', '.join(FAMILIES.values())}"
    if family not in FAMILIES:
        raise InputError(f"the scorer {spec!r} names no known family{nearest(family, FAMILIES)}; {examples}")
    if not argument:
        raise InputError(f"the scorer {spec!r} names no argument; {examples}")
    if family == "clip":
        from palate.score.clip import ClipScorer

        return ClipScorer(argument, device)
    if family == "image":
        from palate.score.image import ImageScorer

        return ImageScorer(argument)
    if family == "implicit":
        from palate.score.implicit import ImplicitScorer

        return ImplicitScorer(argument, device)
    if family == "reward":
        from palate.score.reward import RewardScorer

        return RewardScorer(argument, device)
    from palate.score.world import WorldScorer

    return WorldScorer(family, argument, device)  # pyright: ignore[reportArgumentType]


def refuse_auditor(scorer: str, what: str) -> None:
    """Raises InputError if a scorer is one of the auditor's, which are not asked to `what`, such as to rank."""
    if scorer.startswith(AUDITOR):
        raise InputError(
            f"{scorer!r} cannot {what}: the auditor judges results and gives no training signal; use teacher"
        )
