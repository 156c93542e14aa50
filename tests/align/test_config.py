import subprocess
import sys
from pathlib import Path

import pytest

from palate.align.config import FREE, AlignConfig
from palate.align.methods.dpo import DPOConfig
from palate.align.methods.sft import SFTConfig
from palate.core.config import from_mapping
from palate.core.errors import ConfigError
from palate.training.accelerator import micro_batch

MINIMAL = {"model": "tiny-sd", "preferences": "tiny-preferences", "out": "run"}


def config(cls: type[AlignConfig] = DPOConfig, **changes):
    return from_mapping(cls, {**MINIMAL, **changes})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"batch": 6, "micro_batch": 4}, "batch .6. must be a multiple of micro_batch .4."),
        ({"steps": 0}, "steps must be above zero, not 0"),
        ({"prompt_dropout": 1.5}, "prompt_dropout must be a share between 0 and 1, not 1.5"),
        ({"draws": -1}, "draws must be above zero or left out, not -1"),
        ({"beta": -1.0}, "beta must be above zero, not -1.0"),
        ({"targets": []}, "targets must name at least one layer"),
        ({"learnign_rate": 1.0}, "unknown key"),
        ({"train": "lorra"}, "expected one of 'lora', 'full'"),
    ],
)
def test_a_wrong_value_is_refused_with_a_clear_message(changes, message):
    with pytest.raises(ConfigError, match=message):
        config(**changes)


def test_all_wrong_values_are_reported_at_once():
    with pytest.raises(ConfigError, match="steps must be.*warmup must be a share"):
        config(steps=0, warmup=2.0)


def test_the_learning_rate_of_full_training_is_that_of_the_papers_code():
    assert config(train="full", batch=2048).learning_rate() == pytest.approx(2.048e-5)
    assert config(train="full", batch=2048, beta=5000.0).learning_rate() == pytest.approx(8.192e-6)
    assert config(SFTConfig, train="full", batch=2048).learning_rate() == pytest.approx(2.048e-5)


def test_a_given_learning_rate_is_not_scaled():
    assert config(train="full", lr=3e-4, beta=5000.0).learning_rate() == 3e-4
    assert config(lr=3e-4).learning_rate() == 3e-4


def test_micro_batches_split_the_batch_over_processes():
    assert micro_batch(12, None, 3) == 4
    assert micro_batch(12, 2, 3) == 2
    with pytest.raises(ConfigError, match="batch .12. must be a multiple of micro_batch x processes .4 x 2."):
        micro_batch(12, 4, 2)


def test_free_fields_exist():
    assert set(AlignConfig.__dataclass_fields__) >= FREE


def test_the_configuration_imports_nothing_heavy():
    code = (
        "import palate.cli.align, sys; print([m for m in ('torch', 'numpy', 'diffusers', 'PIL') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("recipe", sorted(Path(__file__).parents[2].glob("recipes/*.yaml")), ids=lambda path: path.name)
def test_every_shipped_recipe_is_a_configuration_of_its_command(recipe):
    from palate.align.methods import method_config
    from palate.cli.reward import KINDS
    from palate.core.config import load

    words = recipe.stem.split("-")
    trains = KINDS | {"statistics": KINDS["bradley_terry"]}
    load(trains[words[1]][0] if words[0] == "reward" else method_config(words[0]), recipe)
