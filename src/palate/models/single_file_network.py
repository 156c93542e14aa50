"""A network in one file of a family whose names Palate has no table of: diffusers' own loader reads it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from palate.core.errors import InputError
from palate.models.complete import expected_tensors, some
from palate.models.parts import read_json
from palate.models.tensor_files import StoredTensor

BESIDE = ("first_stage_model.", "vae.", "text_encoders.", "cond_stage_model.", "conditioner.")
"""Beginnings of the names of other parts' tensors."""


def release_of(file: Path, tensors: Mapping[str, StoredTensor]) -> str:
    """The hub id of the release whose configuration diffusers takes for a file, by its tensors' names and shapes.

    Raises:
        InputError: diffusers does not know it.
    """
    from diffusers.loaders.single_file_utils import fetch_diffusers_config

    try:
        return str(fetch_diffusers_config(_empty(tensors))["pretrained_model_name_or_path"])
    except (KeyError, IndexError, UnboundLocalError) as error:  # it looks at the shapes of tensors that may be absent
        raise InputError(f"diffusers does not know the release of {file}: it lacks {error}; fetch it again") from error


def check_network(file: Path, tensors: Mapping[str, StoredTensor], title: str, base: Path, part: str) -> None:
    """Checks a file against the configuration of its base, from its header, by diffusers' own converter.

    Args:
        file: the file.
        tensors: its tensors by name.
        title: the family, in plain words.
        base: a folder with the configuration.
        part: the network's name.

    Raises:
        InputError: the file has other parts too, which would not be used; it lacks tensors, or has some that would not
            be used; or it is of another size than its base.
    """
    from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES

    whose, kind = f"{file}, a file of {title},", _kind(base, part)
    if beside := {name for name in tensors if name.startswith(BESIDE)}:
        fix = "save it as a folder with diffusers' from_single_file and save_pretrained, and give the folder"
        raise InputError(f"{whose} has other parts beside its network, which would not be used: {some(beside)}; {fix}")
    convert: Any = SINGLE_FILE_LOADABLE_CLASSES.get(kind, {}).get("checkpoint_mapping_fn")
    if convert is None:
        raise InputError(f"{whose} has {base} as its base, whose {kind or part} diffusers does not read from one file")
    expected = expected_tensors(base, part, "diffusers", kind)
    try:
        found = convert(checkpoint=_empty(tensors), config=read_json(base / part / "config.json"))
    except (KeyError, IndexError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        fix = f"it is damaged, or not of the family of {base}"
        raise InputError(f"{whose} is not read by diffusers ({' '.join(str(error).split())[:200]}); {fix}") from error
    shapes = {name: tuple(value.shape) for name, value in found.items() if value is not None}
    if missing := expected.keys() - shapes.keys():
        raise InputError(f"{whose} lacks {len(missing)} tensors of its {part!r}: {some(missing)}; fetch it again")
    if unused := shapes.keys() - expected.keys():
        raise InputError(f"{whose} has {len(unused)} tensors that would not be used: {some(unused)}; name another base")
    if wrong := {name for name, shape in expected.items() if shapes[name] != shape}:
        fix = f"its base {base} is a model of another size; name a fitting one"
        raise InputError(f"{whose} has {len(wrong)} tensors of other shapes: {some(wrong)}; {fix}")


def load_network(file: Path, base: Path, part: str) -> Any:
    """The network of a file that was checked, in the precision of the file."""
    import torch

    from palate.models.load import quiet_libraries

    cls: Any = getattr(import_module("diffusers"), _kind(base, part))
    with quiet_libraries(), torch.random.fork_rng(devices=[]):
        return cls.from_single_file(str(file), config=str(base), subfolder=part, local_files_only=True)


def _kind(base: Path, part: str) -> str:
    """The class of a part; empty if the pipeline has no such part."""
    entry = read_json(base / "model_index.json").get(part)
    return str(entry[1]) if isinstance(entry, list) else ""


def _empty(tensors: Mapping[str, StoredTensor]) -> dict[str, Any]:
    """Tensors of the same shapes without memory."""
    import torch

    return {name: torch.empty(tensor.shape, device="meta") for name, tensor in tensors.items()}
