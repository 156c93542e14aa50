from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from palate.core.config import dump, from_mapping, load, parse, to_mapping
from palate.core.errors import ConfigError, InputError


@dataclass(frozen=True)
class Optimizer:
    learning_rate: float = 1e-4
    """Step size; Adam's default
    is larger."""
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")


@dataclass(frozen=True)
class Config:
    model: str
    """What is trained."""
    out: Path | None = None
    steps: int = 10
    method: Literal["lora", "full"] = "lora"
    scorer: tuple[str, ...] = ()
    """Judges."""
    clip: float | None = 1.0
    fast: bool = False
    """Skips the checks."""
    optimizer: Optimizer = field(default_factory=Optimizer)

    def __post_init__(self) -> None:
        if self.fast and self.steps > 100:
            raise ValueError("fast runs take at most 100 steps")


FULL = Config("tiny-sd", Path("runs/a"), 20, "full", ("a:b", "c"), None, True, Optimizer(1e-5, (0.8, 0.99)))


def flags(*argv: str) -> Config:
    return parse(Config, argv, prog="palate test", description="Tests.")


def problems(*argv: str) -> list[str]:
    """The complaint's lines, without the count at the head."""
    with pytest.raises(ConfigError) as caught:
        flags(*argv)
    head, *lines = str(caught.value).split("\n")
    return [line.strip() for line in lines] or [head.removeprefix("test: ")]


def test_a_configuration_survives_the_way_to_a_mapping_and_back():
    assert from_mapping(Config, to_mapping(FULL)) == FULL


def test_a_configuration_survives_the_way_to_a_file_and_back(tmp_path):
    dump(FULL, tmp_path / "a.yaml")
    assert load(Config, tmp_path / "a.yaml") == FULL
    assert flags("--config", str(tmp_path / "a.yaml")) == FULL


def test_a_mapping_has_plain_values_only_in_the_order_of_the_fields():
    mapping = to_mapping(FULL)
    assert mapping["out"] == "runs/a"
    assert mapping["scorer"] == ["a:b", "c"]
    assert mapping["optimizer"] == {"learning_rate": 1e-5, "betas": [0.8, 0.99]}
    assert list(mapping) == [each.name for each in dataclasses.fields(Config)]


def test_flags_set_every_kind_of_field():
    assert FULL == flags(
        *["--model", "tiny-sd", "--out", "runs/a", "--steps", "20", "--method=full", "--scorer", "a:b", "c"],
        *["--clip", "none", "--fast", "--optimizer.learning-rate", "1e-5", "--optimizer.betas", "0.8", "0.99"],
    )


def test_a_repeated_list_flag_adds_to_the_list_and_an_empty_one_is_empty():
    assert flags("--model", "m", "--scorer", "a", "--scorer", "b").scorer == ("a", "b")
    assert flags("--model", "m", "--scorer").scorer == ()


@pytest.mark.parametrize("argv, value", [(["--fast"], True), (["--no-fast"], False), (["--fast", "false"], False)])
def test_a_truth_flag_needs_no_value_and_has_a_negative(argv, value):
    assert flags("--model", "m", *argv).fast is value


def test_a_negative_number_in_scientific_notation_is_a_value_and_no_flag():
    assert flags("--model", "m", "--clip", "-1e-4").clip == -1e-4


def test_a_value_that_begins_like_a_flag_is_given_with_an_equals_sign():
    assert flags("--model=--odd=name").model == "--odd=name"


def test_flags_win_over_the_file_also_inside_a_nested_configuration(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("model: m\nsteps: 3\noptimizer: {learning_rate: 1e-3, betas: [0.5, 0.6]}\n")
    config = flags("--steps", "4", "--config", str(file), "--optimizer.learning-rate", "1e-2")
    assert (config.steps, config.optimizer) == (4, Optimizer(1e-2, (0.5, 0.6)))


def test_a_run_folders_config_can_be_given_again(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("stage: align dpo\npalate: 0.1.0\nmodel: m\n")
    assert flags("--config", str(file)) == load(Config, file) == Config("m")


def test_all_problems_of_a_command_line_are_told_at_once():
    argv = "--modle m --steps 2.5 --method lroa --fast maybe --clip --optimizer.betas 1 --optimizer.learning-rate x"
    assert problems(*argv.split()) == [
        "--modle: unknown flag; did you mean '--model'?",
        "--clip: takes one value, got none",
        "--model: is required, and not given",
        "--steps: expected a whole number, got '2.5'",
        "--method: expected one of 'lora', 'full', got 'lroa'; did you mean 'lora'?",
        "--fast: expected true or false, got 'maybe'",
        "--optimizer.learning-rate: expected a number, got 'x'",
        "--optimizer.betas: expected a list of 2 values, got ['1']",
    ]


def test_problems_of_the_file_are_named_by_key_and_those_of_flags_by_flag(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("modle: m\nsteps: many\nclip: high\noptimizer: {learning_rte: 1}\n")
    with pytest.raises(ConfigError, match=f"^test: {file}: 5 problems"):
        flags("--config", str(file), "--clip", "low")
    assert problems("--config", str(file), "--clip", "low") == [
        "modle: unknown key; did you mean 'model'?",
        "--model: is required, and not given",
        "steps: expected a whole number, got 'many'",
        "--clip: expected a number or none, got 'low'",
        "optimizer.learning_rte: unknown key; did you mean 'learning_rate'?",
    ]


def test_what_the_class_itself_refuses_is_a_problem_of_its_key():
    assert problems("--model", "m", "--optimizer.learning-rate", "-1", "--steps", "x") == [
        "--steps: expected a whole number, got 'x'",
        "--optimizer: learning_rate must be above 0, got -1.0",
    ]
    assert problems("--model", "m", "--fast", "--steps", "101") == ["fast runs take at most 100 steps"]


@pytest.mark.parametrize(
    "argv, message",
    [
        (["m", "--model", "m"], "m: is not a flag; flags start with '--', and every value follows its flag"),
        (["--model", "a", "b"], "--model: takes one value, got a b"),
        (["--model", "a", "--no-fast", "yes"], "--no-fast: takes no value, got yes"),
        (["--model", "a", "--no-steps"], "--no-steps: unknown flag; did you mean '--steps'?"),
        (["--model", "a", "--step", "3"], "--step: unknown flag; did you mean '--steps'?"),
        (["--model", "a", "--optimizer", "3"], "--optimizer: unknown flag; did you mean '--optimizer.betas'?"),
        (["--model", "a", "--"], "--: unknown flag"),
        (["--model", "a", "--out", ""], "--out: expected a path or none, got ''"),
        (["--model", "nul\0l"], "--model: expected text, got 'nul\\x00l'"),
    ],
)
def test_misused_flags_are_refused(argv, message):
    assert problems(*argv) == [message]


@pytest.mark.parametrize(
    "mapping, message",
    [
        ({}, "model: is required, and not given"),
        ({"model": 7}, "model: expected text, got 7; put it in quotes"),
        ({"model": None}, "model: expected text, got None; put it in quotes"),
        ({"model": "m", "steps": True}, "steps: expected a whole number, got True"),
        ({"model": "m", "steps": 3.0}, "steps: expected a whole number, got 3.0"),
        ({"model": "m", "steps": None}, "steps: expected a whole number, got None"),
        ({"model": "m", "steps": [3]}, "steps: expected a whole number, got [3]"),
        ({"model": "m", "steps": "9" * 5000}, "steps: expected a whole number, got '999"),
        ({"model": "m", "clip": float("nan")}, "clip: expected a number or none, got nan"),
        ({"model": "m", "clip": "1e999"}, "clip: expected a number or none, got '1e999'"),
        ({"model": "m", "fast": 1}, "fast: expected true or false, got 1"),
        ({"model": "m", "scorer": "a"}, "scorer: expected a list, each text, got 'a'"),
        ({"model": "m", "scorer": ["a", 1]}, "scorer: expected text, got 1"),
        ({"model": "m", "scorer": {"a": 1}}, "scorer: expected a list, each text, got {'a': 1}"),
        ({"model": "m", "out": 3}, "out: expected a path or none, got 3"),
        ({"model": "m", "optimizer": 3}, "optimizer: expected the fields of optimizer as a mapping, got 3"),
        ({"model": "m", "optimizer": None}, "optimizer: expected the fields of optimizer as a mapping, got None"),
        ({"model": "m", 3: 4}, "3: unknown key"),
        ({"model": "m", None: 4}, "None: unknown key"),
        ({"model": "m", "batch-size": 4}, "batch-size: unknown key"),
        ({"model": "m", "optimizer.learning_rate": 4}, "optimizer.learning_rate: unknown key"),
    ],
)
def test_rubbish_in_a_mapping_is_refused_by_its_key(mapping, message):
    with pytest.raises(ConfigError) as caught:
        from_mapping(Config, mapping)
    assert str(caught.value).startswith(f"Config: {message}")


@pytest.mark.parametrize(
    "text, message",
    [
        ("steps: [1, 2", "line 1: "),
        ("model: m\nmodel: n\n", "line 2: the key 'model' occurs twice"),
        ("optimizer:\n  betas: [1, 2]\n  betas: [1, 2]\n", "line 3: the key 'betas' occurs twice"),
        ("- model\n- m\n", "holds list, not a mapping; write lines such as 'seed: 0'"),
        ("just text", "holds str, not a mapping"),
        ("a: !!python/object/apply:os.system [echo]", "could not determine a constructor"),
        ("a: \x07", "is not YAML"),
        ("a: *nowhere", "found undefined alias"),
        ("{[1]: 2}", "line 1: found unhashable key"),
        ("[" * 500, "is not YAML"),
        ("model: m\n--- \nmodel: n", "but found another document"),
    ],
)
def test_a_file_that_is_no_yaml_mapping_is_refused_by_name(tmp_path, text, message):
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(Config, file)
    assert str(caught.value).startswith(str(file))
    assert message in str(caught.value)


def test_a_binary_file_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00model")
    with pytest.raises(ConfigError, match="is not YAML"):
        load(Config, tmp_path / "a.yaml")


def test_an_absent_file_is_refused_with_the_nearest_name(tmp_path):
    (tmp_path / "config.yaml").touch()
    with pytest.raises(InputError, match="configuration '.*/confg.yaml' does not exist; did you mean 'config.yaml'?"):
        flags("--config", str(tmp_path / "confg.yaml"))


def test_an_empty_file_is_an_empty_configuration(tmp_path):
    (tmp_path / "a.yaml").touch()
    assert flags("--config", str(tmp_path / "a.yaml"), "--model", "m") == Config("m")


def test_help_lists_every_field_with_its_docstring_kind_and_default(capsys):
    with pytest.raises(SystemExit) as caught:
        flags("--steps", "rubbish", "--help")
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: palate test --model ... [flags]\n\nTests.\n")
    assert "  --model\n      What is trained. (text; required)\n" in printed
    assert "  --scorer\n      Judges. (a list, each text; default: empty)\n" in printed
    assert "  --fast, --no-fast\n      Skips the checks. (true or false; default: false)\n" in printed
    assert (
        "  --optimizer.learning-rate\n      Step size; Adam's default is larger. (a number; default: 0.0001)" in printed
    )
    assert "default: 0.9 0.999)" in printed
