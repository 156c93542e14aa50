"""Where a model comes from: a built-in name, a folder, a LoRA, an align run or a hub id; and whether it is whole.

Nothing here imports torch or loads weights, so a wrong name or a missing part is refused at once.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from palate.core.errors import InputError, nearest

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"
LORA_FILE = "pytorch_lora_weights.safetensors"
CARD = "palate.json"


@dataclass(frozen=True)
class ModelSource:
    """A base pipeline and the LoRAs on top of it, first to last.

    Attributes:
        base: a folder with `model_index.json`, or a hub id.
        loras: folders with `pytorch_lora_weights.safetensors`.
    """

    base: Path | str
    loras: tuple[Path, ...] = ()

    @cached_property
    def folder(self) -> Path:
        """The base pipeline on disk; a hub id is downloaded, or found in the hub's cache."""
        return self.base if isinstance(self.base, Path) else _download(self.base)

    @cached_property
    def index(self) -> dict[str, Any]:
        """The base pipeline's `model_index.json`."""
        return _read_json(self.folder / "model_index.json")

    @cached_property
    def card(self) -> dict[str, Any]:
        """What `palate.json` beside the base pipeline's index says, such as its sampling defaults; or nothing."""
        path = self.folder / CARD
        return _read_json(path) if path.exists() else {}

    def origin(self) -> ModelSource:
        """The model that this one was aligned from.

        Raises:
            InputError: nothing says so; it was not made by `palate align`.
        """
        if self.loras:
            return ModelSource(self.base, self.loras[:-1])
        if "base" in self.card:
            return resolve(self.card["base"])
        raise InputError(f"{self.base} does not say what it was aligned from; give a run of `palate align`")

    def parts(self) -> dict[str, str | None]:
        """The class name of each part of the pipeline; None for one that it goes without."""
        return {name: entry[1] for name, entry in self.index.items() if isinstance(entry, list) and len(entry) == 2}

    @property
    def network(self) -> str:
        """The part that denoises: `unet` or `transformer`."""
        return next((part for part in ("unet", "transformer") if part in self.parts()), "")

    @property
    def resolution(self) -> int:
        """Pixels a side of the pictures that the model was trained on, by its configuration."""
        cells = self.config(self.network)["sample_size"]
        return cells * 2 ** (len(self.config("vae")["block_out_channels"]) - 1)

    def config(self, part: str) -> dict[str, Any]:
        """The `config.json` of one part."""
        return _read_json(self.folder / part / "config.json")

    def check(self, without: Collection[str] = ()) -> None:
        """Raises InputError that names the first missing or broken part; `without` names parts that nobody needs."""
        for name, kind in self.parts().items():
            if kind is not None and name not in without:
                _check_part(self.folder, name, kind)
        for lora in self.loras:
            _check_weights(lora / LORA_FILE)

    def fingerprint(self, *parts: str) -> str:
        """A digest of the files of some parts, and of the LoRAs where the network is among them.

        The model's identity in caches. A file of the hub's cache is known by the digest that it is stored under.
        """
        files = [file for part in parts for file in sorted((self.folder / part).glob("*")) if file.is_file()]
        if self.network in parts:
            files += [lora / LORA_FILE for lora in self.loras]
        digest = hashlib.blake2b(digest_size=16)
        for file in files:
            digest.update(f"{file.parent.name}/{file.name}:{_file_digest(file)}\n".encode())
        return digest.hexdigest()


def builtin_models() -> list[str]:
    """Names of the pipelines that ship with the package."""
    return sorted(index.parent.name for index in WEIGHTS.glob("*/model_index.json"))


def resolve(name: str | Path) -> ModelSource:
    """Finds a model.

    Args:
        name: a built-in name; a pipeline folder; a folder with a LoRA and the `palate.json` that names its base; a run
            of `palate align`; or a hub id, `owner/name`.

    Raises:
        InputError: nothing of that name; says which built-in name is nearest.
    """
    path = Path(name).expanduser()
    if str(name) in builtin_models():
        return ModelSource(WEIGHTS / str(name))
    if (path / "model_index.json").is_file():
        return ModelSource(path.resolve())
    if (path / LORA_FILE).is_file():
        base = resolve(_base_of(path))
        return ModelSource(base.base, (*base.loras, path.resolve()))
    if (path / "model").is_dir():
        return resolve(path / "model")
    if path.exists():
        mend = (
            "give a folder with model_index.json, one with a LoRA and palate.json, or a finished run of `palate align`"
        )
        raise InputError(f"{path} holds no model: neither model_index.json nor {LORA_FILE} is in it; {mend}")
    if str(name).count("/") == 1 and not str(name).startswith((".", "/", "~")):
        return ModelSource(str(name))
    raise InputError(
        f"no model named {str(name)!r}{nearest(str(name), builtin_models())}; give a built-in name "
        f"({', '.join(builtin_models()) or 'none is installed'}), a model folder or a hub id such as owner/name"
    )


def _base_of(lora: Path) -> str:
    card = lora / CARD
    if not card.is_file():
        raise InputError(f"{lora} holds a LoRA but no {CARD} naming its base; write one: {{'base': 'owner/name'}}")
    base = _read_json(card).get("base")
    if not isinstance(base, str):
        raise InputError(f"{card} does not name the LoRA's base model; add 'base': a model name, folder or hub id")
    return base


def _download(hub_id: str) -> Path:
    from diffusers import DiffusionPipeline

    try:
        return Path(DiffusionPipeline.download(hub_id, use_safetensors=True))
    except (OSError, ValueError) as error:
        mend = "check the spelling, the network and, for a gated model, `hf auth login`"
        raise InputError(f"{hub_id!r} is no folder here, nor could the hub give it ({error}); {mend}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"could not read {path}: {error}; the model folder is damaged, fetch it again") from error
    return content


def _check_part(folder: Path, name: str, kind: str) -> None:
    part = folder / name
    if not part.is_dir():
        raise InputError(f"the model in {folder} lacks its part {name!r} ({kind}); fetch or save the model again")
    if kind.endswith(("Tokenizer", "TokenizerFast", "Processor", "FeatureExtractor")):
        found = any(part.glob("*.json"))
        expected = "its json files"
    elif "Scheduler" in kind:
        found, expected = (part / "scheduler_config.json").is_file(), "scheduler_config.json"
    else:
        found, expected = (part / "config.json").is_file(), "config.json"
        weights = sorted(part.glob("*.safetensors"))
        if found and not weights:
            pickled = any(part.glob("*.bin"))
            mend = "has pickled weights only; save it with safe_serialization=True" if pickled else "has no weights"
            raise InputError(f"the part {name!r} ({kind}) of the model in {folder} {mend}; expected *.safetensors")
        for file in weights:
            _check_weights(file)
    if not found:
        raise InputError(f"the part {name!r} ({kind}) of the model in {folder} lacks {expected}; fetch it again")


def _check_weights(file: Path) -> None:
    """Reads a safetensors header and holds the file's length against it."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    except (OSError, ValueError, KeyError, struct.error, MemoryError, OverflowError) as error:
        raise InputError(f"{file} is no readable safetensors file ({error}); fetch it again") from error
    if file.stat().st_size != 8 + length + end:
        size = file.stat().st_size
        raise InputError(f"{file} is cut short: {size} bytes, {8 + length + end} by its header; fetch it again")


def _file_digest(file: Path) -> str:
    if file.is_symlink() and file.resolve().parent.name == "blobs":
        return file.resolve().name
    found = file.stat()
    return _content_digest(file, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=1024)
def _content_digest(file: Path, size: int, changed: int) -> str:
    """Of a file of a size, changed at a time [ns]: a run asks for a model's several times, and reads it once."""
    digest = hashlib.blake2b(digest_size=16)
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
