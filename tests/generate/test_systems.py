"""Several models and numbers of steps in one command: a folder each, paired, one model in memory."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from palate.choose.systems import SystemsConfig, generate_systems
from palate.cli.main import main
from palate.core.errors import InputError, RunFolderError
from palate.core.runs import RunFolder
from palate.generate import sampler
from palate.generate.stage import GenerateConfig, Samplers, generate
from palate.records.image_folder import read_image_folder
from palate.records.jsonlines import JsonLines


@pytest.fixture
def several(stable_diffusion: Path, other_stable_diffusion: Path, prompts: Path, tmp_path: Path):
    def make(**changes) -> SystemsConfig:
        models = (str(stable_diffusion), str(other_stable_diffusion))
        values = {"model": models, "steps": (1, 2), "prompts": str(prompts), "images": 1, "device": "cpu"}
        return SystemsConfig(out=tmp_path / "several", **values | changes)

    return make


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found, load = [], sampler.load_pipeline

    def counted(source, **arguments):
        found.append(Path(source.base).name)
        return load(source, **arguments)

    monkeypatch.setattr(sampler, "load_pipeline", counted)
    return found


def test_each_system_has_a_folder_the_same_seeds_and_is_loaded_once(several, loaded: list[str]) -> None:
    run = generate_systems(several())
    names = ["random-sd-1-steps", "random-sd-2-steps", "other-sd-1-steps", "other-sd-2-steps"]
    assert (RunFolder(run).finished or {}) == {"images": 12, "prompts": 3, "systems": dict.fromkeys(names, 3)}
    assert loaded == ["random-sd", "other-sd"]
    rows = [JsonLines(run / name / "metadata.jsonl").read() for name in names]
    assert [Path(each[0]["system"]).name for each in rows] == [
        f"{model}-sd@{steps}" for model in ("random", "other") for steps in ("1 step", "2 steps")
    ]
    assert len({tuple(row["seed"] for row in each) for each in rows}) == 1
    assert len(read_image_folder(run)) == 12
    generate_systems(several())
    assert loaded == ["random-sd", "other-sd"]  # a finished run loads nothing


def test_a_system_draws_what_it_draws_alone(several, config) -> None:
    run, alone = generate_systems(several()), generate(config("alone", images=1, steps=1))
    for record in read_image_folder(alone):
        assert record.image.digest() == read_image_folder(run / "random-sd-1-steps")[record.prompt_index].image.digest()
    assert "system" not in JsonLines(alone / "metadata.jsonl").read()[0]


def test_one_model_and_number_of_steps_writes_what_it_always_wrote(several, config, stable_diffusion: Path) -> None:
    one = generate_systems(several(model=(str(stable_diffusion),), steps=(1,)))
    other = generate(config("other", images=1, steps=1))
    assert (one / "metadata.jsonl").read_bytes() == (other / "metadata.jsonl").read_bytes()
    before = (other / "config.yaml").read_text().replace(str(other), str(one))
    assert (one / "config.yaml").read_text() == before
    assert (one / "summary.json").read_bytes() == (other / "summary.json").read_bytes()


def test_unpaired_systems_have_seeds_of_their_own(several) -> None:
    run = generate_systems(several(paired=False, steps=1))
    seeds = [{row["seed"] for row in JsonLines(each).read()} for each in sorted(run.glob("*/metadata.jsonl"))]
    assert len(seeds) == 2 and not seeds[0] & seeds[1]


def test_an_interrupted_run_goes_on_with_the_system_where_it_stopped(several, monkeypatch, loaded: list[str]) -> None:
    draw = sampler.Sampler.draw

    def stop_at_two(self, prompts, seeds):
        if self.steps == 2:
            raise KeyboardInterrupt
        return draw(self, prompts, seeds)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(sampler.Sampler, "draw", stop_at_two)
        generate_systems(several())
    assert RunFolder(several().out).finished is None
    before = (several().out / "random-sd-1-steps" / "images" / "00000-000.png").stat().st_mtime_ns
    assert (RunFolder(generate_systems(several())).finished or {})["images"] == 12
    assert (several().out / "random-sd-1-steps" / "images" / "00000-000.png").stat().st_mtime_ns == before


def test_the_last_model_is_out_of_memory_before_the_next_is_loaded(config, other_stable_diffusion, monkeypatch) -> None:
    alive, load = [], sampler.load_pipeline
    samplers = Samplers()

    def watched(source, **arguments):
        alive.append(of_last() is not None if alive else False)
        return load(source, **arguments)

    gc.disable()
    try:
        monkeypatch.setattr(sampler, "load_pipeline", watched)
        of_last = weakref.ref(samplers.of(config())._encode.__wrapped__.__self__)
        samplers.of(config(model=str(other_stable_diffusion)))
    finally:
        gc.enable()
    assert alive == [False, False]


@pytest.mark.parametrize(
    "changes, complaint",
    [
        ({"steps": (4, 4)}, "two systems would be in the folder random-sd-4-steps"),
        ({"steps": (4, 0)}, "steps must be above zero, not 0"),
        ({"model": ()}, "model and steps need a value"),
    ],
)
def test_systems_that_cannot_be_told_apart_or_drawn_are_refused(several, changes: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        several(**changes)


def test_a_wrong_second_model_is_refused_before_the_first_is_loaded(several, stable_diffusion, loaded) -> None:
    with pytest.raises(InputError, match="system no-such-4-steps: .*no-such"):
        generate_systems(several(model=(str(stable_diffusion), "./no-such"), steps=(4, 8)))
    assert not loaded and not several().out.exists()


def test_a_folder_of_several_systems_is_not_taken_for_one(several, config) -> None:
    run = generate_systems(several(steps=1))
    with pytest.raises(RunFolderError):
        generate(GenerateConfig(model="tiny-sd", prompts="seen", out=run))


def test_the_command_names_the_systems(several, capsys: pytest.CaptureFixture[str]) -> None:
    asked = several(steps=1)
    flags = ["--prompts", asked.prompts, "--images", "1", "--device", "cpu", "--out", str(asked.out)]
    assert main(["generate", "--model", *asked.model, "--steps", "1", *flags]) == 0
    assert "6 images of 3 prompts by 2 systems (random-sd, other-sd) are in" in capsys.readouterr().out
