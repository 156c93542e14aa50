"""`palate score`: a run folder with the scores of every image of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any

from palate.core.errors import InputError
from palate.core.progress import bar
from palate.core.runs import RunFolder
from palate.records.image_folder import ImageRecord, read_image_folder
from palate.records.jsonlines import JsonLines
from palate.records.tally import Tally

if TYPE_CHECKING:
    from palate.score.base import Scorer

SCORES = "scores.jsonl"
FREE = frozenset({"out", "batch", "device"})
"""Fields that may change between the parts of one run: no score depends on them, up to float rounding."""


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """What to score, and by what."""

    images: Path
    """Run folder of `palate generate`, or any ImageFolder whose metadata.jsonl has a prompt in each row; any folder of
    images for scorers that read no prompt, such as image:<measure>."""
    scorer: tuple[str, ...]
    """One scorer or more: teacher:<measure>, auditor:<measure>, clip:<model>, image:<measure>, implicit:<run>
    or reward:<run>."""
    out: Path
    """Run folder; one that was interrupted goes on where it stopped."""
    skip_bad: bool = False
    """Leave out images that are missing or broken and count them, instead of stopping."""
    batch: int = 64
    """Images scored at once; changes memory and speed, not the scores."""
    device: str | None = None
    """Such as cpu or cuda; the CPU when left out."""

    def __post_init__(self) -> None:
        if not self.scorer:
            raise ValueError("scorer must name at least one, such as teacher:utility")
        if self.batch <= 0:
            raise ValueError(f"batch must be above zero, not {self.batch}")


@dataclass(frozen=True)
class Summary:
    """One scorer's numbers over a folder of images; `spread` is their standard deviation."""

    higher_is_better: bool
    mean: float
    spread: float
    lowest: float
    highest: float
    images: int


def score(config: ScoreConfig) -> Path:
    """Scores each image that the run folder has no scores of yet.

    `scores.jsonl` has a line an image: `file_name`, `prompt`, `prompt_index`, `image_index` and a number under each
    scorer's name.

    Returns:
        The run folder.

    Raises:
        InputError: no such images or scorer, or a broken image; before anything is written.
        RunFolderError: the folder holds another run.
    """
    from palate.score.base import note_prompts_cut_off
    from palate.score.load import load_scorer

    tally = Tally(config.skip_bad)
    scorers = [load_scorer(spec, config.device) for spec in config.scorer]
    unprompted = not any(scorer.reads_prompt for scorer in scorers)
    records = read_image_folder(config.images, tally, unprompted=unprompted)
    run = RunFolder.open(config.out, "score", config, free=FREE)
    cut = note_prompts_cut_off(scorers, (record.prompt for record in records))
    table = JsonLines(run.path / SCORES)
    scored = {row["file_name"] for row in table.read()}
    with run.timer("score"), bar("scoring", len(records), done=len(scored)) as progress:
        left = [record for record in records if record.file_name not in scored]
        for start in range(0, len(left), config.batch):
            batch = left[start : start + config.batch]
            table.append(_rows(scorers, batch))
            progress.advance(len(batch))
    summaries = {scorer.name: asdict(_summary(scorer, read_scores(run.path))) for scorer in scorers}
    run.finish({"images": len(records), **tally.summary(), **cut, "scores": summaries})
    return run.path


def read_scores(run: Path) -> list[dict[str, Any]]:
    """The rows of a run of `palate score`.

    Raises:
        InputError: there are none.
    """
    rows = JsonLines(Path(run) / SCORES).read()
    if not rows:
        raise InputError(f"{run} has no scores: it lacks {SCORES} with rows; give a run of `palate score`")
    return rows


def read_summaries(run: Path) -> dict[str, Summary]:
    """The summary of each scorer of a finished run of `palate score`.

    Raises:
        InputError: the run is not finished, or is no such run.
    """
    finished = RunFolder(Path(run)).finished
    if not finished or "scores" not in finished:
        raise InputError(f"{run} is no finished run of `palate score`; run that command, again if it was interrupted")
    return {name: Summary(**values) for name, values in finished["scores"].items()}


def _summary(scorer: Scorer, rows: Sequence[dict[str, Any]]) -> Summary:
    values = [row[scorer.name] for row in rows]
    return Summary(scorer.higher_is_better, fmean(values), pstdev(values), min(values), max(values), len(values))


def _rows(scorers: Sequence[Scorer], batch: Sequence[ImageRecord]) -> list[dict[str, Any]]:
    import torch

    images, prompts = [record.image.open() for record in batch], [record.prompt for record in batch]
    with torch.no_grad():
        columns = {scorer.name: scorer(images, prompts).tolist() for scorer in scorers}
    keys = ("file_name", "prompt", "prompt_index", "image_index")
    return [
        {key: getattr(record, key) for key in keys} | {name: values[i] for name, values in columns.items()}
        for i, record in enumerate(batch)
    ]
