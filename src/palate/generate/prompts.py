"""Prompt sets: a file in one of the usual formats, a folder of images, the user's own code, or a built-in name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palate.core.errors import InputError, nearest
from palate.core.plugins import plugins
from palate.core.user_code import is_user_code
from palate.generate.user_prompts import user_prompts
from palate.records import checked
from palate.records.image_folder import METADATA, metadata_rows
from palate.records.table_files import TABLE_ENDINGS, ending, read_table, read_text

_LINE_END = re.compile(r"\r\n|\n|\r")
"""The line ends of a text file. Python's `splitlines` also splits at characters inside prompts, such as U+2028."""


def load_prompts(source: str | Path, limit: int | None = None) -> list[str]:
    """The prompts of a set, in order, each once.

    Args:
        source: a name that a plug-in provides, such as `seen` and `unseen` (captions of the tiny world that its models
            were, or were not, pretrained on); `python:<module>:<name>`, see `user_prompts`; or a file: `.txt` with one
            prompt per line, `.csv`, `.tsv`, `.jsonl` or `.json` with the prompt in the column `prompt`, `caption` or
            `text` (in upper or lower case), `.json` with a list of texts, or `.gz` of any of these; or a folder of
            images, such as a run of `palate caption`, whose metadata has such a column.
        limit: the largest number of prompts; the first ones are taken.

    Raises:
        InputError: there is no such set, its format is unknown, or it has no such column or no prompt.
    """
    if is_user_code(str(source)):
        return user_prompts(str(source))[:limit]
    built_in = plugins().prompts
    if str(source) in built_in:
        return list(built_in[str(source)]())[:limit]
    path = Path(source).expanduser()
    if not path.exists() and not path.suffix:
        names, kinds = ", ".join(sorted(built_in)), ", ".join((".txt", *TABLE_ENDINGS))
        fix = f"give a built-in name ({names}), a file ({kinds}) or a folder of images with {METADATA}"
        raise InputError(f"no prompt set named {str(source)!r}{nearest(str(source), built_in)}; {fix}")
    prompts = [prompt.strip() for name, row in _rows(path) if (prompt := _prompt_of(row, name))]
    if not prompts and path.is_dir():
        raise InputError(f"the folder {path} has no {METADATA} with prompts; `palate caption` writes them for images")
    if not prompts:
        raise InputError(f"the prompt file {path} has no prompts in it; write one prompt per line")
    return list(dict.fromkeys(prompts))[:limit]


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Each row with a name for error messages."""
    if path.is_dir():
        yield from ((row.name, row.values) for row in metadata_rows(path))
    elif ending(path) == ".txt":
        for number, line in enumerate(_LINE_END.split(read_text(path, "prompt file")), 1):
            yield f"line {number} of {path}", line
    else:
        yield from read_table(path, "prompt file")


def _prompt_of(row: Any, name: str) -> str:
    """The prompt of one row, which is the prompt itself or has it in a column; "" for a row without a prompt.

    Raises:
        InputError: it is not a text, or there is no column for it.
    """
    if not isinstance(row, dict):
        row = {"prompt": row}
    if not checked.prompt_columns(row):
        raise InputError(f"{name} has no prompt column, only {', '.join(map(str, row))}; name one of them 'prompt'")
    try:
        return checked.optional_prompt(row)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
