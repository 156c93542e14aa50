"""`palate generate`: writes a run folder of images and their metadata, resumable and in shards."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from palate.core.errors import PalateError, RunFolderError
from palate.core.files import write_atomic
from palate.core.free_memory import give_back_freed_memory
from palate.core.progress import bar, note
from palate.core.runs import RunFolder
from palate.generate.image_plan import PlannedImage, parse_shard, plan_images
from palate.generate.prompts import load_prompts
from palate.models.families import sizes_of
from palate.models.prompt_length import cut_off, note_cut_off, text_limits
from palate.models.source import resolve
from palate.records import checked
from palate.records.image_folder import BLACK, BLOCKED, METADATA, REASONS, SAFETY_CHECKER, SYSTEM, metadata_rows
from palate.records.jsonlines import JsonLines
from palate.records.systems import system_name

if TYPE_CHECKING:
    from PIL import Image

    from palate.generate.sampler import Sampled, Sampler

FREE = frozenset({"out", "batch", "device", "shard"})
"""Fields that may change between the parts of one run: no image depends on them, up to float rounding."""
NEEDED = {"file_name": checked.text, "prompt": checked.text, "seed": checked.integer}
"""The values that each line of the metadata must have so that a run can continue."""


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """The settings of generation."""

    model: str
    """Model to sample: a built-in name, a folder, a single .safetensors file, a run of `palate align` or a hub id; with
    LoRAs, BASE+LORA.safetensors:0.8."""
    prompts: str
    """Prompt set: a file (txt, jsonl, json, csv or tsv with a prompt column, or .gz of these), or a
    folder of images (its prompts, each once)."""
    out: Path
    """Run folder; an interrupted run continues where it stopped."""
    images: int = 4
    """Images of each prompt; the k-th has the same seed for every model."""
    limit: int | None = None
    """Largest number of prompts; the first ones of the set are taken."""
    seed: int = 0
    """Any whole number, from which each image's own seed is derived. That has 32 bits, as many as torch uses on a
    CPU."""
    steps: int | None = None
    """Denoising steps; the model's own default when left out."""
    guidance: float | None = None
    """Classifier-free guidance scale; the model's own default when left out."""
    height: int | None = None
    """Height in pixels; the model's own default when left out."""
    width: int | None = None
    """Width in pixels; the model's own default when left out."""
    negative_model: str | None = None
    """Model whose network takes the place of the unconditional branch of guidance, such as one that was aligned with
    --reverse (Diffusion-NPO, ICLR 2025); a second network in memory."""
    shard: str = "0/1"
    """Generate only part i of n, written i/n with i from 0; the parts may run at the same time into the same folder."""
    batch: int = 16
    """Images sampled at once; changes memory and speed, not the images."""
    device: str | None = None
    """Such as cpu or cuda; the best one there is when left out."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Precision of the model; bfloat16 on a GPU and float32 on a CPU when left out."""

    def __post_init__(self) -> None:
        names = ("images", "batch", "limit", "steps", "height", "width")
        positive = {name: getattr(self, name) for name in names}
        if wrong := [f"{name} must be above zero, not {n}" for name, n in positive.items() if n is not None and n <= 0]:
            raise ValueError("; ".join(wrong))
        parse_shard(self.shard)


@dataclass(frozen=True)
class Drawn:
    """An image to be saved.

    Args:
        item: the planned image, or one of its candidates, with the seed that was used.
        sampled: the image, and whether it is blocked.
        columns: further columns of its line in `metadata.jsonl`, such as the `candidate`'s number.
    """

    item: PlannedImage
    sampled: Sampled
    columns: Mapping[str, Any] = field(default_factory=dict)


Draw: TypeAlias = "Callable[[Sampler, Sequence[PlannedImage], int], Iterator[list[Drawn]]]"
"""Generates items with a sampler, at most so many images at once; each list that it yields is saved before the next."""


def draw_once(sampler: Sampler, items: Sequence[PlannedImage], batch: int) -> Iterator[list[Drawn]]:
    """One image for each item, from its own seed."""
    for start in range(0, len(items), batch):
        part = items[start : start + batch]
        drawn = sampler.draw([item.prompt for item in part], [item.seed for item in part])
        yield [Drawn(item, sampled) for item, sampled in zip(part, drawn, strict=True)]


class Samplers:
    """Loads samplers; one that differs from the last in its number of steps alone is not loaded again."""

    def __init__(self) -> None:
        self._key: Mapping[str, Any] = {}
        self._sampler: Sampler | None = None

    def of(self, config: GenerateConfig) -> Sampler:
        """The sampler of a configuration; the last one is out of memory before another model is loaded.

        Raises:
            InputError: see `Sampler`.
        """
        from palate.generate.sampler import Sampler

        names = ("model", "device", "dtype", "guidance", "height", "width", "negative_model")
        key = {name: getattr(config, name) for name in names}
        if self._sampler is None or key != self._key:
            self._sampler = None
            give_back_freed_memory()  # a sampler is part of a reference cycle
            self._sampler, self._key = Sampler(**key), key
        return self._sampler.with_steps(config.steps)


def generate(
    config: GenerateConfig,
    draw: Draw = draw_once,
    inputs: Mapping[str, str] = MappingProxyType({}),
    samplers: Samplers | None = None,
) -> Path:
    """Generates every planned image that is not in the run folder yet.

    The folder can be opened with `datasets.load_dataset("imagefolder", data_dir=...)`. An image is on disk before its
    line is in `metadata.jsonl`, so a run that is killed at any moment repeats at most one batch when it continues.

    Args:
        config: the settings.
        draw: generates the images; each image must depend only on its item and on `inputs`.
        inputs: digests of what `draw` depends on besides the configuration.
        samplers: loads the models of one of several systems, whose rows also have `system`; may have the model from an
            earlier call.

    Returns:
        The run folder.

    Raises:
        InputError: there is no such model or prompt set, or a part of the model is missing; raised before anything is
            written.
        RunFolderError: the folder contains another run.
    """
    prompts = load_prompts(config.prompts, config.limit)
    items = plan_images(prompts, config.images, config.seed)
    source = resolve(config.model)
    source.check()
    if config.height or config.width:
        sizes = sizes_of(source)
        sizes.require(config.height or sizes.native, config.width or sizes.native)
    made_from = {"model": source.identity(), "prompts": digest_texts(prompts), **inputs}
    if config.negative_model:
        from palate.generate.negative_model import require_negative

        require_negative(source, negative := resolve(config.negative_model))
        made_from["negative model"] = negative.identity()
    run = RunFolder.open(config.out, "generate", config, free=FREE, inputs=made_from)
    cut = note_cut_off(cut_off(prompts, text_limits(source)), config.model)
    shard, shards = parse_shard(config.shard)
    folder = run.path if shards == 1 else run.path / f"shard-{shard}-of-{shards}"
    _forget_lost_images(folder)
    done = _done(run.path, items)
    mine = [item for item in items if item.prompt_index % shards == shard]
    if left := [item for item in mine if item not in done]:
        sampler = _sampler(config, run, samplers or Samplers(), fresh=not done)
        drawn = _named(draw, config.model) if samplers else draw
        with RunFolder(folder).timer("generate"):  # shards must not overwrite each other's
            _sample(config, drawn, sampler, left, folder, len(mine))
        done = _done(run.path, items)  # other shards may have ended meanwhile
    if len(done) == len(items):
        blocked = _note_blocked(done.values(), config.model)
        run.finish({"images": len(items), "prompts": len(prompts), "model": config.model, **cut, **blocked})
    return run.path


def digest_texts(texts: Sequence[str]) -> str:
    """A digest of a list of texts and their order."""
    return hashlib.blake2b(json.dumps(list(texts)).encode(), digest_size=16).hexdigest()


def _named(draw: Draw, model: str) -> Draw:
    """The same, with the name of the system in a column of each image."""

    def named(sampler: Sampler, items: Sequence[PlannedImage], batch: int) -> Iterator[list[Drawn]]:
        column = {SYSTEM: system_name(model, sampler.steps)}
        for drawn in draw(sampler, items, batch):
            yield [replace(each, columns={**each.columns, **column}) for each in drawn]

    return named


def _sampler(config: GenerateConfig, run: RunFolder, samplers: Samplers, fresh: bool) -> Sampler:
    """Loads the model; if that fails in a new run, the run folder is released for a corrected command."""
    try:
        return samplers.of(config)
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
    """Removes the lines of a shard's metadata whose image does not exist, so that it is generated again."""
    own = JsonLines(folder / METADATA)
    rows = own.read(NEEDED)
    kept = [row for row in rows if (folder / row["file_name"]).is_file()]
    if len(kept) < len(rows):
        own.replace(kept)


def _done(run: Path, items: Sequence[PlannedImage]) -> dict[PlannedImage, Mapping[str, Any]]:
    """The items that have a line in the metadata of some shard, each with its line.

    Raises:
        InputError: a line lacks a required value.
        RunFolderError: a line has another prompt or seed than the plan.
    """
    planned, done = {item.file_name: item for item in items}, {}
    for row in (each.values for each in metadata_rows(run, needed=NEEDED)):
        item = planned.get(row["file_name"])
        candidate = checked.integer(row.get("candidate", 0), f"the candidate of {row['file_name']} in {run}")
        seed = item and item.candidate(candidate).seed
        if item is None or (item.prompt, seed) != (row["prompt"], row["seed"]):
            name, prompt = row["file_name"], row["prompt"]
            fix = "give another folder for the new prompts, or restore the old ones"
            raise RunFolderError(f"the prompts have changed since {run} was begun ({name} has {prompt!r}); {fix}")
        done[item] = row
    return done


def _note_blocked(rows: Iterable[Mapping[str, Any]], model: str) -> dict[str, Any]:
    """Prints how many images are blocked; returns their number as an entry of a summary, empty if there are none."""
    count = Counter(row[BLOCKED] for row in rows if row.get(BLOCKED) in REASONS)
    if not count:
        return {}
    if count[SAFETY_CHECKER]:
        note(f"{model}'s safety checker blanked {count[SAFETY_CHECKER]} images; later stages leave them out")
    if count[BLACK]:
        why = "unless their prompts ask for that, the model or its precision is the cause"
        note(f"{count[BLACK]} images are black in every pixel, and later stages leave them out; {why}")
    return {BLOCKED: dict(count)}


def _png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "png")
    return data.getvalue()
