"""The schema of a study's quality over HTTP, which is that of `Quality.to_dict()`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Out(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)  # an unknown number is null


class EstimateOut(_Out):
    """A number and its 95% interval; null where it is not known."""

    value: float | None
    low: float | None
    high: float | None
    n: int


class ProgressOut(_Out):
    """The progress of the study."""

    items: int
    wanted: int
    votes: int
    missing: int
    complete: int
    out_of_reach: int
    raters_short: int
    leases: int
    skips: dict[str, int]
    flags: dict[str, int]


class AgreementOut(_Out):
    """The agreement of raters on one question."""

    question: str
    distance: Literal["nominal", "ordinal"]
    alpha: EstimateOut
    majority: EstimateOut
    prompts: int
    judged: int


class StandingOut(_Out):
    """The systems by one question, the best first."""

    question: str
    systems: list[str]
    strengths: list[EstimateOut]
    prompts: int
    state: Literal["empty", "apart", "swept", "settled"]
    win_rates: list[list[float | None]]
    comparisons: list[list[int]]
    stars: list[EstimateOut]


class RaterOut(_Out):
    """One rater, with the reasons to look at them."""

    name: str
    quarantined: bool
    votes: int
    seconds: float | None
    hasty: EstimateOut
    first: EstimateOut
    gold: EstimateOut
    mirror: EstimateOut
    agreement: EstimateOut
    skips: int
    flags: int
    words: list[str]


class FlaggedOut(_Out):
    """An item that raters flagged."""

    item: int
    prompt: str
    gold: bool
    images: list[int]
    systems: list[str]
    reasons: dict[str, int]
    remarks: list[str]


class QualityOut(_Out):
    """All measures of a study; see `collect.quality`."""

    task: Literal["pairwise", "best", "ranking", "rating"]
    progress: ProgressOut
    agreement: list[AgreementOut]
    standings: list[StandingOut]
    raters: list[RaterOut]
    flagged: list[FlaggedOut]
