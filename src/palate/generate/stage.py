"""`palate generate`: a run folder of images with what made them, resumable and in shards."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from palate.core.errors import RunFolderError
from palate.core.files import write_atomic
from palate.core.progress import bar
from palate.core.runs import RunFolder
from palate.generate.plan import Item, parse_shard, plan
from palate.generate.prompts import load_prompts
from palate.models.prompt_length import cut_off, note_cut_off, text_limits
from palate.models.source import resolve
from palate.records.image_folder import METADATA
from palate.records.jsonlines import JsonLines

if TYPE_CHECKING:
    from PIL import Image

    from palate.generate.sampler import Sampler

FREE = frozenset({"out", "batch", "device", "shard"})
"""Fields that may change between the parts of one run: no image depends on them, up to float rounding."""


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """What to make."""

    model: str
    """Model to sample: a built-in name, a folder, a run of `palate align` or a hub id."""
    prompts: str
    """Prompt set: seen, unseen, a file (txt, jsonl, json, csv or tsv with a prompt column, or .gz of these), or a
    folder of images (its prompts, each once)."""
    out: Path
    """Run folder; one that was interrupted goes on where it stopped."""
    images: int = 4
    """Images of each prompt; the k-th has the same seed for every model."""
    limit: int | None = None
    """Take only the first so many prompts."""
    seed: int = 0
    """Of all the images' seeds."""
    steps: int | None = None
    """Denoising steps; the model's own default when left out."""
    guidance: float | None = None
    """Classifier-free guidance scale; the model's own default when left out."""
    shard: str = "0/1"
    """Make only part i of n, written i/n with i from 0; the parts may run at once into the same folder."""
    batch: int = 16
    """Images sampled at once; changes memory and speed, not the images."""
    device: str | None = None
    """Such as cpu or cuda; the best one there is when left out."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Of the model's weights; bfloat16 on a GPU and float32 on a CPU when left out."""

    def __post_init__(self) -> None:
        positive = {"images": self.images, "batch": self.batch, "limit": self.limit, "steps": self.steps}
        if wrong := [f"{name} must be above zero, not {n}" for name, n in positive.items() if n is not None and n <= 0]:
            raise ValueError("; ".join(wrong))
        parse_shard(self.shard)


@dataclass(frozen=True)
class Drawn:
    """An image to be kept.

    Args:
        item: what was made, with the seed that it was made from: the plan's, or that of one of its candidates.
        image: the picture.
        columns: what else its line in `metadata.jsonl` says; `candidate` where the seed is not the plan's.
    """

    item: Item
    image: Image.Image
    columns: Mapping[str, Any] = field(default_factory=dict)


Draw: TypeAlias = "Callable[[Sampler, Sequence[Item], int], Iterator[list[Drawn]]]"
"""Draws each item with a sampler, no more than so many pictures at once; what it yields is kept before it goes on."""


def draw_once(sampler: Sampler, items: Sequence[Item], batch: int) -> Iterator[list[Drawn]]:
    """One picture an item, from its own seed."""
    for start in range(0, len(items), batch):
        part = items[start : start + batch]
        images = sampler.sample([item.prompt for item in part], [item.seed for item in part])
        yield [Drawn(item, image) for item, image in zip(part, images, strict=True)]


def generate(config: GenerateConfig, draw: Draw = draw_once) -> Path:
    """Makes every image of the plan that the run folder does not have yet.

    The folder opens with `datasets.load_dataset("imagefolder", data_dir=...)`. An image is on disk before its line is
    in `metadata.jsonl`, so a run that is killed at any moment goes on with at most one batch made twice.

    Args:
        config: what to make.
        draw: how; a picture must depend on its item alone.

    Returns:
        The run folder.

    Raises:
        InputError: no such model or prompts, or a model with a missing part; before anything is written.
        RunFolderError: the folder holds another run.
    """
    prompts = load_prompts(config.prompts, config.limit)
    items = plan(prompts, config.images, config.seed)
    source = resolve(config.model)
    source.check()
    made_by = {"model": source.fingerprint(*source.parts())}
    run = RunFolder.open(config.out, "generate", config, free=FREE, inputs=made_by)
    cut = note_cut_off(cut_off(prompts, text_limits(source)), config.model)
    shard, shards = parse_shard(config.shard)
    folder = run.path if shards == 1 else run.path / f"shard-{shard}-of-{shards}"
    done = _done(run.path, folder, items)
    mine = [item for item in items if item.prompt_index % shards == shard]
    if left := [item for item in mine if item not in done]:
        with run.timer("generate"):
            _sample(config, draw, left, folder, len(mine))
        done |= set(left)
    if len(done) == len(items):
        run.finish({"images": len(items), "prompts": len(prompts), "model": config.model, **cut})
    return run.path


def _sample(config: GenerateConfig, draw: Draw, items: Sequence[Item], folder: Path, total: int) -> None:
    from palate.generate.sampler import Sampler

    sampler = Sampler(
        config.model, device=config.device, dtype=config.dtype, steps=config.steps, guidance=config.guidance
    )
    metadata = JsonLines(folder / METADATA)
    with bar("generating", total, done=total - len(items)) as progress:
        for batch in draw(sampler, items, config.batch):
            for drawn in batch:
                write_atomic(folder / drawn.item.file_name, _png(drawn.image))
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
        **drawn.columns,
    }


def _done(run: Path, folder: Path, items: Sequence[Item]) -> set[Item]:
    """The items whose images are there; lines of `folder`'s metadata whose image was lost are taken out of it."""
    own = JsonLines(folder / METADATA)
    rows = own.read()
    kept = [row for row in rows if (folder / row["file_name"]).is_file()]
    if len(kept) < len(rows):
        own.replace(kept)
    return set(_listed(run, items))


def _listed(run: Path, items: Sequence[Item]) -> Iterator[Item]:
    planned = {item.file_name: item for item in items}
    for file in sorted(run.rglob(METADATA)):
        for row in JsonLines(file).read():
            item = planned.get(row["file_name"])
            seed = item and item.candidate(row.get("candidate", 0)).seed
            if item is None or (item.prompt, seed) != (row["prompt"], row["seed"]):
                name, prompt = row["file_name"], row["prompt"]
                mend = "name another folder for the new prompts, or bring the old ones back"
                raise RunFolderError(f"the prompts changed since {run} was begun ({name} is of {prompt!r}); {mend}")
            yield item


def _png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "png")
    return data.getvalue()
