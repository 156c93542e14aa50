"""`palate generate`: a run folder of images with what made them, resumable and in shards."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from palate.core.errors import PalateError, RunFolderError
from palate.core.files import write_atomic
from palate.core.progress import bar, note
from palate.core.runs import RunFolder
from palate.generate.image_plan import PlannedImage, parse_shard, plan_images
from palate.generate.prompts import load_prompts
from palate.models.families import sizes_of
from palate.models.prompt_length import cut_off, note_cut_off, text_limits
from palate.models.source import resolve
from palate.records import checked
from palate.records.image_folder import BLACK, BLOCKED, METADATA, REASONS, SAFETY_CHECKER, metadata_rows
from palate.records.jsonlines import JsonLines

if TYPE_CHECKING:
    from PIL import Image

    from palate.generate.sampler import Sampled, Sampler

FREE = frozenset({"out", "batch", "device", "shard"})
"""Fields that may change between the parts of one run: no image depends on them, up to float rounding."""
NEEDED = {"file_name": checked.text, "prompt": checked.text, "seed": checked.integer}
"""What each line of the metadata must have for a run to go on."""


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """What to make."""

    model: str
    """Model to sample: a built-in name, a folder, a run of `palate align` or a hub id."""
    prompts: str
    """Prompt set: a file (txt, jsonl, json, csv or tsv with a prompt column, or .gz of these), or a
    folder of images (its prompts, each once)."""
    out: Path
    """Run folder; one that was interrupted goes on where it stopped."""
    images: int = 4
    """Images of each prompt; the k-th has the same seed for every model."""
    limit: int | None = None
    """Take only the first so many prompts."""
    seed: int = 0
    """Of all the images' seeds: any whole number. Each image gets one of 32 bits, as many as torch keeps on a CPU."""
    steps: int | None = None
    """Denoising steps; the model's own default when left out."""
    guidance: float | None = None
    """Classifier-free guidance scale; the model's own default when left out."""
    height: int | None = None
    """Pixels; the model's own default when left out."""
    width: int | None = None
    """Pixels; the model's own default when left out."""
    shard: str = "0/1"
    """Make only part i of n, written i/n with i from 0; the parts may run at once into the same folder."""
    batch: int = 16
    """Images sampled at once; changes memory and speed, not the images."""
    device: str | None = None
    """Such as cpu or cuda; the best one there is when left out."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Of the model's weights; bfloat16 on a GPU and float32 on a CPU when left out."""

    def __post_init__(self) -> None:
        names = ("images", "batch", "limit", "steps", "height", "width")
        positive = {name: getattr(self, name) for name in names}
        if wrong := [f"{name} must be above zero, not {n}" for name, n in positive.items() if n is not None and n <= 0]:
            raise ValueError("; ".join(wrong))
        parse_shard(self.shard)


@dataclass(frozen=True)
class Drawn:
    """An image to be kept.

    Args:
        item: what was made, with the seed that it was made from: the plan's, or that of one of its candidates.
        sampled: the picture, and whether it is what the model drew.
        columns: what else its line in `metadata.jsonl` says; `candidate` where the seed is not the plan's.
    """

    item: PlannedImage
    sampled: Sampled
    columns: Mapping[str, Any] = field(default_factory=dict)


Draw: TypeAlias = "Callable[[Sampler, Sequence[PlannedImage], int], Iterator[list[Drawn]]]"
"""Draws each item with a sampler, no more than so many pictures at once; what it yields is kept before it goes on."""


def draw_once(sampler: Sampler, items: Sequence[PlannedImage], batch: int) -> Iterator[list[Drawn]]:
    """One picture an item, from its own seed."""
    for start in range(0, len(items), batch):
        part = items[start : start + batch]
        drawn = sampler.draw([item.prompt for item in part], [item.seed for item in part])
        yield [Drawn(item, sampled) for item, sampled in zip(part, drawn, strict=True)]


def generate(config: GenerateConfig, draw: Draw = draw_once, inputs: Mapping[str, str] = MappingProxyType({})) -> Path:
    """Makes every image of the plan that the run folder does not have yet.

    The folder opens with `datasets.load_dataset("imagefolder", data_dir=...)`. An image is on disk before its line is
    in `metadata.jsonl`, so a run that is killed at any moment goes on with at most one batch made twice.

    Args:
        config: what to make.
        draw: how; a picture must depend on its item alone, and on `inputs`.
        inputs: digests of what `draw` depends on beside the configuration.

    Returns:
        The run folder.

    Raises:
        InputError: no such model or prompts, or a model with a missing part; before anything is written.
        RunFolderError: the folder holds another run.
    """
    prompts = load_prompts(config.prompts, config.limit)
    items = plan_images(prompts, config.images, config.seed)
    source = resolve(config.model)
    source.check()
    if config.height or config.width:
        sizes = sizes_of(source)
        sizes.require(config.height or sizes.native, config.width or sizes.native)
    made_from = {"model": source.identity(), "prompts": digest_texts(prompts), **inputs}
    run = RunFolder.open(config.out, "generate", config, free=FREE, inputs=made_from)
    cut = note_cut_off(cut_off(prompts, text_limits(source)), config.model)
    shard, shards = parse_shard(config.shard)
    folder = run.path if shards == 1 else run.path / f"shard-{shard}-of-{shards}"
    _forget_lost_images(folder)
    done = _done(run.path, items)
    mine = [item for item in items if item.prompt_index % shards == shard]
    if left := [item for item in mine if item not in done]:
        sampler = _sampler(config, run, fresh=not done)
        with RunFolder(folder).timer("generate"):  # of its own, so that shards do not write each other's
            _sample(config, draw, sampler, left, folder, len(mine))
        done = _done(run.path, items)  # other shards may have ended meanwhile
    if len(done) == len(items):
        blocked = _note_blocked(done.values(), config.model)
        run.finish({"images": len(items), "prompts": len(prompts), "model": config.model, **cut, **blocked})
    return run.path


def digest_texts(texts: Sequence[str]) -> str:
    """A short name for a list of texts in its order."""
    return hashlib.blake2b(json.dumps(list(texts)).encode(), digest_size=16).hexdigest()


def _sampler(config: GenerateConfig, run: RunFolder, fresh: bool) -> Sampler:
    """The model, loaded; where that fails and nothing was drawn yet, the folder is free again for the right command."""
    from palate.generate.sampler import Sampler

    names = ("device", "dtype", "steps", "guidance", "height", "width")
    try:
        return Sampler(config.model, **{name: getattr(config, name) for name in names})
    except PalateError:
        if fresh:
            run.abandon()
        raise


def _sample(
    config: GenerateConfig, draw: Draw, sampler: Sampler, items: Sequence[PlannedImage], folder: Path, total: int
) -> None:
    metadata = JsonLines(folder / METADATA)
    with bar("generating", total, done=total - len(items)) as progress:
        for batch in draw(sampler, items, config.batch):
            for drawn in batch:
                write_atomic(folder / drawn.item.file_name, _png(drawn.sampled.image))
            metadata.append(_row(drawn, config.model, sampler) for drawn in batch)
            progress.advance(len(batch))


def _row(drawn: Drawn, model: str, sampler: Sampler) -> dict[str, Any]:
    item = drawn.item
    return {
        "file_name": item.file_name,
        "prompt": item.prompt,
        "seed": item.seed,
        "prompt_index": item.prompt_index,
        "image_index": item.image_index,
        "model": model,
        "steps": sampler.steps,
        "guidance": sampler.guidance,
        BLOCKED: drawn.sampled.blocked,
        **drawn.columns,
    }


def _forget_lost_images(folder: Path) -> None:
    """Takes the lines out of a shard's metadata whose image is not there, so that it is made again."""
    own = JsonLines(folder / METADATA)
    rows = own.read(NEEDED)
    kept = [row for row in rows if (folder / row["file_name"]).is_file()]
    if len(kept) < len(rows):
        own.replace(kept)


def _done(run: Path, items: Sequence[PlannedImage]) -> dict[PlannedImage, Mapping[str, Any]]:
    """The items that a line of any shard's metadata lists, each with its line.

    Raises:
        InputError: a line lacks what it must have.
        RunFolderError: a line is of another prompt or seed than the plan's.
    """
    planned, done = {item.file_name: item for item in items}, {}
    for row in (each.values for each in metadata_rows(run, needed=NEEDED)):
        item = planned.get(row["file_name"])
        candidate = checked.integer(row.get("candidate", 0), f"the candidate of {row['file_name']} in {run}")
        seed = item and item.candidate(candidate).seed
        if item is None or (item.prompt, seed) != (row["prompt"], row["seed"]):
            name, prompt = row["file_name"], row["prompt"]
            fix = "name another folder for the new prompts, or bring the old ones back"
            raise RunFolderError(f"the prompts changed since {run} was begun ({name} is of {prompt!r}); {fix}")
        done[item] = row
    return done


def _note_blocked(rows: Iterable[Mapping[str, Any]], model: str) -> dict[str, Any]:
    """Says how many pictures are not what the model drew; the entry of a summary, empty where there is none."""
    count = Counter(row[BLOCKED] for row in rows if row.get(BLOCKED) in REASONS)
    if not count:
        return {}
    if count[SAFETY_CHECKER]:
        note(f"{model}'s safety checker blanked {count[SAFETY_CHECKER]} images; later stages leave them out")
    if count[BLACK]:
        why = "where their prompts do not ask for that, the model or its precision is at fault"
        note(f"{count[BLACK]} images are black in every pixel, and later stages leave them out; {why}")
    return {BLOCKED: dict(count)}


def _png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "png")
    return data.getvalue()
