from itertools import pairwise
from pathlib import Path

from palate.cli.reference import reference_page

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_reference_page_is_current():
    assert PAGE.read_text("utf-8") == reference_page(), "run `make docs`"


COMMANDS = [
    "palate",
    "palate generate",
    "palate collect",
    "palate collect new",
    "palate collect invite",
    "palate collect serve",
    "palate collect status",
    "palate collect export",
    "palate collect import",
    "palate score",
    "palate score serve",
    "palate filter",
    "palate caption",
    "palate prefer",
    "palate prefer import",
    "palate prefer from-scores",
    "palate prefer relabel",
    "palate prefer filter",
    "palate prefer simulate",
    "palate prefer grade",
    "palate reward",
    "palate reward train",
    "palate reward train bradley_terry",
    "palate reward train regression",
    "palate reward train discriminator",
    "palate reward test",
    "palate reward order",
    "palate align",
    "palate align sft",
    "palate align reward_weighted",
    "palate align dpo",
    "palate align cpo",
    "palate align listwise",
    "palate align kto",
    "palate align mapo",
    "palate align dmpo",
    "palate align alpha_dpo",
    "palate align linear_dpo",
    "palate align convert-beta",
    "palate evaluate",
    "palate models",
    "palate scorers",
    "palate export",
    "palate cache",
    "palate cache list",
    "palate cache prune",
    "palate demo",
    "palate completion",
    "palate completion bash",
    "palate completion zsh",
    "palate completion fish",
]


def test_every_command_and_every_subcommand_is_in_the_reference():
    titles = [line.lstrip("# ") for line in reference_page().splitlines() if line.startswith("##")]
    assert titles == COMMANDS


def test_every_flag_of_every_command_has_words_of_help():
    lines = reference_page().splitlines()
    bare = [flag for flag, help in pairwise(lines) if flag.startswith("  --") and help.lstrip().startswith("(")]
    assert not bare, f"fields without a docstring: {bare}"
