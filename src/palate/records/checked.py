"""What a row that somebody wrote may hold, asked in one place for all readers: text, numbers, yes or no, a file's name.

Each function takes a value, and what it is to the user, such as `"the prompt"`. It returns the value in its type, or
raises an `InputError` that says what the value is and what it should be.
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
"""One of the functions below, or another like them."""
PROMPTS = ("prompt", "caption", "text")
"""Names of a prompt's column, in any case; the first that there is counts."""
LOWEST, HIGHEST = -(2**63), 2**63 - 1
"""The whole numbers that tables and databases hold."""
_EXACT = 2**53  # above it, a floating-point number has lost the last digits of a whole one
_DIGITS = re.compile(r"[+-]?[0-9]{1,20}(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_YES, _NO = ("true", "yes"), ("false", "no")


def missing(value: Any) -> bool:
    """Whether a cell is empty, in one of the ways of tables: null, NaN or blank text."""
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or (isinstance(value, str) and not value.strip())
    )


def text(value: Any, what: str) -> str:
    """Text that is not blank and that every file and database can hold."""
    if isinstance(value, str) and value.strip():
        return storable_text(value, what)
    raise InputError(f"{what} is {_kind(value)}, not text; fill it in, or leave the row out")


def storable_text(value: str, what: str) -> str:
    """Text without a NUL and without half a character: a surrogate that lacks its other half."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = f"{ord(value[error.start]):04x}"
        raise InputError(f"{what} is {shown(value)}, which has half a character, \\u{half}; write it whole") from error
    if "\0" in value:
        raise InputError(f"{what} is {shown(value)}, which has a NUL in it; take it out")
    return value


def optional_name(value: Any, what: str) -> str:
    """A name that need not be there, such as a rater's: text, or a whole number as text; "" where the cell is empty."""
    if missing(value):
        return ""
    return str(integer(value, what)) if _is_number(value) else text(value, what).strip()


def integer(value: Any, what: str, least: int = LOWEST, most: int = HIGHEST) -> int:
    """A whole number within limits: as such, as 2.0, or as text of either."""
    number = _whole(value)
    if number is None:
        raise InputError(f"{what} is {_kind(value)}, no whole number; write one, such as 1")
    if not least <= number <= most:
        raise InputError(f"{what} is {shown(number)}, and must be from {least} to {most}")
    return number


def rank_number(value: Any, what: str) -> int:
    """A rank of which 1 is best."""
    return integer(value, what, 1, 2**31 - 1)


def finite_number(value: Any, what: str) -> float:
    """A finite number, or text of one."""
    given = value.strip() if isinstance(value, str) else value
    if (isinstance(given, str) and _NUMBER.fullmatch(given)) or _is_number(given):
        try:
            found = float(given)
        except OverflowError:
            found = math.inf
        if math.isfinite(found):
            return found
    raise InputError(f"{what} is {_kind(value)}, no finite number; write one, such as 0.5")


def yes_or_no(value: Any, what: str) -> bool:
    """Whether a cell says yes: true, yes or 1; an empty one says no."""
    word = value.strip().lower() if isinstance(value, str) else value
    if missing(value) or word is False or word in _NO or _whole(value) == 0:
        return False
    if word is True or word in _YES or _whole(value) == 1:
        return True
    raise InputError(f"{what} is {_kind(value)}, neither yes nor no; write 1 or 0")


def file_in(folder: Path, value: Any, what: str) -> Path:
    """The file that a name below a folder names.

    A name that leads out of the folder is refused: a table that somebody else wrote names no file of this machine.
    Links in the folder are followed, as in the cache of a hub.
    """
    name = Path(text(value, what))
    if name.is_absolute() or ".." in name.parts:
        raise InputError(f"{what} is {shown(value)}, which lies outside of {folder}; move it there, and name it so")
    return folder / name


def prompt_in(row: Mapping[str, Any], fix: str = "give the prompt such a name") -> str:
    """The prompt of a row, by the first of `PROMPTS` that is among its columns and not empty.

    Args:
        fix: what the error that there is none advises.
    """
    found = prompt_columns(row)
    if not found:
        raise InputError(f"no {' or '.join(PROMPTS)} among {_listed(row)}; {fix}")
    name, value = next(
        ((name, value) for name, value in found.items() if not missing(value)), next(iter(found.items()))
    )
    return text(value, f"the {name}")


def optional_prompt(row: Mapping[str, Any]) -> str:
    """The prompt of a row; "" where it has no such column, or all are empty."""
    return "" if all(map(missing, prompt_columns(row).values())) else prompt_in(row)


def prompt_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """The cells of a row that may be its prompt, by the name of the column, the one that counts most first."""
    named = {str(name).strip().lower(): (str(name), value) for name, value in row.items()}
    return dict(named[each] for each in PROMPTS if each in named)


def cells(row: Mapping[str, Any], needed: Mapping[str, Check]) -> dict[str, Any]:
    """A row with some of its cells in their types.

    Args:
        needed: what each of these cells is held against, by the name of the column.

    Raises:
        InputError: a column is missing, or a cell has another type; the message names the column.
    """
    if absent := [name for name in needed if name not in row]:
        raise InputError(f"no {' and no '.join(absent)} among {_listed(row)}; write one")
    return {**row, **{name: check(row[name], f"the {name}") for name, check in needed.items()}}


def _listed(row: Mapping[str, Any]) -> str:
    return ", ".join(str(name) for name in row)[:200] or "no columns"


def _kind(value: Any) -> str:
    """A value that is wrong, and what it is."""
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
