"""Training on images of several shapes: the bucket of each set, the same run for any split, and all methods."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from shapes import mixed_grades, mixed_pairs, picture
from tiny_pipelines import random_sd3, random_sdxl
from trained import assert_same_weights, implicit_accuracy, lines, run, run_until_interrupted

from palate.align.batches import Batches
from palate.align.learned import examples_of
from palate.align.methods import METHODS, method_config
from palate.align.prepare import Needed, buckets_of, grid_of
from palate.align.stage import assemble
from palate.core.cache_folder import list_entries
from palate.core.config import from_mapping, parse
from palate.core.errors import ConfigError, InputError
from palate.core.runs import RunFolder
from palate.models.denoiser import Denoiser
from palate.models.source import resolve
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet
from palate.score.implicit import ImplicitScorer
from palate.training.accelerator import make_accelerator

WHOLE = {"train": "full", "optimizer": "adafactor"}  # Adafactor's steps do not amplify rounding


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Preferences between images of several shapes, by the kind of feedback."""
    root = tmp_path_factory.mktemp("mixed")
    return {
        "rankings": str(mixed_pairs(root / "pairs.parquet")),
        "lists": str(mixed_pairs(root / "lists.parquet", count=8, n=3)),
        "grades": str(mixed_grades(root / "grades.parquet")),
        "images": str(mixed_pairs(root / "images.parquet")),
    }


def assembled(config):
    """The trainer of a run, with its caches filled."""
    source, method = resolve(config.model), config.method()
    examples = examples_of(config, method)
    buckets = buckets_of(grid_of(config, source), examples)
    folder = RunFolder.open(config.out, "align", config)
    return assemble(config, method, source, examples, buckets, folder, make_accelerator("cpu"))


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_a_run_says_what_was_cropped_and_its_model_what_it_was_trained_at(dpo_config, mixed, capsys):
    folder = run(dpo_config(preferences=mixed["rankings"], steps=2))
    told = capsys.readouterr()
    said = "24 images in 3 sizes (width x height): 12 at 24 x 8, 6 at 8 x 24, 6 at 16 x 16; cropping removes 0.0%"
    assert f"{said} of an image (median), at most 16.7%" in told.out + told.err
    found = summary(folder)
    assert found["buckets"] == {"8 x 24": 6, "16 x 16": 6, "24 x 8": 12}
    assert found["cropped"] == {"median": 0.0, "largest": 0.1667} and found["enlarged"] == 0
    card = json.loads((folder / "model" / "palate.json").read_text())
    assert card["resolution"] == [16] and card["buckets"] is True


def test_all_images_of_a_set_share_their_size_and_noise_whatever_their_own_shapes(dpo_config, tmp_path):
    sizes = [(40, 16), (48, 16), (16, 16)]  # geometric mean of the shapes: 1.96, so 24 x 8
    images = tuple(picture(number, True, size) for number, size in enumerate(sizes))
    write_sets([RankedSet("a star", images, (1, 2, 3))], tmp_path / "set.parquet")
    trainer = assembled(dpo_config(preferences=str(tmp_path / "set.parquet"), batch=3, steps=1))
    batch = trainer.batches.make(np.arange(3), np.zeros(3, int))
    assert batch.x_t.shape == (3, 4, 4, 12)
    assert torch.equal(batch.target[0], batch.target[1]) and torch.equal(batch.target[0], batch.target[2])


def test_the_split_of_the_batch_changes_nothing_and_adds_few_forward_passes(dpo_config, mixed, tmp_path, monkeypatch):
    common = {**WHOLE, "preferences": mixed["rankings"], "batch": 8, "steps": 3, "adversarial": 0.5}
    passes, make = [], Batches.make
    monkeypatch.setattr(Batches, "make", lambda self, *given: passes.append(1) or make(self, *given))
    run(dpo_config(**common, out=tmp_path / "first"))  # which measures the reference
    passes.clear()
    whole = run(dpo_config(**common, out=tmp_path / "whole"))
    assert len(passes) == 3 * 3  # one micro-batch and three sizes a step
    for size in (1, 2):
        passes.clear()
        split = run(dpo_config(**common, out=tmp_path / f"split {size}", micro_batch=size))
        assert 3 * 8 / size <= len(passes) <= 3 * (8 / size + 3 - 1)
        # Gradients are summed in another order: float32 rounding, carried through three updates of size 1e-3.
        assert_same_weights(whole, split, atol=2e-5, rtol=1e-4)


def test_the_reference_point_of_kto_is_that_of_the_whole_batch_for_any_shapes(config_of, mixed, tmp_path):
    common = {**WHOLE, "preferences": mixed["grades"], "steps": 3, "batch": 8}
    whole = run(config_of(method_config("kto"), **common, out=tmp_path / "whole"))
    split = run(config_of(method_config("kto"), **common, out=tmp_path / "split", micro_batch=2))
    assert_same_weights(whole, split, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("latents", ["cached", "streamed"])
def test_an_interrupted_run_resumes_bit_for_bit(dpo_config, mixed, tmp_path, monkeypatch, latents):
    common = {"preferences": mixed["rankings"], "steps": 6, "latents": latents, "resolution": (16, 24)}
    undisturbed = run(dpo_config(**common))
    config = dpo_config(**common, out=tmp_path / "disturbed", checkpoint_every=2)
    run_until_interrupted(config, monkeypatch, at=9)
    assert_same_weights(undisturbed, run(config))
    assert lines(undisturbed) == lines(config.out)


def test_streamed_training_ends_with_the_weights_of_cached_training(dpo_config, mixed, tmp_path):
    common = {"preferences": mixed["rankings"], "steps": 3, "resolution": (16, 24)}
    cached = run(dpo_config(**common, cache=tmp_path / "a"))
    assert_same_weights(cached, run(dpo_config(**common, latents="streamed", out=tmp_path / "streamed")))
    kept = [each.about["pixels"] for each in list_entries(tmp_path / "a") if each.about["kind"] == "latents"]
    assert sorted(map(str, kept)) == ["16", "16 x 32 pixels", "32 x 16 pixels"]  # the oblong ones fill those of 24


def test_square_images_end_with_the_weights_of_the_square_crop_bit_for_bit(dpo_config, world, mixed, tmp_path):
    for preferences in (world["pairs"], world["lists"]):
        runs = [
            run(dpo_config(preferences=str(preferences), steps=3, buckets=buckets, cache=tmp_path / "cache", out=out))
            for buckets, out in ((False, tmp_path / preferences.stem), (True, tmp_path / f"{preferences.stem} buckets"))
        ]
        assert_same_weights(*runs)
        assert lines(runs[0]) == lines(runs[1])
    kinds = [each.about["kind"] for each in list_entries(tmp_path / "cache")]
    assert kinds.count("latents") == kinds.count("errors") == 2  # both runs on the same data use one cache
    square = run(dpo_config(preferences=mixed["rankings"], steps=1, buckets=False, out=tmp_path / "square"))
    assert summary(square)["buckets"] == {"16 x 16": 24} and summary(square)["cropped"]["largest"] == 0.6667


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_from_images_of_several_shapes(config_of, mixed, name):
    kind = method_config(name)
    feedback = "lists" if name == "listwise" else kind(model="", preferences="", out="").method().learns_from
    found = lines(run(config_of(kind, preferences=mixed[feedback], steps=2, log_every=1, adversarial=0.1)))
    assert found[0]["loss"] != found[1]["loss"] and found[0]["loss_discriminator"] > 0


def test_extreme_and_small_images_are_trained_each_in_a_bucket_of_its_own(sft_config, tmp_path):
    sizes = {"long": (200, 10), "high": (3, 60), "small": (5, 5), "wide": (90, 30), "tall": (30, 90)}
    for name, size in sizes.items():
        Image.effect_noise(size, 50).convert("RGB").save(tmp_path / f"{name}.png")
    rows = [f"{name}.png,a star" for name in sizes]
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,text", *rows, ""]))
    folder = run(sft_config(preferences=str(tmp_path), out=tmp_path / "run", batch=5, steps=2, micro_batch=1))
    found = summary(folder)
    assert found["buckets"] == {"8 x 32": 1, "8 x 24": 1, "16 x 16": 1, "24 x 8": 1, "32 x 8": 1}
    assert found["enlarged"] == 2 and found["cropped"] == {"median": 0.0, "largest": 0.8}  # 1:20 becomes 1:4


def test_an_image_of_two_sets_is_trained_in_the_bucket_of_each(dpo_config, tmp_path):
    one, square, wide, tall = (
        picture(number, True, size) for number, size in enumerate([(32, 32), (32, 32), (96, 16), (16, 96)])
    )
    sets = [RankedSet(f"{n} stars", (one, other), (1, 2)) for n, other in enumerate((square, wide, tall))]
    write_sets(sets, tmp_path / "sets.parquet")
    found = summary(run(dpo_config(preferences=str(tmp_path / "sets.parquet"), batch=3, steps=2)))
    assert found["images"] == 4 and found["buckets"] == {"8 x 24": 2, "16 x 16": 2, "24 x 8": 2}


def test_a_short_run_encodes_only_the_images_and_buckets_that_it_needs(dpo_config, mixed):
    config = dpo_config(preferences=mixed["rankings"])
    examples = examples_of(config, config.method())
    buckets = buckets_of(grid_of(config, resolve(config.model)), examples)
    needed = Needed.of(examples, buckets, np.array([1, 3]))  # both of a shape whose bucket is 24 x 8
    (number,) = needed.images
    assert str(buckets.sizes[number]) == "24 x 8"
    assert sorted(needed.images[number]) == sorted(examples.image[examples.view[[1, 3]].ravel()])


def test_each_image_s_own_size_and_crop_are_trained_on_at_the_size_of_its_bucket(dpo_config, tmp_path, monkeypatch):
    """SDXL's ids, by hand: height, width, top, left, and the bucket's height and width."""
    sizes = {"a": (48, 16), "b": (40, 16), "c": (20, 40), "d": (10, 30)}
    for name, size in sizes.items():
        Image.effect_noise(size, 50).convert("RGB").save(tmp_path / f"{name}.png")
    (tmp_path / "metadata.csv").write_text("prompt,preferred,rejected\nwide,a.png,b.png\ntall,c.png,d.png\n")
    seen, make = {}, Batches.make

    def remember(self, *arguments):
        batch = make(self, *arguments)
        seen[tuple(batch.x_t.shape[-2:])] = batch.conditioning.dense("time_ids").tolist()
        return batch

    monkeypatch.setattr(Batches, "make", remember)
    model = random_sdxl(tmp_path / "model")
    run(dpo_config(model=str(model), preferences=str(tmp_path), out=tmp_path / "run", steps=1, batch=2))
    wide = [[16, 48, 0, 0, 8, 24], [16, 40, 1, 0, 8, 24]]  # 40 x 16 becomes 24 x 9.6
    tall = [[40, 20, 0, 2, 24, 8], [30, 10, 0, 0, 24, 8]]  # 20 x 40 becomes 12 x 24
    assert seen == {(4, 12): wide, (12, 4): tall}


def test_a_schedule_that_depends_on_the_size_is_that_of_each_bucket(dpo_config, tmp_path):
    shifts = {"use_dynamic_shifting": True, "base_image_seq_len": 16, "max_image_seq_len": 64}
    model = random_sd3(tmp_path / "model", **shifts, base_shift=0.5, max_shift=1.15)
    sets = [RankedSet("a", (picture(n, True, (n, n)), picture(n, False, (n, n))), (1, 2)) for n in (8, 16)]
    write_sets(sets, tmp_path / "sets.parquet")
    config = dpo_config(model=str(model), preferences=str(tmp_path / "sets.parquet"), resolution=(8, 16))
    schedules = assembled(config).batches.schedules
    # 4 x 4 and 8 x 8 tokens, at which mu is 0.5 and 1.15.
    assert [round(float(np.log(each.shift)), 6) for each in schedules.values()] == [0.5, 1.15]


def test_a_model_that_takes_squares_alone_is_trained_on_squares(dpo_config, world, mixed, capsys):
    folder = run(dpo_config(model=str(world["sd3"]), preferences=mixed["rankings"], steps=1))
    told = capsys.readouterr()
    assert summary(folder)["buckets"] == {"16 x 16": 24} and "the widest size is 16 x 16" in told.out + told.err


def test_the_implicit_reward_measures_images_at_the_sizes_of_the_run(dpo_config, mixed, monkeypatch):
    folder = run(dpo_config(preferences=mixed["rankings"], steps=40, lr=5e-3, warmup=0.1, beta=200.0, batch=6))
    assert implicit_accuracy(folder, mixed["rankings"]) > 0.9
    scorer = ImplicitScorer(str(folder), "cpu", draws=2)
    images = [picture(number, True, size).open() for number, size in enumerate([(40, 16), (16, 16), (80, 32)])]
    seen, predict = [], type(scorer._base).predict

    def watched(self: Denoiser, x_t, *given):
        seen.append(tuple(x_t.shape))
        return predict(self, x_t, *given)

    monkeypatch.setattr(type(scorer._base), "predict", watched)
    together = scorer(images, ["a star"] * 3)
    assert set(seen) == {(2, 4, 4, 12), (1, 4, 8, 8)}
    alone = torch.cat([scorer([image], ["a star"]) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-3)


def test_a_resolution_is_a_number_or_several_in_a_file_and_as_flags(tmp_path):
    kind = method_config("dpo")
    given = {"model": "m", "preferences": "p", "out": str(tmp_path)}
    words = ["--model", "m", "--preferences", "p", "--out", str(tmp_path), "--resolution"]
    for value, flags in ((512, ["512"]), ((512, 1024), ["512", "1024"])):
        plain = value if isinstance(value, int) else list(value)
        from_file = from_mapping(kind, {**given, "resolution": plain})
        assert from_file == parse(kind, [*words, *flags], prog="palate", description="")
        assert from_file.resolution == value
    assert from_mapping(kind, {**given, "resolution": [512]}).resolution == 512
    for wrong in ([], [512, 0], -1):
        with pytest.raises(ConfigError, match="resolution must be one size or several above zero, not "):
            from_mapping(kind, {**given, "resolution": wrong})


def test_each_of_several_resolutions_must_fit_the_model(dpo_config):
    with pytest.raises(InputError, match="resolution 20 does not fit the model"):
        run(dpo_config(resolution=(16, 20)))


def test_held_out_images_are_measured_in_buckets_too(dpo_config, mixed):
    config = dpo_config(
        preferences=mixed["rankings"], held_out=mixed["lists"], steps=2, validate_every=2, micro_batch=1
    )
    rows = [json.loads(line)["held_out"] for line in (run(config) / "validation.jsonl").read_text().splitlines()]
    # Before the first step the policy is the reference; they are measured in one order, so they are equal.
    assert rows[0]["loss"] == pytest.approx(np.log(2), abs=1e-6) and rows[1]["loss"] != rows[0]["loss"]
