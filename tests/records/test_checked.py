"""Values of rows are taken in their type or refused by what they are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from palate.core.errors import InputError
from palate.records import checked

HUGE = 10**5000  # longer than Python writes out


@pytest.mark.parametrize("value", ["a cat", " a ", "zwölf", "👍", "a\u2028b", "line\nline"])
def test_text_is_taken_as_it_is(value: str) -> None:
    assert checked.text(value, "the prompt") == value


@pytest.mark.parametrize(
    "value, complaint",
    [
        (None, "the prompt is missing, not text; fill it in"),
        (math.nan, "the prompt is NaN, not text"),
        ("", "the prompt is blank"),
        (" \n\u2003", "the prompt is blank"),
        (["a cat"], r"the prompt is \['a cat'\], not text"),
        ({"a": 1}, r"the prompt is \{'a': 1\}, not text"),
        (7, "the prompt is 7, not text"),
        (True, "the prompt is True, not text"),
        (b"a cat", "the prompt is b'a cat', not text"),
        ("cat \ud83d", r"the prompt is 'cat \\ud83d', which has a lone surrogate, \\ud83d; remove it"),
        ("a\0b", r"the prompt is 'a\\x00b', which contains a NUL character"),
    ],
)
def test_what_is_no_text_is_refused(value: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        checked.text(value, "the prompt")


def test_a_number_that_is_too_long_to_be_written_out_is_refused() -> None:
    for check in (checked.text, checked.integer, checked.finite_number, checked.yes_or_no, checked.optional_name):
        with pytest.raises(InputError, match="the value is a whole number of 16610 bits"):
            check(HUGE, "the value")


@pytest.mark.parametrize("value", [2, 2.0, "2", "2.0", " 2. ", "+2", "002"])
def test_a_whole_number_may_be_written_as_tables_write_it(value: Any) -> None:
    found = checked.integer(value, "the seed")
    assert (found, type(found)) == (2, int)


@pytest.mark.parametrize("value", [checked.LOWEST, checked.HIGHEST, str(checked.HIGHEST), 2.0**53])
def test_whole_numbers_up_to_the_limits_of_tables_are_exact(value: Any) -> None:
    assert checked.integer(value, "the seed") == int(value)


@pytest.mark.parametrize(
    "value, complaint",
    [
        (1.5, "the seed is 1.5, not a whole number"),
        ("1.5", "the seed is '1.5', not a whole number"),
        (True, "the seed is True, not a whole number"),
        (None, "the seed is missing, not a whole number"),
        (math.nan, "the seed is NaN, not a whole number"),
        (math.inf, "the seed is inf, not a whole number"),
        (2.0**53 + 2, "not a whole number"),  # as floating point, it may have been the next one
        ("1_000", "not a whole number"),
        ("٣", "not a whole number"),
        ("1e3", "not a whole number"),
        ("", "the seed is blank"),
        ([1], r"the seed is \[1\], not a whole number"),
        (2**63, "the seed is 9223372036854775808, and must be from -9223372036854775808 to 9223372036854775807"),
        ("9" * 20, "and must be from"),
        ("9" * 5000, "not a whole number"),
    ],
)
def test_what_is_no_whole_number_is_refused(value: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        checked.integer(value, "the seed")


def test_a_rank_is_one_or_more_and_fits_its_column() -> None:
    assert checked.rank_number("1.0", "the rank") == 1
    for wrong in (0, -1, 2**31, "0"):
        with pytest.raises(InputError, match="must be from 1 to 2147483647"):
            checked.rank_number(wrong, "the rank")


@pytest.mark.parametrize(
    "value, number", [(1, 1.0), (0.5, 0.5), ("0.5", 0.5), (" -1e-3 ", -1e-3), (".5", 0.5), ("2.", 2.0)]
)
def test_a_number_is_read(value: Any, number: float) -> None:
    assert checked.finite_number(value, "the grade") == number


@pytest.mark.parametrize(
    "value", [None, "", "good", "nan", "inf", "1e999", "0x1", "1_0", math.nan, math.inf, True, [1]]
)
def test_what_is_no_finite_number_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="the grade is .*, not a finite number; write one, such as 0.5"):
        checked.finite_number(value, "the grade")


def test_yes_and_no_are_read_as_tables_write_them() -> None:
    assert all(checked.yes_or_no(each, "the tie") for each in (True, 1, 1.0, "1", "1.0", "true", "TRUE", "yes"))
    assert not any(
        checked.yes_or_no(each, "the tie") for each in (False, 0, 0.0, "0", "no", "False", None, "", math.nan)
    )
    for wrong in (2, "maybe", [], 0.5):
        with pytest.raises(InputError, match="the tie is .*, neither yes nor no"):
            checked.yes_or_no(wrong, "the tie")


def test_a_name_may_be_left_out_or_be_a_number() -> None:
    assert [checked.optional_name(each, "x") for each in (None, math.nan, "", " ann ", 7, 7.0)] == [
        "",
        "",
        "",
        "ann",
        "7",
        "7",
    ]
    for wrong in (True, ["ann"], 0.5, "\ud83d"):
        with pytest.raises(InputError, match="the rater is"):
            checked.optional_name(wrong, "the rater")


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "b/../../a.png", "..", "b/.."])
def test_a_name_that_leads_out_of_its_folder_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="the file_name is .*, which is outside of data; move it into"):
        checked.file_in(Path("data"), name, "the file_name")


def test_a_name_below_its_folder_is_a_file_there() -> None:
    assert checked.file_in(Path("data"), "./b//a..png", "the file_name") == Path("data/b/a..png")


@pytest.mark.parametrize(
    "row, prompt",
    [
        ({"text": "c", "caption": "b", "prompt": "a"}, "a"),
        ({"text": "c", "Caption": "b"}, "b"),
        ({" TEXT ": "c"}, "c"),
        ({"prompt": None, "text": "c"}, "c"),
        ({"prompt": math.nan, "caption": "", "text": "c"}, "c"),
    ],
)
def test_the_prompt_is_the_first_column_of_its_names_that_is_not_empty(row: dict[str, Any], prompt: str) -> None:
    assert checked.prompt_in(row) == checked.optional_prompt(row) == prompt


def test_a_row_without_a_prompt_says_what_it_has() -> None:
    with pytest.raises(InputError, match="no prompt or caption or text among words, id; give the prompt such a name"):
        checked.prompt_in({"words": "a", "id": 1})
    with pytest.raises(InputError, match="the caption is blank"):
        checked.prompt_in({"caption": " ", "id": 1})
    assert checked.optional_prompt({"words": "a"}) == checked.optional_prompt({"prompt": None}) == ""
