"""A run folder of images: complete, paired across models, resumed after any crash, sharded, and an ImageFolder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_pipelines import random_stable_diffusion

from palate.cli.main import main
from palate.core.errors import InputError, PalateError, RunFolderError
from palate.core.runs import RunFolder
from palate.generate import stage
from palate.generate.image_plan import PlannedImage, plan_images
from palate.generate.sampler import Sampler
from palate.generate.stage import Drawn, GenerateConfig, draw_once, generate
from palate.records.image_folder import read_image_folder
from palate.records.jsonlines import JsonLines


@pytest.fixture
def whole_run(config) -> Path:
    return generate(config("whole"))


def images_of(run: Path) -> dict[tuple[str, int], np.ndarray]:
    records = read_image_folder(run)
    return {(r.prompt, r.image_index): np.asarray(r.image.open(), float) for r in records}


def assert_same_images(one: Path, other: Path, atol: float = 1.01) -> None:
    ours, theirs = images_of(one), images_of(other)
    assert ours.keys() == theirs.keys()
    for key, image in ours.items():
        np.testing.assert_allclose(image, theirs[key], atol=atol)


def test_a_run_has_every_image_with_its_metadata(config, stable_diffusion: Path) -> None:
    run = generate(config())
    rows = [json.loads(line) for line in (run / "metadata.jsonl").read_text().splitlines()]
    assert [(row["prompt"], row["image_index"]) for row in rows] == [
        (prompt, k) for prompt in ("a cat", "a dog", "a very long prompt") for k in (0, 1)
    ]
    assert (rows[0]["model"], rows[0]["steps"], rows[0]["guidance"]) == (str(stable_diffusion), 2, 7.5)
    with Image.open(run / rows[0]["file_name"]) as image:
        assert image.size == (16, 16)
    assert RunFolder(run).finished == {"images": 6, "prompts": 3, "model": str(stable_diffusion)}


def test_the_batch_split_changes_no_image(config) -> None:
    assert_same_images(generate(config("one", batch=1)), generate(config("four", batch=4)))


def test_two_models_have_the_same_seeds_and_other_images(config, other_stable_diffusion: Path) -> None:
    one, other = generate(config("one")), generate(config("other", model=str(other_stable_diffusion)))
    seeds = [[(r.prompt, r.image_index, r.seed) for r in read_image_folder(run)] for run in (one, other)]
    assert seeds[0] == seeds[1]
    assert any((images_of(one)[key] != image).any() for key, image in images_of(other).items())


def test_another_draw_function_adds_columns_and_resumes(config) -> None:
    def draw(sampler: Sampler, items: Sequence[PlannedImage], batch: int) -> Iterator[list[Drawn]]:
        for (drawn,) in draw_once(sampler, [item.candidate(3) for item in items], 1):
            yield [replace(drawn, columns={"candidate": 3, "why": "drawn"})]

    def interrupted(*arguments: Any) -> Iterator[list[Drawn]]:
        yield next(draw(*arguments))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(config(), interrupted)
    rows = JsonLines(generate(config(), draw) / "metadata.jsonl").read()
    assert [(row["why"], row["seed"]) for row in rows] == [
        ("drawn", item.candidate(3).seed) for item in plan_images(["a cat", "a dog", "a very long prompt"], 2)
    ]


def test_datasets_opens_the_folder(config, tmp_path: Path) -> None:
    import datasets

    run = generate(config())
    cache = str(tmp_path / "cache")
    table: Any = datasets.load_dataset("imagefolder", data_dir=str(run), cache_dir=cache, split="train")
    rows = sorted(table, key=lambda row: (row["prompt_index"], row["image_index"]))
    assert [row["prompt"] for row in rows[::2]] == ["a cat", "a dog", "a very long prompt"]
    assert rows[0]["image"].size == (16, 16)


def test_datasets_opens_a_sharded_folder(config, tmp_path: Path) -> None:
    import datasets

    for shard in ("0/2", "1/2"):
        run = generate(config(shard=shard))
    cache = str(tmp_path / "cache")
    table = datasets.load_dataset("imagefolder", data_dir=str(run), cache_dir=cache, split="train")
    assert sorted(table["prompt"])[::2] == ["a cat", "a dog", "a very long prompt"]


def test_shards_add_up_to_the_whole_run(config, whole_run: Path) -> None:
    first = generate(config("shards", shard="1/2"))
    assert RunFolder(first).finished is None
    assert len(read_image_folder(first)) == 2
    assert generate(config("shards", shard="0/2", batch=3)) == first
    assert (RunFolder(first).finished or {})["images"] == 6
    assert_same_images(first, whole_run)


class Died(BaseException):
    """An exception that simulates a killed process."""


@pytest.mark.parametrize("deadly_write", [1, 2, 3, 6])
def test_a_run_that_dies_at_any_write_resumes_to_the_same_images(
    config, monkeypatch: pytest.MonkeyPatch, whole_run: Path, deadly_write: int
) -> None:
    writes, write_atomic = 0, stage.write_atomic

    def dying(path: Path, data: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == deadly_write:
            raise Died
        write_atomic(path, data)

    monkeypatch.setattr(stage, "write_atomic", dying)
    with pytest.raises(Died):
        generate(config(batch=2))
    monkeypatch.undo()
    listed = JsonLines(config().out / "metadata.jsonl").read()
    assert len(listed) == (deadly_write - 1) // 2 * 2  # whole batches
    resumed = generate(config(batch=4))
    names = [r.file_name for r in read_image_folder(resumed)]
    assert len(names) == len(set(names)) == 6
    assert sorted(path.name for path in (resumed / "images").iterdir()) == sorted(Path(name).name for name in names)
    assert_same_images(resumed, whole_run)


def test_a_finished_run_is_left_as_it_is(config, monkeypatch: pytest.MonkeyPatch) -> None:
    run = generate(config())
    monkeypatch.setattr(Sampler, "__init__", lambda *_, **__: pytest.fail("sampled again"))
    assert generate(config()) == run


def test_lost_images_and_a_half_written_line_are_made_again(config) -> None:
    run = generate(config())
    whole = images_of(run)
    (run / "images" / "00001-000.png").unlink()
    metadata = run / "metadata.jsonl"
    metadata.write_bytes(metadata.read_bytes()[:-20])
    generate(config())
    again = images_of(run)
    assert len(metadata.read_text().splitlines()) == 6
    assert all((again[key] == image).all() for key, image in whole.items())


def test_another_configuration_in_the_same_folder_is_refused(config) -> None:
    generate(config())
    with pytest.raises(RunFolderError, match="steps: 2 there, 3 now"):
        generate(config(steps=3))


def test_a_prompt_file_that_changed_under_a_run_is_refused(config, prompts: Path) -> None:
    run = generate(config())
    before = sorted(run.rglob("*"))
    prompts.write_text("a bird\na dog\na very long prompt\n")
    with pytest.raises(RunFolderError, match="inputs.prompts: .* there, .* now"):
        generate(config())
    assert sorted(run.rglob("*")) == before


def test_a_model_that_changed_under_a_run_is_refused(config, stable_diffusion: Path, tmp_path: Path) -> None:
    model = shutil.copytree(stable_diffusion, tmp_path / "model")
    run = generate(config(model=str(model)))
    random_stable_diffusion(model, seed=1)
    before = sorted(run.rglob("*"))
    with pytest.raises(RunFolderError, match="inputs.model: .* there, .* now"):
        generate(config(model=str(model)))
    assert sorted(run.rglob("*")) == before


@pytest.mark.parametrize("changes", [{"model": "nowhere"}, {"prompts": "nowhere"}, {"prompts": "nowhere.txt"}])
def test_bad_input_leaves_nothing_behind(config, changes: dict) -> None:
    with pytest.raises(InputError, match="nowhere"):
        generate(config(**changes))
    assert not config().out.exists()


def test_a_model_with_a_missing_part_leaves_nothing_behind(config, stable_diffusion: Path, tmp_path: Path) -> None:
    shutil.copytree(stable_diffusion, tmp_path / "broken")
    shutil.rmtree(tmp_path / "broken" / "vae")
    with pytest.raises(InputError, match="lacks its part 'vae'"):
        generate(config(model=str(tmp_path / "broken")))
    assert not config().out.exists()


def test_an_image_that_cannot_be_written_is_one_clear_error(config, tmp_path: Path) -> None:
    run = tmp_path / "run"
    generate(config(limit=1))
    shutil.rmtree(run / "images")
    (run / "images").write_text("in the way")
    with pytest.raises(PalateError, match="cannot write .*images"):
        generate(config(limit=1))


def test_impossible_numbers_are_refused_together() -> None:
    with pytest.raises(ValueError, match="images must be above zero, not 0; batch must be above zero, not -1"):
        GenerateConfig(model="m", prompts="p", out=Path("o"), images=0, batch=-1)


def test_the_command_prints_the_folder_and_the_next_command(
    config, capsys: pytest.CaptureFixture[str], stable_diffusion: Path, prompts: Path, tmp_path: Path
) -> None:
    out = str(tmp_path / "run")
    argv = ["generate", "--model", str(stable_diffusion), "--prompts", str(prompts), "--out", out, "--steps", "1"]
    assert main([*argv, "--images", "1", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert f"3 images of 3 prompts are in {out}" in said
    assert f"next: palate score --images {out}" in said
    assert main([*argv, "--images", "2", "--device", "cpu"]) == 2
    assert "images: 1 there, 2 now" in capsys.readouterr().err
