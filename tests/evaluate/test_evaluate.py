import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from tiny_pipelines import random_stable_diffusion

from palate.cli.evaluate import run
from palate.core.errors import ConfigError, InputError, RunFolderError
from palate.core.files import write_atomic
from palate.evaluate.config import EvaluateConfig
from palate.evaluate.stage import command, compare, evaluate, training_curves
from palate.generate.sampler import Sampler
from palate.generate.stage import GenerateConfig
from palate.records.image_folder import read_image_folder
from palate.world import judges

ASKED: dict[str, Any] = {
    "prompts": "unseen",
    "judge": "auditor",
    "also": ("teacher",),
    "images": 2,
    "limit": 3,
    "steps": 1,
    "batch": 4,
}


@pytest.fixture(scope="module", autouse=True)
def random_judges(tmp_path_factory):
    """Judges with random weights, so that what is tested is the evaluation and not the judges' training."""
    folder = tmp_path_factory.mktemp("judges")
    torch.manual_seed(0)
    for name in judges.NAMES:
        judges.save_judge(judges.build_judge(name), folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judges, "WEIGHTS", folder)
        yield


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two random pipelines that draw 64 x 64 pictures, the size that the world's judges read."""
    folder = tmp_path_factory.mktemp("models")
    return [str(random_stable_diffusion(folder / str(seed), seed=seed, sample_size=32)) for seed in (0, 1)]


@pytest.fixture
def config(models, tmp_path):
    base, aligned = models
    return EvaluateConfig(base=base, aligned=aligned, out=tmp_path / "run", **ASKED)


@pytest.fixture(scope="module")
def finished(models, tmp_path_factory):
    base, aligned = models
    out = tmp_path_factory.mktemp("finished") / "run"
    config = EvaluateConfig(base=base, aligned=aligned, out=out, **ASKED)
    evaluate(config)
    return config


def test_an_evaluation_leaves_images_scores_summary_and_report(finished):
    summary = json.loads((finished.out / "summary.json").read_text())
    assert (summary["judge"], summary["faithful"]["base"]["n"], summary["win_rate"]["n"]) == ("auditor", 6, 6)
    assert set(summary["seconds"]) == {"generate base", "generate aligned", "score base", "score aligned", "compare"}
    page = (finished.out / "report.html").read_text()
    assert "6 of 6 pairs are shown" in page
    assert "<span>generate</span> <span>--model</span>" in page


def test_both_models_draw_from_the_same_seeds(finished):
    drawn = [read_image_folder(finished.out / side) for side in ("base", "aligned")]
    assert [(r.prompt, r.seed) for r in drawn[0]] == [(r.prompt, r.seed) for r in drawn[1]]
    assert len({r.seed for r in drawn[0]}) == 6
    assert [r.image.digest() for r in drawn[0]] != [r.image.digest() for r in drawn[1]]


def test_readings_stand_at_their_prompt_and_seed(finished):
    comparison = compare(finished)
    records = read_image_folder(finished.out / "aligned")
    assert [comparison.images["aligned"][r.prompt_index][r.image_index].path for r in records] == [
        r.image.path for r in records
    ]
    scored = [json.loads(line) for line in (finished.out / "aligned-scores" / "scores.jsonl").read_text().splitlines()]
    for row in scored:
        appeal = comparison.judged.measures["appeal"].aligned[row["prompt_index"], row["image_index"]]
        assert appeal == row["auditor:appeal"]


def test_a_finished_evaluation_draws_nothing_again(finished):
    before = {file: file.stat().st_mtime_ns for file in finished.out.rglob("*.png")}
    summary = (finished.out / "summary.json").read_text()
    evaluate(dataclasses.replace(finished, batch=1))
    assert {file: file.stat().st_mtime_ns for file in finished.out.rglob("*.png")} == before
    again, first = json.loads((finished.out / "summary.json").read_text()), json.loads(summary)
    assert {**again, "seconds": {}} == {**first, "seconds": {}}


def test_an_interrupted_evaluation_goes_on_with_the_images_it_has(config, monkeypatch):
    monkeypatch.setattr("palate.evaluate.stage.score", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        compare(config)
    monkeypatch.undo()
    before = {file: file.stat().st_mtime_ns for file in (config.out / "base").rglob("*.png")}
    assert len(before) == 6
    evaluate(config)
    assert {file: file.stat().st_mtime_ns for file in (config.out / "base").rglob("*.png")} == before


def test_a_prompt_with_an_image_that_a_model_did_not_draw_is_left_out_on_both_sides(config, monkeypatch):
    draw = Sampler.draw

    def one_blocked(self, prompts, seeds):
        found = draw(self, prompts, seeds)
        if str(self.pipeline.config._name_or_path) == config.aligned:
            found[1] = dataclasses.replace(found[1], blocked="safety checker")
        return found

    monkeypatch.setattr(Sampler, "draw", one_blocked)  # batches of 4: the second image of the first and third prompt
    whole = dataclasses.replace(config, batch=2)
    with pytest.raises(InputError, match="every prompt has an image that is not the model's"):
        compare(whole)
    some = dataclasses.replace(config, out=config.out.with_name("some"))
    comparison = compare(some)
    left = [r.prompt for r in read_image_folder(some.out / "base") if r.prompt_index == 1]
    assert comparison.prompts == (left[0],)
    assert comparison.judged.preference.base.shape == comparison.judged.preference.aligned.shape == (1, 2)
    evaluate(some)
    assert json.loads((some.out / "summary.json").read_text())["prompts left out for a blocked image"] == 2


def _interrupt(config):
    raise KeyboardInterrupt


def test_the_same_model_twice_ties_everywhere(config):
    comparison = compare(dataclasses.replace(config, aligned=config.base))
    np.testing.assert_array_equal(comparison.judged.outcomes, 0.5)
    np.testing.assert_array_equal(comparison.diversity.gain, 0.0)


def test_another_evaluation_in_the_same_folder_is_refused(finished):
    with pytest.raises(RunFolderError, match="images"):
        evaluate(dataclasses.replace(finished, images=3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"judge": "auditr"}, "auditr"),
        ({"aligned": "tiny-sx"}, "tiny-sx"),
        ({"prompts": "unsen"}, "did you mean 'unseen'"),
    ],
)
def test_what_is_misspelt_is_refused_before_anything_is_written(config, change, message):
    with pytest.raises(InputError, match=message):
        evaluate(dataclasses.replace(config, **change))
    assert not config.out.exists()


def test_a_world_judge_refuses_models_that_draw_other_sizes_before_they_draw(config, tmp_path):
    small = random_stable_diffusion(tmp_path / "small")
    with pytest.raises(InputError, match=r"auditor:utility reads 64 x 64 pictures of the tiny world, not 16 x 16"):
        evaluate(dataclasses.replace(config, aligned=str(small)))
    assert not config.out.exists()


def test_the_curves_are_those_of_the_aligned_run(tmp_path):
    write_atomic(tmp_path / "config.yaml", "stage: align dpo\npalate: 0.1.0\n")
    write_atomic(tmp_path / "metrics.jsonl", '{"step": 1, "loss": 0.69}\n')
    assert training_curves(str(tmp_path)) == [{"step": 1, "loss": 0.69}]
    assert training_curves("tiny-sd") == []


def test_a_command_repeats_its_configuration(tmp_path):
    config = GenerateConfig(model="a b", prompts="unseen", out=tmp_path, images=2)
    assert (
        command("palate generate", config)
        == f"palate generate --model 'a b' --prompts unseen --out {tmp_path} --images 2"
    )


def test_the_command_line_prints_the_numbers_and_the_report(finished, capsys):
    words = command("", finished).split()
    assert run(words) == 0
    printed = capsys.readouterr().out
    assert "win rate:" in printed
    assert str(finished.out / "report.html") in printed


ASKED_FLAGS = ["--base", "a", "--aligned", "b", "--prompts", "unseen", "--judge", "auditor", "--out", "c"]


def test_an_impossible_configuration_names_its_flags():
    with pytest.raises(ConfigError, match="images must be above zero"):
        run([*ASKED_FLAGS, "--images", "0"])
    with pytest.raises(ConfigError, match="is also in `also`"):
        run([*ASKED_FLAGS, "--also", "auditor"])
