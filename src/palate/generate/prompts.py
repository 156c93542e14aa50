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
"""Of a text file. Python's own `splitlines` also ends lines at characters that prompts have inside, such as U+2028."""


def load_prompts(source: str | Path, limit: int | None = None) -> list[str]:
    """The prompts of a set, in order, each once.

    Args:
        source: a name that a plug-in brings, such as `seen` and `unseen` (captions of the tiny world that its models
            were, or were not, pretrained on); `python:<module>:<name>`, as of `user_prompts`; or a file: `.txt` with a
            prompt a line, `.csv`, `.tsv`, `.jsonl` or `.json` with the prompt in the column `prompt`, `caption` or
            `text` (in any case), `.json` with a list of texts, or `.gz` of any of these; or a folder of images, such as
            a run of `palate caption`, whose metadata has such a column.
        limit: take only the first so many.

    Raises:
        InputError: no such set, another format, no such column, or no prompt in it.
    """
    if is_user_code(str(source)):
        return user_prompts(str(source))[:limit]
    built_in = plugins().prompts
    if str(source) in built_in:
        return list(built_in[str(source)]())[:limit]
    path = Path(source).expanduser()
    if not path.exists() and not path.suffix:
        names, kinds = ", ".join(sorted(built_in)), ", ".join((".txt", *TABLE_ENDINGS))
        mend = f"give a built-in name ({names}), a file ({kinds}) or a folder of images with {METADATA}"
        raise InputError(f"no prompt set named {str(source)!r}{nearest(str(source), built_in)}; {mend}")
    prompts = [prompt.strip() for name, row in _rows(path) if (prompt := _prompt_of(row, name))]
    if not prompts and path.is_dir():
        raise InputError(f"the folder {path} has no {METADATA} with prompts; `palate caption` writes them for images")
    if not prompts:
        raise InputError(f"the prompt file {path} has no prompts in it; write one prompt a line")
    return list(dict.fromkeys(prompts))[:limit]


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Each row with a name for errors."""
    if path.is_dir():
        yield from ((row.name, row.values) for row in metadata_rows(path))
    elif ending(path) == ".txt":
        for number, line in enumerate(_LINE_END.split(read_text(path, "prompt file")), 1):
            yield f"line {number} of {path}", line
    else:
        yield from read_table(path, "prompt file")


def _prompt_of(row: Any, name: str) -> str:
    """The prompt of one row, which is it or has it in a column; "" of a row without one.

    Raises:
        InputError: it is no text, or there is no column for it.
    """
    if not isinstance(row, dict):
        row = {"prompt": row}
    if not checked.prompt_columns(row):
        raise InputError(f"{name} has no prompt column, only {', '.join(map(str, row))}; name one of them 'prompt'")
    try:
        return checked.optional_prompt(row)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
