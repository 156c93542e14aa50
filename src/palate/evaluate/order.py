"""`palate reward order`: sources of images, such as generators and cameras, put in order by one scorer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from palate.core.config import to_mapping
from palate.core.errors import InputError
from palate.core.progress import bar
from palate.core.runs import RunFolder
from palate.records import checked
from palate.records.image_folder import ImageRecord, read_image_folder
from palate.records.jsonlines import JsonLines
from palate.records.systems import image_source
from palate.records.tally import Tally

if TYPE_CHECKING:
    from palate.evaluate.ranking import Scores, Source
    from palate.score.base import Scorer

SCORES, REPORT = "scores.jsonl", "report.html"
NEEDED = {"source": checked.text, "file_name": checked.text, "prompt": checked.text, "score": checked.finite_number}
"""What each line of the scores must have for a run to go on."""
FREE = frozenset({"out", "batch", "device"})
"""Fields that may change between the parts of one run: no score depends on them, up to float rounding."""


@dataclass(frozen=True, kw_only=True)
class OrderConfig:
    """Which sources of images are put in order, and by what."""

    scorer: str
    """Scorer that orders them: a discriminator such as reward:<run>, or any other scorer, such as clip:<model>."""
    images: tuple[str, ...]
    """Two or more sources, each name=folder: a run of `palate generate`, or any ImageFolder whose metadata.jsonl has a
    prompt in each row. Only prompts that all sources have are compared."""
    out: Path
    """Run folder; one that was interrupted goes on where it stopped."""
    prompts: Literal["unseen", "all"] = "unseen"
    """Leave out all prompts that the scorer was trained on, as far as its run records them, or keep all."""
    skip_bad: bool = False
    """Leave out images that are missing or broken and count them, instead of stopping."""
    batch: int = 64
    """Images scored at once; changes memory and speed, not the scores."""
    device: str | None = None
    """Such as cpu or cuda; the best one there is when left out."""

    def __post_init__(self) -> None:
        wrong, names = [], []
        for each in self.images:
            try:
                names.append(image_source(each).system)
            except InputError:
                names.append("")
            if not names[-1]:
                wrong.append(f"images must each be name=folder, such as turbo=runs/turbo, not {each!r}")
        if len(self.images) < 2:
            wrong.append(f"images must name at least two sources to compare, not {len(self.images)}")
        if twice := [name for name in dict.fromkeys(filter(None, names)) if names.count(name) > 1]:
            wrong.append(f"images must have distinct names, and {twice[0]!r} names several; rename all but one")
        if self.batch <= 0:
            wrong.append(f"batch must be above zero, not {self.batch}")
        if wrong:
            raise ValueError("; ".join(wrong))

    @property
    def folders(self) -> dict[str, Path]:
        """The folder of each source by its name."""
        return {source.system: source.folder for source in map(image_source, self.images)}


def order_sources(config: OrderConfig) -> Path:
    """Scores each source's images of the prompts that all sources have, and orders the sources by their scores.

    The folder contains `scores.jsonl` with a line for each image, `summary.json` and `report.html`.

    Returns:
        The run folder.

    Raises:
        InputError: before anything is written: there is no such scorer or folder, an image is broken, no prompt is in
            all sources, or the scorer cannot read a source; later: a score is not finite.
        RunFolderError: the folder contains another run, or images or the scorer changed since it began.
    """
    from palate.evaluate.ranking import find_order, summarise_order
    from palate.evaluate.report.order_page import write_order
    from palate.prefer.stage import digest_rows
    from palate.score.base import note_prompts_cut_off
    from palate.score.load import fingerprints, load_scorer
    from palate.score.within_prompt import refuse_comparing

    scorer = load_scorer(config.scorer, config.device)
    refuse_comparing([scorer], "the order of sources compares their mean scores")
    sources = read_sources(config)
    for source in sources:
        prompt, records = next(iter(source.images.items()))
        _rows(scorer, source.name, [(prompt, records[0])])  # raises an error now if the scorer cannot read them
    images = digest_rows(
        [source.name, prompt, [record.image.digest() for record in records]]
        for source in sources
        for prompt, records in source.images.items()
    )
    inputs = {"images": images, **fingerprints([scorer])}
    run = RunFolder.open(config.out, "reward order", config, free=FREE, inputs=inputs)
    if run.finished:
        return run.path
    cut = note_prompts_cut_off([scorer], sources[0].images)
    with run.timer("score"):
        scores = _score(run, scorer, sources, config.batch)
    order = find_order(scorer, sources, scores)
    write_order(run.path / REPORT, order, to_mapping(config))
    run.finish({**summarise_order(order), **cut})
    return run.path


def read_sources(config: OrderConfig) -> list[Source]:
    """Each source's images of the prompts that all sources have; differences in white space are ignored.

    Raises:
        InputError: there is no such folder, an image is broken, or no prompt is in all sources.
    """
    from palate.evaluate.ranking import Source
    from palate.reward.testing import prompts_of_scorer

    tallies = {name: Tally(config.skip_bad) for name in config.folders}
    found: dict[str, dict[str, list[ImageRecord]]] = {}
    for name, folder in config.folders.items():
        prompts = found[name] = {}
        for record in read_image_folder(folder, tallies[name]):
            prompts.setdefault(" ".join(record.prompt.split()), []).append(record)
    common = [prompt for prompt in next(iter(found.values())) if all(prompt in each for each in found.values())]
    if config.prompts == "unseen" and common:
        trained = {" ".join(prompt.split()) for prompt in prompts_of_scorer(config.scorer)}
        common = [prompt for prompt in common if prompt not in trained]
        if not common:
            raise InputError(
                f"{config.scorer} was trained on every common prompt; give other sources, or --prompts all"
            )
    if not common:
        has = "; ".join(f"{name} has {len(each)}{_such_as(each)}" for name, each in found.items())
        fix = "`palate generate --prompts <folder>` draws the prompts of another folder"
        raise InputError(f"there is no prompt that all the sources have ({has}); {fix}")
    return [
        Source(
            name=name,
            folder=config.folders[name],
            images={prompt: each[prompt] for prompt in common},
            prompts_left_out=len(each) - len(common),
            images_left_out=sum(map(len, each.values())) - sum(len(each[prompt]) for prompt in common),
            bad_rows=len(tallies[name].bad),
        )
        for name, each in found.items()
    ]


def _such_as(prompts: Mapping[str, Any]) -> str:
    return f", such as {next(iter(prompts))[:60]!r}" if prompts else ""


def _score(run: RunFolder, scorer: Scorer, sources: Sequence[Source], batch: int) -> Scores:
    """The score of every image; images with a score in the run folder are not scored again."""
    table = JsonLines(run.path / SCORES)
    scores = {_key(row): row["score"] for row in table.read(NEEDED)}
    total = sum(len(records) for source in sources for records in source.images.values())
    with bar("scoring", total, done=len(scores)) as progress:
        for source in sources:  # a batch is of one source, whose images often share a size
            images = [(prompt, record) for prompt, records in source.images.items() for record in records]
            left = [each for each in images if (source.name, each[0], each[1].file_name) not in scores]
            for start in range(0, len(left), batch):
                rows = _rows(scorer, source.name, left[start : start + batch])
                table.append(rows)
                scores |= {_key(row): row["score"] for row in rows}
                progress.advance(len(rows))
    return scores


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["source"], row["prompt"], row["file_name"]


def _rows(scorer: Scorer, source: str, batch: Sequence[tuple[str, ImageRecord]]) -> list[dict[str, Any]]:
    from palate.score.base import require_score, score_images

    values = score_images(scorer, [record.image.open() for _, record in batch], [prompt for prompt, _ in batch])
    rows = []
    for (prompt, record), value in zip(batch, values, strict=True):
        require_score(scorer.name, value, record.image)
        rows.append({"source": source, "file_name": record.file_name, "prompt": prompt, "score": value})
    return rows


def order_lines(folder: Path) -> list[str]:
    """The results of a finished run, as lines for a terminal.

    Raises:
        InputError: the run is not finished, or is a run of another stage.
    """
    found = RunFolder(folder).finished
    if not found or "neighbours" not in found:
        raise InputError(f"{folder} is not a finished run of `palate reward order`; run that command")
    sources, width = found["sources"], max(map(len, found["order"]))
    better = "higher" if found["higher_is_better"] else "lower"
    lines = [f"by {found['scorer']} ({better} is better), over the {found['prompts']} prompts that all sources have:"]
    for place, name in enumerate(found["order"], 1):
        lines.append(f"{place}. {name:{width}}  {_told(sources[name]['score'])}, {sources[name]['images']} images")
    for step in found["neighbours"]:
        won = {key: None if value is None else 100 * value for key, value in step["win_rate"].items()}
        by = f"by {_told(step['difference'])}, at {_told(won)} per cent of prompts"
        lines.append(f"{step['ahead']} is ahead of {step['behind']} {by}: {step['word']}")
    for name, of in sources.items():
        if of["prompts_left_out"] or of["bad_rows"]:
            why = "that another source lacks or the scorer was trained on"
            prompts = f"{of['prompts_left_out']} prompts {why} ({of['images_left_out']} images)"
            lines.append(f"left out of {name}: {prompts}, {of['bad_rows']} bad rows")
    return [*lines, f"the report is {folder / REPORT}"]


def _told(estimate: Mapping[str, Any]) -> str:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    return f"{value:.4g}" if low is None else f"{value:.4g} [{low:.4g}, {high:.4g}]"
