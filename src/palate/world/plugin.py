"""The tiny world's plug-in: its prompts, scorers, models, preferences, captioner and judges."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from palate.core.plugins import Plugin, ScorerFacts, ScorerFamily

if TYPE_CHECKING:
    from palate.evaluate.judge import Judge
    from palate.world.scorers import WorldScorer
    from palate.world.teacher_captioner import TeacherCaptioner

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"
REPORTED = ("faithful", "appeal", "count", "colour", "shape", "background", "unsafe")
"""The measures in a report, besides the utility, which decides which image wins."""


def _seen() -> list[str]:
    from palate.world.grammar import seen_prompts

    return seen_prompts()


def _unseen() -> list[str]:
    from palate.world.grammar import unseen_prompts

    return unseen_prompts()


def _scorer(judge: Literal["teacher", "auditor"], measure: str, device: str) -> WorldScorer:
    from palate.world.scorers import WorldScorer

    return WorldScorer(judge, measure, device)


def _facts(use: str) -> ScorerFacts:
    return ScorerFacts(
        title=f"a judge of the tiny world's pictures, which {use}",
        values="0 to 1, the utility 0 to 6",
        licence="Apache-2.0 (our own)",
        size="less than 1 million parameters",
        source="docs/architecture.md",
    )


def _captioner(device: str) -> TeacherCaptioner:
    from palate.world.teacher_captioner import TeacherCaptioner

    return TeacherCaptioner(device)


def _judge(name: str) -> Judge:
    from palate.evaluate.judge import Judge
    from palate.world.grammar import ATTRIBUTE_WORDS, attribute_words

    return Judge(
        name=name,
        preference=f"{name}:utility",
        measures={measure: f"{name}:{measure}" for measure in REPORTED},
        groups=ATTRIBUTE_WORDS,
        group=attribute_words,
    )


PLUGIN = Plugin(
    prompts={"seen": _seen, "unseen": _unseen},
    scorers={
        "teacher": ScorerFamily(partial(_scorer, "teacher"), "teacher:utility", facts=_facts("may rank images")),
        "auditor": ScorerFamily(
            partial(_scorer, "auditor"), "auditor:faithful", facts=_facts("judges results only"), trains=False
        ),
    },
    models={name: WEIGHTS / name for name in ("tiny-sd", "tiny-clip")},
    preferences={"tiny-preferences": WEIGHTS / "tiny-preferences.parquet"},
    captioners={"teacher": _captioner},
    judges={name: partial(_judge, name) for name in ("auditor", "teacher")},
)
