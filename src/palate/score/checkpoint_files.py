"""Weights of scorers in files that their authors released: from a hub or a folder, pickled or safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from palate.core.errors import InputError
from palate.models.quiet import quiet_libraries

if TYPE_CHECKING:
    from torch import Tensor


def find_weights(repository: str, file: str) -> Path:
    """A file of a hub's repository, downloaded or found in the hub's cache.

    Raises:
        InputError: it cannot be reached; the message says where to get it and how to name it.
    """
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, file))
    except (OSError, ValueError) as error:
        fix = f"check the network, or download {file} of {repository} and name its path"
        raise InputError(f"cannot download {file} of {repository}: {str(error).splitlines()[0]}; {fix}") from error


def find_tokenizer(repository: str, scorer: str) -> Any:
    """The tokenizer of a hub's repository or a folder, for a scorer whose weights come without one.

    Raises:
        InputError: it cannot be reached.
    """
    from transformers import AutoTokenizer

    try:
        with quiet_libraries():
            return AutoTokenizer.from_pretrained(repository)
    except (OSError, ValueError) as error:
        fix = f"check the network, or fetch the tokenizer of {repository} into the hub's cache"
        raise InputError(f"cannot load the tokenizer of {scorer}: {str(error).splitlines()[0]}; {fix}") from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by their names, those below `state_dict` or `model` if it has such an entry.

    A pickled file is read with torch's restricted unpickler, which runs no code.

    Raises:
        InputError: it does not exist, is damaged or holds something else than tensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}; name a file with weights") from error
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError) as error:
        raise InputError(f"{path} is not a file of weights: {str(error).splitlines()[0]}; fetch it again") from error
    except Exception as error:  # the unpickler raises errors of its own
        raise InputError(f"{path} holds more than weights, so it is not opened: {type(error).__name__}") from error
    for entry in ("state_dict", "model"):
        found = found[entry] if isinstance(found, dict) and isinstance(found.get(entry), dict) else found
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise InputError(f"{path} has no named tensors; name a file with the weights of this scorer")
    return found


def require_names(path: Path, tensors: dict[str, Tensor], wanted: set[str]) -> None:
    """Raises InputError, which names one, unless a file has all wanted tensors."""
    if lacking := sorted(wanted - tensors.keys()):
        what = f"{len(lacking)} tensors of this scorer, such as {lacking[0]!r}"
        raise InputError(f"{path} lacks {what}; name a file with its weights")
