"""Prompts of the user's own: `python:my_module:prompts`, a list of texts or a function that returns one."""

from __future__ import annotations

from collections.abc import Iterable

from palate.core.errors import InputError
from palate.core.user_code import explain_user_errors, load_user_code, make_user_object


def user_prompts(spec: str) -> list[str]:
    """The prompts that a spec names, in order, each once, without white space around them.

    Raises:
        InputError: see `load_user_code` and `make_user_object`; or it does not give texts, or gives none.
    """
    found = load_user_code(spec)
    found = make_user_object(spec) if callable(found) else found
    if isinstance(found, str) or not isinstance(found, Iterable):
        raise InputError(f"{spec} gives {type(found).__name__}, and must give a list of texts")
    with explain_user_errors(spec):
        prompts = list(found)
    for number, prompt in enumerate(prompts):
        if not isinstance(prompt, str):
            raise InputError(f"{spec} gives {prompt!r} as prompt {number}, and must give only texts")
    if not (stripped := [prompt.strip() for prompt in prompts if prompt.strip()]):
        raise InputError(f"{spec} gives no prompt; it must give at least one")
    return list(dict.fromkeys(stripped))
