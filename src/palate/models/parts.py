"""Checks the folders of a pipeline's parts: what a part contains is recognised by its files, not by its class name.

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
from palate.models.lora_file import CARD

PLAIN = ""
"""The variant of the weights that diffusers loads by default, without a variant in the file name."""
WEIGHTS_NAME = re.compile(
    r"(?:diffusion_pytorch_model|model)(?:\.(?P<variant>[^.-]+))?(?:-\d{5}-of-\d{5})?(?:\.(?P<old>[^.]+))?\.safetensors"
)
"""`model.safetensors`, `model.fp16.safetensors`, `model.fp16-00001-of-00002.safetensors`, and the older
`model-00001-of-00002.fp16.safetensors`."""
OTHERS = ("scheduler_config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")
"""Files in the folders of parts without weights: a scheduler, a tokenizer, an image processor."""
UNSUPPORTED = ("dora_scale", "bundle_emb.", ".hada_w", ".oft_")
"""Parts of the names of LoRA tensors that diffusers does not apply: kohya's DoRA, embeddings of new words, LoHa and
OFT."""
PREFERRED = ("fp16", "bf16")
"""The order of preference among several variants if the plain weights are missing."""


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file of a model.

    Raises:
        InputError: it cannot be read.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"could not read {path}: {error}; the model folder is damaged, fetch it again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a JSON object; the model folder is damaged, fetch it again")
    return content


def read_card(folder: Path) -> dict[str, Any]:
    """The `palate.json` in the folder of a model or a LoRA; empty where there is none, and for a file."""
    return read_json(folder / CARD) if (folder / CARD).is_file() else {}


def has_weights(part: Path) -> bool:
    """Whether a part's folder is that of a network: it has a `config.json` and none of the `OTHERS`."""
    return (part / "config.json").is_file() and not any((part / other).is_file() for other in OTHERS)


def variants(part: Path) -> dict[str, list[Path]]:
    """The safetensors files of a network by their variant; `PLAIN` for files without one."""
    found: dict[str, list[Path]] = {}
    for file in sorted(part.glob("*.safetensors")):
        if match := WEIGHTS_NAME.fullmatch(file.name):
            found.setdefault(match["variant"] or match["old"] or PLAIN, []).append(file)
    return found


def choose_variant(folder: Path, parts: Mapping[str, str]) -> str | None:
    """The variant with which to load a pipeline; None if every network has plain weights.

    Args:
        folder: folder of the pipeline.
        parts: the classes of the needed parts, by name.

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
        folder: folder of the pipeline.
        name: name of the part.
        kind: its class, for the message.
        variant: the variant of the weights that will be loaded, if the part has it.

    Raises:
        InputError: the part does not exist, or one of its files is missing or damaged; the message names it.
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
    """Compares the length of a safetensors file with its header.

    Returns:
        The header's entry of each tensor, by name.

    Raises:
        InputError: it is not a readable safetensors file, or it is truncated.
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
        raise InputError(f"{file} is not a readable safetensors file ({error}); fetch it again") from error
    if file.stat().st_size != 8 + length + end:
        size = file.stat().st_size
        raise InputError(f"{file} is truncated: {size} bytes instead of {8 + length + end}; fetch it again")
    return header


def check_lora(file: Path) -> list[str]:
    """The names of a LoRA's tensors.

    Raises:
        InputError: see `check_weights`; or diffusers would read a tensor and not apply it.
    """
    names = list(check_weights(file))
    if unused := [name for name in names if any(part in name for part in UNSUPPORTED)]:
        raise InputError(f"{file} cannot be used whole: diffusers does not apply {unused[0]!r}; export it without that")
    return names


def lora_settings(file: Path) -> dict[str, Any]:
    """Peft's settings of a LoRA by `<part>.<setting>`, such as `unet.lora_alpha`; empty where its file has none."""
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        entries = json.loads(stream.read(length)).get("__metadata__", {})
    return json.loads(entries.get("lora_adapter_metadata", "{}"))


def _check_files(part: Path, weights: Mapping[str, list[Path]], variant: str) -> None:
    """Checks the files of one variant: each is readable, and every shard that their index names exists."""
    here = {file.name for file in weights.get(variant, [])}
    ending = f".index.{variant}.json" if variant else ".index.json"
    for index in sorted(part.glob(f"*.safetensors{ending}")):
        shards = set(read_json(index).get("weight_map", {}).values())
        if missing := sorted(shards - here):
            raise InputError(f"{part} lacks {missing[0]}, one of {len(shards)} files that {index.name} names")
    for file in weights.get(variant, []):
        check_weights(file)
