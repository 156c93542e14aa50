"""The requirements of `palate generate` on its model, prompts and sizes, and shards that run at the same time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from diffusers import StableDiffusionPipeline

from palate.core.errors import InputError, RunFolderError
from palate.core.runs import RunFolder
from palate.generate.image_plan import PlannedImage, plan_images
from palate.generate.sampler import Sampler
from palate.generate.stage import Drawn, draw_once, generate
from palate.records.image_folder import read_image_folder


def test_shards_that_run_at_the_same_time_end_with_a_finished_run(config) -> None:
    """Both run at the same time, and the one that ends last finds that nothing is left."""

    def meanwhile(sampler: Sampler, items: Sequence[PlannedImage], batch: int) -> Iterator[list[Drawn]]:
        other = generate(config("shards", shard="1/2"))
        assert RunFolder(other).finished is None
        yield from draw_once(sampler, items, batch)

    run = generate(config("shards", shard="0/2"), meanwhile)
    assert (RunFolder(run).finished or {})["images"] == 6
    assert len(read_image_folder(run)) == 6
    timings = [RunFolder(run / f"shard-{shard}-of-2").timings["generate"] for shard in (0, 1)]
    assert all(seconds > 0 for seconds in timings)


def test_more_or_other_prompts_are_another_run(config, prompts: Path) -> None:
    generate(config())
    prompts.write_text("a cat\na dog\na very long prompt\none more\n")
    with pytest.raises(RunFolderError, match="inputs.prompts"):
        generate(config())


def test_sampling_defaults_that_changed_under_a_run_are_refused(config, stable_diffusion: Path, tmp_path: Path) -> None:
    model = shutil.copytree(stable_diffusion, tmp_path / "model")
    (model / "palate.json").write_text('{"steps": 2}')
    generate(config(model=str(model), steps=None))
    (model / "palate.json").write_text('{"steps": 3}')
    with pytest.raises(RunFolderError, match="inputs.model"):
        generate(config(model=str(model), steps=None))


def test_images_have_the_size_that_is_asked_for(config) -> None:
    run = generate(config(height=24, width=32, limit=1))
    assert {record.image.open().size for record in read_image_folder(run)} == {(32, 24)}


@pytest.mark.parametrize("side", ["height", "width"])
def test_a_size_that_the_model_does_not_take_leaves_nothing_behind(config, side: str) -> None:
    with pytest.raises(InputError, match=f"{side} 20 does not fit the model, .* multiples of 8; give 16 or 24"):
        generate(config(**{side: 20}))
    assert not config().out.exists()


def test_every_digit_of_a_run_s_seed_changes_the_images() -> None:
    """Though torch keeps 32 bits: an image's seed is a hash of the whole number."""
    seeds = (1, 1 + 2**32, 1 + 2**64, -1)
    found = {tuple(item.seed for item in plan_images(["a"], 4, seed)) for seed in seeds}
    assert len(found) == len(seeds)


def diverge(model: Path) -> None:
    """Writes NaN into a model's UNet."""
    pipeline = StableDiffusionPipeline.from_pretrained(model)
    next(pipeline.unet.parameters()).data.fill_(float("nan"))
    pipeline.save_pretrained(model)


def test_a_diverged_model_is_refused_and_leaves_nothing_behind(config, stable_diffusion: Path, tmp_path: Path) -> None:
    model = shutil.copytree(stable_diffusion, tmp_path / "model")
    diverge(model)
    with pytest.raises(InputError, match="'unet' .* not finite"):
        generate(config(model=str(model)))
    assert not config().out.exists()


def test_a_model_that_cannot_be_loaded_any_more_leaves_what_was_drawn(config, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_batch(*arguments: Any) -> Iterator[list[Drawn]]:
        yield next(draw_once(*arguments))
        raise KeyboardInterrupt

    def fail(*arguments: Any, **options: Any) -> None:
        raise InputError("the disk is at fault")

    with pytest.raises(KeyboardInterrupt):
        generate(config(batch=2), one_batch)
    monkeypatch.setattr(Sampler, "__init__", fail)
    with pytest.raises(InputError, match="the disk is at fault"):
        generate(config())
    assert len(read_image_folder(config().out)) == 2 and (config().out / "config.yaml").exists()
