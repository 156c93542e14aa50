"""Errors for the user at a terminal: what was wrong, the value seen, and how to fix it.

The command line prints a `PalateError` as one message without a traceback. Anything else that escapes is a bug.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PalateError(Exception):
    """An error that the user can fix; its message says how."""


class InputError(PalateError):
    """A file, folder, image, model or row that was given cannot be used."""


class ConfigError(PalateError):
    """A configuration has unknown keys, missing keys or bad values; the message lists all of them."""


class RunFolderError(PalateError):
    """A run folder belongs to another run, or is not a run folder at all."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the choice closest to `word`, or `""` where none is close.

    >>> nearest("algin", ["align", "score"])
    "; did you mean 'align'?"
    """
    by_lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f"; did you mean '{by_lower[found[0]]}'?" if found else ""
