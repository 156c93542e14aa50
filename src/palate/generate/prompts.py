"""Prompt sets: a file in one of the usual formats, a folder of images, or a list of the tiny world by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from palate.core.errors import InputError, nearest
from palate.records.image_folder import METADATA, metadata_rows
from palate.records.tables import ENDINGS, ending, read_table, read_text
from palate.world.grammar import seen_prompts, unseen_prompts

BUILT_IN: dict[str, Callable[[], list[str]]] = {"seen": seen_prompts, "unseen": unseen_prompts}
COLUMNS = ("prompt", "caption", "text")


def load_prompts(source: str | Path, limit: int | None = None) -> list[str]:
    """The prompts of a set, in order, each once.

    Args:
        source: `seen` or `unseen` (captions of the tiny world that its models were, or were not, pretrained on), or a
            file: `.txt` with a prompt a line, `.csv`, `.tsv`, `.jsonl` or `.json` with the prompt in the column
            `prompt`, `caption` or `text` (in any case), `.json` with a list of texts, or `.gz` of any of these; or a
            folder of images, such as a run of `palate caption`, whose `metadata.jsonl` has such a column.
        limit: take only the first so many.

    Raises:
        InputError: no such set, another format, no such column, or no prompt in it.
    """
    if str(source) in BUILT_IN:
        return BUILT_IN[str(source)]()[:limit]
    path = Path(source).expanduser()
    if not path.exists() and not path.suffix:
        names, kinds = ", ".join(sorted(BUILT_IN)), ", ".join((".txt", *ENDINGS))
        mend = f"give a built-in name ({names}), a file ({kinds}) or a folder of images with {METADATA}"
        raise InputError(f"no prompt set named {str(source)!r}{nearest(str(source), BUILT_IN)}; {mend}")
    if path.is_dir():
        prompts = [_prompt_of(row, file) for file, row in metadata_rows(path)]
    elif ending(path) == ".txt":
        prompts = read_text(path, "prompt file").splitlines()
    else:
        prompts = [_prompt_of(row, path) for row in read_table(path, "prompt file")]
    prompts = [prompt.strip() for prompt in prompts if prompt.strip()]
    if not prompts and path.is_dir():
        raise InputError(f"the folder {path} has no {METADATA} with prompts; `palate caption` writes them for images")
    if not prompts:
        raise InputError(f"the prompt file {path} has no prompts in it; write one prompt a line")
    return list(dict.fromkeys(prompts))[:limit]


def _prompt_of(row: Any, path: Path) -> str:
    """The prompt of one row: the row itself, or its first column of a known name."""
    if isinstance(row, str):
        return row
    columns = {str(name).strip().lower(): value for name, value in row.items()} if isinstance(row, dict) else {}
    found = next((name for name in COLUMNS if name in columns), None)
    if found is None:
        has = ", ".join(columns) or repr(row)[:40]
        raise InputError(f"the prompt file {path} has no prompt column, only {has}; name one of them 'prompt'")
    return str(columns[found] or "")
