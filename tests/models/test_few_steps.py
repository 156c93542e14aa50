"""Models that draw in a few steps, and are trained at the timesteps of these alone."""

import json

import pytest
from tiny_pipelines import random_sdxl

from palate.core.errors import InputError
from palate.models.few_steps import few_steps, few_steps_notes
from palate.models.load import load_denoiser, resolve

TURBO = (249, 499, 749, 999)


@pytest.fixture(scope="module")
def turbo(tmp_path_factory):
    return random_sdxl(tmp_path_factory.mktemp("turbo") / "model", spacing="trailing")


def with_card(folder, timesteps):
    (folder / "palate.json").write_text(json.dumps({"timesteps": timesteps}))
    return resolve(folder)


def test_the_timesteps_are_the_user_s_or_else_the_model_s_or_else_all(turbo):
    assert few_steps(resolve(turbo)) == ()
    assert few_steps(resolve(turbo), [999, 249, 499, 749]) == TURBO
    try:
        assert few_steps(with_card(turbo, [499, 999])) == (499, 999)
        assert few_steps(resolve(turbo), TURBO) == TURBO
    finally:
        (turbo / "palate.json").unlink()


def test_a_lora_s_own_timesteps_go_before_those_of_its_base(turbo, tmp_path):
    (tmp_path / "pytorch_lora_weights.safetensors").touch()
    (tmp_path / "palate.json").write_text(json.dumps({"base": str(turbo), "timesteps": [999]}))
    assert resolve(tmp_path).timesteps == (999,)


@pytest.mark.parametrize("timesteps", ["all", [1.5], [True]])
def test_timesteps_of_a_card_that_are_not_whole_numbers_are_refused(tmp_path, timesteps):
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(InputError, match="the timesteps in the palate.json"):
        _ = with_card(tmp_path, timesteps).timesteps


def test_timesteps_that_the_model_does_not_have_are_refused(turbo, models):
    with pytest.raises(InputError, match="1000 is not a timestep of the model; they go from 0 to 999"):
        few_steps(resolve(turbo), [500, 1000])
    with pytest.raises(InputError, match="Stable Diffusion 3 and 3.5 is not trained at timesteps of the user's choice"):
        load_denoiser(models["sd3"], timesteps=[500])


def test_it_is_said_when_a_scheduler_is_that_of_a_model_for_few_steps_and_none_are_named(turbo, models):
    (said,) = few_steps_notes(resolve(turbo), ())
    assert "counts timesteps from the last" in said and "--timesteps 249 499 749 999" in said
    assert not few_steps_notes(resolve(models["sdxl"]), ()) and not few_steps_notes(resolve(models["sd3"]), ())


def test_it_is_said_what_training_at_few_timesteps_means(turbo):
    steps, noise = few_steps_notes(resolve(turbo), TURBO)
    assert "249, 499, 749, 999" in steps and "4 steps" in steps
    assert "timestep 999 is pure noise" in noise
    assert len(few_steps_notes(resolve(turbo), TURBO[:3])) == 1


def test_where_v_is_predicted_pure_noise_still_teaches(tmp_path):
    assert len(few_steps_notes(resolve(random_sdxl(tmp_path, prediction_type="v_prediction")), TURBO)) == 1
