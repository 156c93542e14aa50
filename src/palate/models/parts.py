"""The folders of a pipeline's parts: what each holds, by its files and not by the name of its class.

Nothing here imports torch: a missing or damaged file is refused before anything is loaded.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palate.core.errors import InputError

PLAIN = ""
"""The weights that diffusers loads where no variant is asked for."""
WEIGHTS_NAME = re.compile(
    r"(?:diffusion_pytorch_model|model)(?:\.(?P<variant>[^.-]+))?(?:-\d{5}-of-\d{5})?(?:\.(?P<old>[^.]+))?\.safetensors"
)
"""`model.safetensors`, `model.fp16.safetensors`, `model.fp16-00001-of-00002.safetensors`, and the older
`model-00001-of-00002.fp16.safetensors`."""
OTHERS = ("scheduler_config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")
"""What the folder of a part without weights has: a scheduler, a tokenizer, a processor of images."""
UNSUPPORTED = ("dora_scale", "bundle_emb.")
"""In the names of a LoRA's tensors, what diffusers reads without applying it: kohya's DoRA, and embeddings of new
words."""
PREFERRED = ("fp16", "bf16")
"""Which variant is taken first, where there are several and the plain weights are missing."""


def read_json(path: Path) -> dict[str, Any]:
    """The content of a json file of a model.

    Raises:
        InputError: it cannot be read.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"could not read {path}: {error}; the model folder is damaged, fetch it again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no json object; the model folder is damaged, fetch it again")
    return content


def has_weights(part: Path) -> bool:
    """Whether a part's folder is that of a network: it has a `config.json` and describes nothing else."""
    return (part / "config.json").is_file() and not any((part / other).is_file() for other in OTHERS)


def variants(part: Path) -> dict[str, list[Path]]:
    """The safetensors files of a network by the variant that they are of; `PLAIN` for those of none."""
    found: dict[str, list[Path]] = {}
    for file in sorted(part.glob("*.safetensors")):
        if match := WEIGHTS_NAME.fullmatch(file.name):
            found.setdefault(match["variant"] or match["old"] or PLAIN, []).append(file)
    return found


def choose_variant(folder: Path, parts: Mapping[str, str]) -> str | None:
    """The variant to load a pipeline by; None where every network has plain weights.

    Args:
        folder: of the pipeline.
        parts: the classes of the parts that are needed, by name.

    Raises:
        InputError: parts lack plain weights and share no variant.
    """
    found = {name: set(variants(folder / name)) for name in parts if has_weights(folder / name)}
    lacking = {name: kinds for name, kinds in found.items() if kinds and PLAIN not in kinds}
    if not lacking:
        return None
    shared = set.intersection(*lacking.values())
    if not shared:
        shown = ", ".join(f"{name} as {' and '.join(sorted(kinds))}" for name, kinds in lacking.items())
        raise InputError(f"the parts of the model in {folder} share no variant of their weights: {shown}")
    return min(shared, key=lambda kind: (PREFERRED.index(kind) if kind in PREFERRED else len(PREFERRED), kind))


def check_part(folder: Path, name: str, kind: str, variant: str | None) -> None:
    """Checks one part of a pipeline.

    Args:
        folder: of the pipeline.
        name: of the part.
        kind: its class, for the message.
        variant: of the weights that are to be loaded, where the part has it.

    Raises:
        InputError: the part is not there, or one of its files is missing or damaged; names it.
    """
    part, whose = folder / name, f"the part {name!r} ({kind}) of the model in {folder}"
    if not part.is_dir():
        raise InputError(f"the model in {folder} lacks its part {name!r} ({kind}); fetch or save the model again")
    weights = variants(part)
    if not (part / "config.json").is_file():
        if weights:
            raise InputError(f"{whose} lacks config.json; fetch it again")
        if not any(part.glob("*.json")) and not any(part.glob("*.model")):
            raise InputError(f"{whose} has neither config.json nor {', '.join(OTHERS)}; fetch it again")
    elif has_weights(part) and not weights:
        pickled = any(part.glob("*.bin"))
        fix = "has pickled weights only; save it with safe_serialization=True" if pickled else "has no weights"
        raise InputError(f"{whose} {fix}; expected *.safetensors")
    elif weights:
        _check_files(part, weights, variant if variant in weights else PLAIN)


def check_weights(file: Path) -> dict[str, Any]:
    """Holds the length of a safetensors file against its header.

    Returns:
        What the header says of each tensor, by name.

    Raises:
        InputError: it is no readable safetensors file, or cut short.
    """
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        struct.error,
        MemoryError,
        OverflowError,
    ) as error:
        raise InputError(f"{file} is no readable safetensors file ({error}); fetch it again") from error
    if file.stat().st_size != 8 + length + end:
        size = file.stat().st_size
        raise InputError(f"{file} is cut short: {size} bytes, {8 + length + end} by its header; fetch it again")
    return header


def check_lora(file: Path) -> list[str]:
    """The names of a LoRA's tensors.

    Raises:
        InputError: as of `check_weights`; or a tensor that diffusers would read and not apply.
    """
    names = list(check_weights(file))
    if unused := [name for name in names if any(part in name for part in UNSUPPORTED)]:
        raise InputError(f"{file} cannot be used whole: diffusers does not apply {unused[0]!r}; export it without that")
    return names


def _check_files(part: Path, weights: Mapping[str, list[Path]], variant: str) -> None:
    """The files of one variant: each readable, and every shard there that their index names."""
    here = {file.name for file in weights.get(variant, [])}
    ending = f".index.{variant}.json" if variant else ".index.json"
    for index in sorted(part.glob(f"*.safetensors{ending}")):
        shards = set(read_json(index).get("weight_map", {}).values())
        if missing := sorted(shards - here):
            raise InputError(f"{part} lacks {missing[0]}, one of {len(shards)} files that {index.name} names")
    for file in weights.get(variant, []):
        check_weights(file)
