"""Checks of the values in a row of a user's table, shared by all readers: text, numbers, yes or no, file names.

Each function takes a value and its description for the user, such as `"the prompt"`. It returns the value in the right
type, or raises an `InputError` that says what the value is and what it should be.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from palate.core.errors import InputError
from palate.core.values import shown

Check: TypeAlias = Callable[[Any, str], Any]
"""A function such as those below: from a value and its description to the checked value."""
PROMPTS = ("prompt", "caption", "text")
"""The names that the column of prompts may have, in upper or lower case; the first one found is used."""
LOWEST, HIGHEST = -(2**63), 2**63 - 1
"""The range of whole numbers that tables and databases can store."""
_EXACT = 2**53  # above it, a floating-point number has lost the last digits of a whole one
_DIGITS = re.compile(r"[+-]?[0-9]{1,20}(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_YES, _NO = ("true", "yes"), ("false", "no")


def missing(value: Any) -> bool:
    """Whether a cell is empty: null, NaN or blank text."""
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or (isinstance(value, str) and not value.strip())
    )


def text(value: Any, what: str) -> str:
    """Text that is not blank and that every file and database can store."""
    if isinstance(value, str) and value.strip():
        return storable_text(value, what)
    raise InputError(f"{what} is {_kind(value)}, not text; fill it in, or leave the row out")


def storable_text(value: str, what: str) -> str:
    """Text without a NUL character and without a lone surrogate (one half of a surrogate pair)."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = f"{ord(value[error.start]):04x}"
        raise InputError(f"{what} is {shown(value)}, which has a lone surrogate, \\u{half}; remove it") from error
    if "\0" in value:
        raise InputError(f"{what} is {shown(value)}, which contains a NUL character; remove it")
    return value


def optional_name(value: Any, what: str) -> str:
    """An optional name, such as a rater's: text, or a whole number as text; "" where the cell is empty."""
    if missing(value):
        return ""
    return str(integer(value, what)) if _is_number(value) else text(value, what).strip()


def integer(value: Any, what: str, least: int = LOWEST, most: int = HIGHEST) -> int:
    """A whole number within limits, given as an integer, as a float such as 2.0, or as text of either."""
    number = _whole(value)
    if number is None:
        raise InputError(f"{what} is {_kind(value)}, not a whole number; write one, such as 1")
    if not least <= number <= most:
        raise InputError(f"{what} is {shown(number)}, and must be from {least} to {most}")
    return number


def rank_number(value: Any, what: str) -> int:
    """A rank of which 1 is best."""
    return integer(value, what, 1, 2**31 - 1)


def finite_number(value: Any, what: str) -> float:
    """A finite number, given as a number or as text."""
    given = value.strip() if isinstance(value, str) else value
    if (isinstance(given, str) and _NUMBER.fullmatch(given)) or _is_number(given):
        try:
            found = float(given)
        except OverflowError:
            found = math.inf
        if math.isfinite(found):
            return found
    raise InputError(f"{what} is {_kind(value)}, not a finite number; write one, such as 0.5")


def yes_or_no(value: Any, what: str) -> bool:
    """Whether a cell says yes: true, yes or 1; an empty one says no."""
    word = value.strip().lower() if isinstance(value, str) else value
    if missing(value) or word is False or word in _NO or _whole(value) == 0:
        return False
    if word is True or word in _YES or _whole(value) == 1:
        return True
    raise InputError(f"{what} is {_kind(value)}, neither yes nor no; write 1 or 0")


def file_in(folder: Path, value: Any, what: str) -> Path:
    """The path of a file below a folder, from its name in a table.

    A name that leads out of the folder is refused, so that a table from somebody else cannot name other files of this
    machine. Links in the folder are followed, as in the cache of a hub.
    """
    name = Path(text(value, what))
    if name.is_absolute() or ".." in name.parts:
        raise InputError(f"{what} is {shown(value)}, which is outside of {folder}; move it into that folder")
    return folder / name


def prompt_in(row: Mapping[str, Any], fix: str = "give the prompt such a name") -> str:
    """The prompt of a row, by the first of `PROMPTS` that is among its columns and not empty.

    Args:
        fix: the advice in the error when there is no such column.
    """
    found = prompt_columns(row)
    if not found:
        raise InputError(f"no {' or '.join(PROMPTS)} among {_listed(row)}; {fix}")
    name, value = next(
        ((name, value) for name, value in found.items() if not missing(value)), next(iter(found.items()))
    )
    return text(value, f"the {name}")


def optional_prompt(row: Mapping[str, Any]) -> str:
    """The prompt of a row; "" where it has no such column, or all such columns are empty."""
    return "" if all(map(missing, prompt_columns(row).values())) else prompt_in(row)


def prompt_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """The cells of a row that may be its prompt, by column name, in the order of `PROMPTS`."""
    named = {str(name).strip().lower(): (str(name), value) for name, value in row.items()}
    return dict(named[each] for each in PROMPTS if each in named)


def cells(row: Mapping[str, Any], needed: Mapping[str, Check]) -> dict[str, Any]:
    """The row, with the values of some of its cells checked and converted.

    Args:
        needed: the check of each of these cells, by the name of the column.

    Raises:
        InputError: a column is missing, or a cell has another type; the message names the column.
    """
    if absent := [name for name in needed if name not in row]:
        raise InputError(f"no {' and no '.join(absent)} among {_listed(row)}; write one")
    return {**row, **{name: check(row[name], f"the {name}") for name, check in needed.items()}}


def _listed(row: Mapping[str, Any]) -> str:
    return ", ".join(str(name) for name in row)[:200] or "no columns"


def _kind(value: Any) -> str:
    """How an error describes a wrong value."""
    if missing(value):
        return "blank" if isinstance(value, str) else "missing" if value is None else "NaN"
    return shown(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        value = value.strip()
        return int(value.partition(".")[0]) if _DIGITS.fullmatch(value) else None
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= _EXACT else None
    return value if _is_number(value) else None
