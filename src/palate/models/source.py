"""Finds a model by a built-in name, a folder, a file, a LoRA, an align run or a hub id, and checks that it is complete.

Nothing here loads weights, so a wrong name or a missing part is refused at once.
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
from palate.models.lora_file import (
    CARD,
    LORA_FILE,
    NETWORK_KEYS,
    PEFT_CONFIG,
    PEFT_FILE,
    TEXT_KEYS,
    Lora,
    lora_files,
    require_weight,
)
from palate.models.model_name import split_name
from palate.models.parts import PREFERRED, check_lora, check_part, choose_variant, read_card, read_json

NETWORKS = ("unet", "transformer")
VAE, SCHEDULER = "vae", "scheduler"
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
"""The parts that training never needs."""
PICKLED = (".ckpt", ".pt", ".pth", ".bin")
"""Endings of files that run code when they are read."""


@dataclass(frozen=True)
class ModelSource:
    """A base pipeline and the LoRAs that are added to it, in this order.

    Attributes:
        base: a folder with `model_index.json`, a single file, or a hub id.
        loras: what is added to it.
    """

    base: Path | str
    loras: tuple[Lora, ...] = ()

    @cached_property
    def folder(self) -> Path:
        """The base pipeline on disk; a hub id is downloaded, or found in the hub's cache; a file is converted."""
        if not isinstance(self.base, Path):
            return _download(self.base)
        if not self.base.is_file():
            return self.base
        from palate.models.single_file import converted

        return converted(self.base)

    @cached_property
    def index(self) -> dict[str, Any]:
        """The base pipeline's `model_index.json`."""
        return read_json(self.folder / "model_index.json")

    @cached_property
    def card(self) -> dict[str, Any]:
        """The content of `palate.json` beside the base pipeline's index, such as sampling defaults; or empty."""
        return read_card(self.folder)

    def said(self, name: str, default: Any = None) -> Any:
        """The value of a name in the last `palate.json` that has it: that of the last LoRA first, the base's last."""
        cards = [read_card(lora.path) for lora in reversed(self.loras)]
        return next((card[name] for card in (*cards, self.card) if name in card), default)

    def numbers(self, name: str, example: str) -> tuple[int, ...]:
        """Whole numbers that a `palate.json` has under a name; empty if none has it; InputError if they are not."""
        found = self.said(name, [])
        if not isinstance(found, list) or not all(type(each) is int for each in found):
            raise InputError(f"the {name} in the {CARD} of {self.base} is {found!r}; give a list, [{example}]")
        return tuple(found)

    @cached_property
    def timesteps(self) -> tuple[int, ...]:
        """The only timesteps at which the model is trained; or empty. InputError if they are not whole numbers."""
        return self.numbers("timesteps", "249, 499")

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
        from palate.models.complete import check_complete, check_known
        from palate.models.lora_fit import check_fits

        check_known(self.family, self.base)
        needed = self._needed(without)
        variant = choose_variant(self.folder, needed)
        for name, kind in needed.items():
            check_part(self.folder, name, kind, variant)
        for lora in self.loras:
            check_lora(lora.file)
            if self.network in needed:
                check_fits(lora, self)
        check_complete(self.folder, {name: (self.index[name][0], kind) for name, kind in needed.items()}, variant)

    def fingerprint(self, *parts: str) -> str:
        """A digest of the files of some parts, and of each LoRA that changes one of them, with its weight.

        It identifies these parts in caches. For a file in the hub's cache it uses the digest under which the hub stores
        it. For the parts that read prompts it includes the options in the pipeline's index, because SDXL's
        `force_zeros_for_empty_prompt` changes their result.
        """
        files = [file for part in parts for file in sorted((self.folder / part).glob("*")) if file.is_file()]
        changing = [lora for lora in self.loras if self._changes(lora, parts)]
        files += [file for lora in changing for file in lora.files]
        options = {name: value for name, value in self.index.items() if isinstance(value, bool)}
        more = "" if set(parts).isdisjoint(self.readers()) else json.dumps(options, sort_keys=True)
        weights = [lora.weight for lora in changing]
        return _digest(files, more if set(weights) <= {1.0} else f"{more} at the weights {weights}")

    def identity(self) -> str:
        """A digest of everything that generated images depend on: parts, index, `palate.json` and LoRAs."""
        root = [file for file in (self.folder / "model_index.json", self.folder / CARD) if file.is_file()]
        return f"{_digest(root)}{self.fingerprint(*self.parts())}"

    def _needed(self, without: Collection[str]) -> dict[str, str]:
        return {name: kind for name, kind in self.parts().items() if kind is not None and name not in without}

    def _changes(self, lora: Lora, parts: Collection[str]) -> bool:
        """Whether a LoRA may change one of some parts; a tensor of unknown name may belong to any part but the VAE."""
        if lora.is_peft:
            return self.network in parts
        names = check_lora(lora.file)
        readers = not set(parts).isdisjoint(self.readers())
        return any(
            (self.network in parts and not name.startswith(TEXT_KEYS))
            or (readers and not name.startswith(NETWORK_KEYS))
            for name in names
        )


def builtin_models() -> list[str]:
    """The names of the pipelines that plug-ins provide."""
    return sorted(name for name, folder in plugins().models.items() if (folder / "model_index.json").is_file())


def resolve(name: str | Path, above: tuple[Path, ...] = ()) -> ModelSource:
    """Finds a model.

    Args:
        name: a built-in name; a pipeline folder; a single file in an original layout; a folder with a LoRA and the
            `palate.json` that names its base; a run of `palate align`; a hub id, `owner/name`; or one of these with
            LoRAs and their weights, `BASE+LORA.safetensors:0.8+OTHER.safetensors`.
        above: the LoRAs whose base this model is, directly or indirectly.

    Raises:
        InputError: there is no such model; the message gives the nearest built-in name. Or LoRAs are each other's base.
    """
    path = Path(name).expanduser()
    if str(name) in builtin_models():
        return ModelSource(plugins().models[str(name)])
    if (parts := split_name(str(name))) is not None:
        base = resolve(parts[0], above)
        return ModelSource(base.base, (*base.loras, parts[1]))
    if (path / "model_index.json").is_file():
        return ModelSource(path.resolve())
    if path.is_dir() and lora_files(path):
        return _with_lora(path, above)
    if (path / "model").is_dir():
        return resolve(path / "model", above)
    if path.is_file():
        return _single_file(path)
    if path.exists():
        fix = (
            "give a folder with model_index.json, one with a LoRA and palate.json, or a finished run of `palate align`"
        )
        missing = f"neither model_index.json nor {LORA_FILE}, nor {PEFT_FILE} with {PEFT_CONFIG}"
        raise InputError(f"{path} is not a model: it has {missing}; {fix}")
    if str(name).count("/") == 1 and not str(name).startswith((".", "/", "~")) and path.suffix != ".safetensors":
        return ModelSource(str(name))
    raise InputError(
        f"no model named {str(name)!r}{nearest(str(name), builtin_models())}; give a built-in name "
        f"({', '.join(builtin_models()) or 'none is installed'}), a model's folder or file, or a hub id, owner/name"
    )


def _with_lora(path: Path, above: tuple[Path, ...]) -> ModelSource:
    """A folder with a LoRA, whose `palate.json` names its base and perhaps its weight."""
    folder = path.resolve()
    if folder in above:
        raise InputError(f"by the {CARD} in {above[-1]}, the LoRA in {path} is its own base; name another base")
    if not (path / CARD).is_file():
        raise InputError(f"{path} has a LoRA but no {CARD} that names its base; write one: {{'base': 'owner/name'}}")
    card = read_card(path)
    if not isinstance(card.get("base"), str):
        fix = "add 'base': a model name, folder or hub id"
        raise InputError(f"{path / CARD} does not name the LoRA's base model; {fix}")
    base = resolve(card["base"], (*above, folder))
    weight = require_weight(card.get("weight", 1.0), f"the LoRA in {path / CARD}")
    return ModelSource(base.base, (*base.loras, Lora(folder, weight)))


def _single_file(path: Path) -> ModelSource:
    if path.suffix == ".safetensors":
        return ModelSource(path.absolute())
    if path.suffix in PICKLED:
        what = "is pickled and could run any code when it is read, so it is not opened"
        raise InputError(f"{path} {what}; get or save the model as .safetensors")
    raise InputError(f"{path} is not a model: give a .safetensors file, a folder that diffusers wrote or a hub id")


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
        digest.update(f"{file.parent.name}/{file.name}:{file_digest(file)}\n".encode())
    return digest.hexdigest()


def file_digest(file: Path) -> str:
    """A digest of a file's content; for one in the hub's cache, the digest under which the hub stores it."""
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
