"""The names of models that are made of a base and LoRAs: `BASE+LORA.safetensors:0.8+OTHER.safetensors`."""

from __future__ import annotations

from pathlib import Path

from palate.core.errors import InputError, nearest
from palate.models.lora_file import Lora, lora_files, split_weight

PLUS = "+"


def split_name(name: str) -> tuple[str, Lora] | None:
    """The base and the last LoRA of a name; None if the name is not made of both.

    A path that exists is never split, and a `+` inside the path of a LoRA that exists does not count.

    Raises:
        InputError: the name has a `+`, and nothing after one is a LoRA.
    """
    if PLUS not in name or Path(name).expanduser().exists():
        return None
    places = [place for place, character in enumerate(name) if character == PLUS]
    for place in reversed(places):
        text, weight = split_weight(name[place + 1 :])
        if name[:place] and (found := _find_lora(text)) is not None:
            return name[:place], Lora(found, weight)
    text, _ = split_weight(name[places[-1] + 1 :])
    raise InputError(f"in the model {name!r}, {_not_a_lora(text)}; write BASE+LORA.safetensors:0.8")


def absolute_name(name: str, builtin: list[str]) -> str:
    """A model's name that means the same from every folder.

    Args:
        name: as `resolve` takes it.
        builtin: names that are no paths.
    """
    if name in builtin:
        return name
    if (parts := split_name(name)) is not None:
        base, lora = parts
        return f"{absolute_name(base, builtin)}{PLUS}{Lora(lora.path.absolute(), lora.weight)}"
    path = Path(name).expanduser()
    if path.is_file():
        return str(path.absolute())  # a link keeps its name, beside which its `palate.json` is
    return str(path.resolve()) if path.exists() else name


def _find_lora(text: str) -> Path | None:
    """The LoRA at a path: a file, a folder, or a run of `palate align`."""
    path = Path(text).expanduser()
    return next((each.absolute() for each in (path, path / "model") if text and lora_files(each)), None)


def _not_a_lora(text: str) -> str:
    path = Path(text).expanduser()
    if not text:
        return "no LoRA follows the last +"
    if path.is_dir():
        return f"the folder {text} has no LoRA in the formats of diffusers or peft: name its .safetensors file"
    if path.exists():
        return f"{text} is not a .safetensors file"
    whole, _, weight = text.rpartition(":")
    if _find_lora(whole) is not None:
        return f"the weight {weight!r} of {whole} is not a number"
    siblings = (each.name for each in path.parent.iterdir()) if path.parent.is_dir() else ()
    return f"there is no LoRA {text!r}{nearest(path.name, siblings).removesuffix('?')}"
