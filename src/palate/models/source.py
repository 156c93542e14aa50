"""Finds a model by a built-in name, a folder, a LoRA, an align run or a hub id, and checks that it is complete.

Nothing here imports torch or loads weights, so a wrong name or a missing part is refused at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from palate.core.errors import InputError, nearest
from palate.core.plugins import plugins
from palate.models.parts import PREFERRED, check_lora, check_part, choose_variant, read_json

LORA_FILE = "pytorch_lora_weights.safetensors"
PEFT_FILE, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""A LoRA in peft's own format, for pipelines that do not load diffusers' `LORA_FILE`."""
CARD = "palate.json"
NETWORKS = ("unet", "transformer")
VAE, SCHEDULER = "vae", "scheduler"
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
"""The parts that training never needs."""
NETWORK_KEYS = ("unet.", "transformer.", "lora_unet_", "lora_transformer_", "diffusion_model.")
TEXT_KEYS = ("text_encoder", "lora_te")
"""Prefixes of the names of LoRA tensors that belong to the network, and to text encoders: those of diffusers, kohya and
ComfyUI."""


@dataclass(frozen=True)
class ModelSource:
    """A base pipeline and the LoRAs that are added to it, in this order.

    Attributes:
        base: a folder with `model_index.json`, or a hub id.
        loras: folders with `pytorch_lora_weights.safetensors`, or with a LoRA in peft's own format.
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
        return read_json(self.folder / "model_index.json")

    @cached_property
    def card(self) -> dict[str, Any]:
        """The content of `palate.json` beside the base pipeline's index, such as sampling defaults; or empty."""
        path = self.folder / CARD
        return read_json(path) if path.exists() else {}

    @cached_property
    def timesteps(self) -> tuple[int, ...]:
        """The only timesteps at which the model is trained, from the last `palate.json` that has them; or empty.

        Raises:
            InputError: they are not whole numbers.
        """
        cards = [read_json(lora / CARD) for lora in reversed(self.loras) if (lora / CARD).exists()]
        found = next((card["timesteps"] for card in (*cards, self.card) if "timesteps" in card), [])
        if not isinstance(found, list) or not all(type(each) is int for each in found):
            raise InputError(f"the timesteps in the {CARD} of {self.base} are {found!r}; give a list, [249, 499]")
        return tuple(found)

    def origin(self) -> ModelSource:
        """The model from which this one was aligned.

        Raises:
            InputError: it is unknown, because this model was not made by `palate align`.
        """
        if self.loras:
            return ModelSource(self.base, self.loras[:-1])
        if "base" in self.card:
            return resolve(self.card["base"])
        raise InputError(f"the model from which {self.base} was aligned is unknown; give a run of `palate align`")

    @property
    def family(self) -> str:
        """The class of the base pipeline."""
        return str(self.index.get("_class_name", "nothing"))

    def parts(self) -> dict[str, str | None]:
        """The class name of each part of the pipeline; None for a part that this pipeline does not have."""
        return {name: entry[1] for name, entry in self.index.items() if isinstance(entry, list) and len(entry) == 2}

    @property
    def network(self) -> str:
        """The part that denoises: `unet` or `transformer`."""
        return next((part for part in NETWORKS if part in self.parts()), "")

    def readers(self) -> list[str]:
        """The parts that turn a prompt into the network's input, such as text encoders and tokenizers."""
        others = {self.network, VAE, SCHEDULER, *UNUSED}
        return [name for name, kind in self.parts().items() if kind is not None and name not in others]

    def encoders(self) -> list[str]:
        """The parts that training needs only until latents and embeddings are cached."""
        return [VAE, *self.readers()]

    def config(self, part: str) -> dict[str, Any]:
        """The `config.json` of one part."""
        return read_json(self.folder / part / "config.json")

    def variant(self, without: Collection[str] = ()) -> str | None:
        """The variant of the weights to load, such as `fp16`; None if all parts have plain weights.

        Raises:
            InputError: parts lack plain weights and share no variant.
        """
        return choose_variant(self.folder, self._needed(without))

    def check(self, without: Collection[str] = ()) -> None:
        """Raises InputError, which names the part, if a part is missing or damaged; parts in `without` are skipped."""
        needed = self._needed(without)
        variant = choose_variant(self.folder, needed)
        for name, kind in needed.items():
            check_part(self.folder, name, kind, variant)
        for lora in self.loras:
            check_lora(lora_files(lora)[0])

    def fingerprint(self, *parts: str) -> str:
        """A digest of the files of some parts, and of each LoRA that changes one of them.

        It identifies these parts in caches. For a file in the hub's cache it uses the digest under which the hub stores
        it. For the parts that read prompts it includes the options in the pipeline's index, because SDXL's
        `force_zeros_for_empty_prompt` changes their result.
        """
        files = [file for part in parts for file in sorted((self.folder / part).glob("*")) if file.is_file()]
        files += [file for lora in self.loras if self._changes(lora, parts) for file in lora_files(lora)]
        options = {name: value for name, value in self.index.items() if isinstance(value, bool)}
        return _digest(files, "" if set(parts).isdisjoint(self.readers()) else json.dumps(options, sort_keys=True))

    def identity(self) -> str:
        """A digest of everything that generated images depend on: parts, index, `palate.json` and LoRAs."""
        root = [file for file in (self.folder / "model_index.json", self.folder / CARD) if file.is_file()]
        return f"{_digest(root)}{self.fingerprint(*self.parts())}"

    def _needed(self, without: Collection[str]) -> dict[str, str]:
        return {name: kind for name, kind in self.parts().items() if kind is not None and name not in without}

    def _changes(self, lora: Path, parts: Collection[str]) -> bool:
        """Whether a LoRA may change one of some parts; a tensor of unknown name may belong to any part but the VAE."""
        file = lora_files(lora)[0]
        if file.name == PEFT_FILE:
            return self.network in parts
        names = check_lora(file)
        readers = not set(parts).isdisjoint(self.readers())
        return any(
            (self.network in parts and not name.startswith(TEXT_KEYS))
            or (readers and not name.startswith(NETWORK_KEYS))
            for name in names
        )


def lora_files(folder: Path) -> list[Path]:
    """The files of the LoRA in a folder, that of its tensors first; empty if there is none."""
    if (folder / LORA_FILE).is_file():
        return [folder / LORA_FILE]
    found = [folder / PEFT_FILE, folder / PEFT_CONFIG]
    return found if all(file.is_file() for file in found) else []


def builtin_models() -> list[str]:
    """The names of the pipelines that plug-ins provide."""
    return sorted(name for name, folder in plugins().models.items() if (folder / "model_index.json").is_file())


def resolve(name: str | Path, above: tuple[Path, ...] = ()) -> ModelSource:
    """Finds a model.

    Args:
        name: a built-in name; a pipeline folder; a folder with a LoRA and the `palate.json` that names its base; a run
            of `palate align`; or a hub id, `owner/name`.
        above: the LoRAs whose base this model is, directly or indirectly.

    Raises:
        InputError: there is no such model; the message gives the nearest built-in name. Or LoRAs are each other's base.
    """
    path = Path(name).expanduser()
    if str(name) in builtin_models():
        return ModelSource(plugins().models[str(name)])
    if (path / "model_index.json").is_file():
        return ModelSource(path.resolve())
    if lora_files(path):
        if path.resolve() in above:
            raise InputError(f"by the {CARD} in {above[-1]}, the LoRA in {path} is its own base; name another base")
        base = resolve(_base_of(path), (*above, path.resolve()))
        return ModelSource(base.base, (*base.loras, path.resolve()))
    if (path / "model").is_dir():
        return resolve(path / "model", above)
    if path.exists():
        fix = (
            "give a folder with model_index.json, one with a LoRA and palate.json, or a finished run of `palate align`"
        )
        missing = f"neither model_index.json nor {LORA_FILE}, nor {PEFT_FILE} with {PEFT_CONFIG}"
        raise InputError(f"{path} is not a model: it has {missing}; {fix}")
    if str(name).count("/") == 1 and not str(name).startswith((".", "/", "~")):
        return ModelSource(str(name))
    raise InputError(
        f"no model named {str(name)!r}{nearest(str(name), builtin_models())}; give a built-in name "
        f"({', '.join(builtin_models()) or 'none is installed'}), a model folder or a hub id such as owner/name"
    )


def _base_of(lora: Path) -> str:
    card = lora / CARD
    if not card.is_file():
        raise InputError(f"{lora} has a LoRA but no {CARD} that names its base; write one: {{'base': 'owner/name'}}")
    base = read_json(card).get("base")
    if not isinstance(base, str):
        raise InputError(f"{card} does not name the LoRA's base model; add 'base': a model name, folder or hub id")
    return base


def _download(hub_id: str) -> Path:
    from diffusers import DiffusionPipeline

    problem: Exception | None = None
    for variant in (None, *PREFERRED):  # some repositories have no plain weights
        try:
            return Path(DiffusionPipeline.download(hub_id, variant=variant, use_safetensors=True))
        except (OSError, ValueError) as error:
            problem = problem or error
            if "safetensors" not in str(error) and "variant" not in str(error):
                break
    fix = "check the spelling, the network and, for a gated model, `hf auth login`"
    raise InputError(f"{hub_id!r} is not a folder here, and cannot be downloaded ({problem}); {fix}") from problem


def _digest(files: Collection[Path], more: str = "") -> str:
    digest = hashlib.blake2b(more.encode(), digest_size=16)
    for file in files:
        digest.update(f"{file.parent.name}/{file.name}:{_file_digest(file)}\n".encode())
    return digest.hexdigest()


def _file_digest(file: Path) -> str:
    if file.is_symlink() and file.resolve().parent.name == "blobs":
        return file.resolve().name
    found = file.stat()
    return _content_digest(file, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=1024)
def _content_digest(file: Path, size: int, changed: int) -> str:
    """A digest of a file's content; size and time of change [ns] are part of the cache's key, so it is read once."""
    digest = hashlib.blake2b(digest_size=16)
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
