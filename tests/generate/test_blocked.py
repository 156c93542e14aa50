"""Images that are not the model's own are recorded as such, and numbers that overflow end a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_pipelines import random_stable_diffusion

from palate.choose.best_of import BestOf
from palate.core.errors import InputError
from palate.core.finite import NotFiniteError
from palate.core.runs import RunFolder
from palate.generate.image_plan import plan_images
from palate.generate.sampler import Sampled, Sampler
from palate.generate.stage import GenerateConfig, generate
from palate.prefer.from_scores import FromScoresConfig, prefer_from_scores
from palate.records.image_folder import BLACK, BLOCKED, SAFETY_CHECKER, read_image_folder
from palate.records.tally import Tally
from palate.score.image import ImageScorer
from palate.score.scored import read_scores
from palate.score.stage import ScoreConfig, score


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose safety checker blanks every picture."""
    return random_stable_diffusion(tmp_path_factory.mktemp("strict") / "strict", safety_threshold=-2.0)


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with a safety checker that blanks none."""
    return random_stable_diffusion(tmp_path_factory.mktemp("lenient") / "lenient", safety_threshold=2.0)


@pytest.fixture
def config(tmp_path: Path):
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n")

    def make(model: Path, out: str, **changes: Any) -> GenerateConfig:
        values = {"images": 2, "steps": 2, "device": "cpu", "prompts": str(tmp_path / "prompts.txt")} | changes
        return GenerateConfig(model=str(model), out=tmp_path / out, **values)

    return make


def rows_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metadata.jsonl").read_text().splitlines()]


@pytest.fixture
def half_blocked(lenient: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lenient model; its checker blanks every second picture."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    def forward(self: Any, clip_input: torch.Tensor, images: torch.Tensor) -> tuple[torch.Tensor, list[bool]]:
        flags = [bool(number % 2) for number in range(len(images))]
        images[torch.tensor(flags)] = 0
        return images, flags

    monkeypatch.setattr(StableDiffusionSafetyChecker, "forward", forward)
    return lenient


def test_what_a_safety_checker_blanked_is_recorded_and_counted(
    config, strict: Path, lenient: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = generate(config(strict, "strict"))
    assert [row[BLOCKED] for row in rows_of(run)] == [SAFETY_CHECKER] * 4
    assert (RunFolder(run).finished or {})[BLOCKED] == {SAFETY_CHECKER: 4}
    assert "safety checker blanked 4 images" in capsys.readouterr().err
    free = generate(config(lenient, "lenient"))
    assert [row[BLOCKED] for row in rows_of(free)] == [""] * 4
    assert BLOCKED not in (RunFolder(free).finished or {})
    assert np.asarray(Image.open(free / rows_of(free)[0]["file_name"])).any()


def test_blanked_images_from_before_an_interruption_are_counted_too(config, half_blocked: Path) -> None:
    for shard in ("0/2", "1/2"):
        run = generate(config(half_blocked, "run", shard=shard))
    assert (RunFolder(run).finished or {})[BLOCKED] == {SAFETY_CHECKER: 2}


def test_later_stages_leave_blanked_pictures_out_and_count_them(
    config, half_blocked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, tally = generate(config(half_blocked, "run", images=4)), Tally()
    records = read_image_folder(run, tally)
    assert [record.image_index for record in records] == [0, 2, 0, 2]
    assert tally.summary() == {f"blocked ({SAFETY_CHECKER})": 4}
    assert "4 of 8 images of" in capsys.readouterr().err
    scores = score(ScoreConfig(images=run, scorer=("image:brightness",), out=tmp_path / "scores", device="cpu"))
    assert len(read_scores(scores)) == 4
    assert (RunFolder(scores).finished or {})[f"blocked ({SAFETY_CHECKER})"] == 4
    preferences = prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "preferences"))
    assert (RunFolder(preferences).finished or {})["images"] == 4


def test_a_folder_of_blanked_pictures_alone_is_refused(config, strict: Path, tmp_path: Path) -> None:
    run = generate(config(strict, "run"))
    with pytest.raises(InputError, match=r"no image of .* is what the model drew: 4 \(safety checker\) are blocked"):
        score(ScoreConfig(images=run, scorer=("image:brightness",), out=tmp_path / "scores", device="cpu"))


def test_a_column_of_that_name_with_another_meaning_leaves_nothing_out(config, lenient: Path) -> None:
    run = generate(config(lenient, "run"))
    metadata = run / "metadata.jsonl"
    metadata.write_text(metadata.read_text().replace('"blocked": ""', '"blocked": "no"'))
    assert len(read_image_folder(run)) == 4


def test_plain_sampling_refuses_a_blanked_picture(strict: Path) -> None:
    sampler = Sampler(strict, device="cpu", steps=1)
    assert [each.blocked for each in sampler.draw(["a cat"], [1])] == [SAFETY_CHECKER]
    with pytest.raises(InputError, match="'a cat' is not the model's \\(safety checker\\)"):
        sampler.sample(["a cat"], [1])


def test_a_blanked_candidate_is_never_the_best(half_blocked: Path) -> None:
    """Black pictures are the darkest: a scorer that prefers dark pictures would choose them."""
    sampler, scorer = Sampler(half_blocked, device="cpu", steps=1), ImageScorer("brightness")
    scorer.higher_is_better = False
    (item,) = plan_images(["a cat"], 1)
    drawn = BestOf(scorer, 4).draw(sampler, item, batch=4)
    assert [value is None for value in drawn.columns["candidate_scores"]] == [False, True, False, True]
    assert drawn.columns["candidate"] in (0, 2) and not drawn.sampled.blocked


def test_the_first_of_candidates_that_are_all_blanked_is_kept_as_blanked(strict: Path) -> None:
    (item,) = plan_images(["a cat"], 1)
    drawn = BestOf(ImageScorer("brightness"), 2).draw(Sampler(strict, device="cpu", steps=1), item, batch=2)
    assert (drawn.columns["candidate"], drawn.columns["score"]) == (0, None)
    assert drawn.sampled.blocked == SAFETY_CHECKER


def break_decoder(sampler: Sampler, value: float) -> None:
    """Makes the autoencoder give a number for one pixel, as an overflow would."""

    def overflow(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        output[-1, 0, 0, 0] = value
        return output

    sampler.pipeline.vae.decoder.conv_out.register_forward_hook(overflow)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_an_autoencoder_that_overflows_is_refused_with_what_to_do(stable_diffusion: Path, value: float) -> None:
    sampler = Sampler(stable_diffusion, device="cpu", steps=1)
    fresh(sampler)
    break_decoder(sampler, value)
    with pytest.raises(NotFiniteError, match="autoencoder overflowed in float32; give --dtype bfloat16 or float32"):
        sampler.draw(["a cat", "a dog"], [1, 2])


def test_an_autoencoder_that_overflows_in_float16_alone_draws_in_float32(
    stable_diffusion: Path, tmp_path: Path
) -> None:
    """As SDXL's does: activations beyond 65,504 that a norm brings back, if the precision can hold them."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(stable_diffusion)
    pipeline.vae.decoder.conv_in.weight.data *= 1e5
    pipeline.save_pretrained(tmp_path)
    (image,) = Sampler(tmp_path, device="cpu", dtype="float32", steps=1).sample(["a cat"], [1])
    assert np.asarray(image).std() > 1
    with pytest.raises(NotFiniteError, match="overflowed in float16; give --dtype bfloat16 or float32"):
        Sampler(tmp_path, device="cpu", dtype="float16", steps=1).sample(["a cat"], [1])


def test_the_image_that_is_not_finite_is_named(stable_diffusion: Path) -> None:
    sampler = Sampler(stable_diffusion, device="cpu", steps=1)
    fresh(sampler)
    break_decoder(sampler, float("nan"))
    with pytest.raises(NotFiniteError, match="the image of 'a dog', seed 2 is not finite"):
        sampler.draw(["a cat", "a dog"], [1, 2])


def test_an_overflow_of_the_network_is_distinguished_from_one_of_the_autoencoder(stable_diffusion: Path) -> None:
    sampler = Sampler(stable_diffusion, device="cpu", steps=1)
    fresh(sampler)
    sampler.pipeline.unet.conv_out.register_forward_hook(lambda module, inputs, output: output * float("inf"))
    with pytest.raises(NotFiniteError, match="the latents of the image of 'a cat', seed 1 are not finite"):
        sampler.draw(["a cat"], [1])


def test_an_overflow_ends_a_run_before_its_image_is_kept(config, lenient: Path, monkeypatch) -> None:
    make = Sampler.__init__

    def broken(self: Sampler, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        fresh(self)
        break_decoder(self, float("nan"))

    monkeypatch.setattr(Sampler, "__init__", broken)
    with pytest.raises(NotFiniteError):
        generate(config(lenient, "run"))
    assert not (config(lenient, "run").out / "metadata.jsonl").exists()


def test_a_picture_that_is_black_in_every_pixel_is_recorded_as_that(
    config, lenient: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make = Sampler.__init__

    def dark(self: Sampler, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        fresh(self)
        self.pipeline.vae.decoder.conv_out.register_forward_hook(lambda module, inputs, output: output * 0 - 2)

    monkeypatch.setattr(Sampler, "__init__", dark)
    run = generate(config(lenient, "run"))
    assert {row[BLOCKED] for row in rows_of(run)} == {BLACK}
    assert (RunFolder(run).finished or {})[BLOCKED] == {BLACK: 4}
    assert "4 images are black in every pixel" in capsys.readouterr().err


def fresh(sampler: Sampler) -> None:
    """Gives the sampler its own networks, as tests share a loaded pipeline."""
    import copy

    sampler.pipeline = copy.deepcopy(sampler.pipeline)


def test_a_sampled_image_is_not_blocked_by_default() -> None:
    assert Sampled(Image.new("RGB", (1, 1))).blocked == ""
