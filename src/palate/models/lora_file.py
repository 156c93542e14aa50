"""A LoRA on the disk: where it is, in which format, and at which weight it is added to its base."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from palate.core.errors import InputError

LORA_FILE = "pytorch_lora_weights.safetensors"
PEFT_FILE, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""A LoRA in peft's own format, for pipelines that do not load diffusers' `LORA_FILE`."""
CARD = "palate.json"
NETWORK_KEYS = ("unet.", "transformer.", "lora_unet_", "lora_transformer_", "diffusion_model.")
TEXT_KEYS = ("text_encoder", "lora_te")
"""Prefixes of the names of LoRA tensors that belong to the network, and to text encoders: those of diffusers, kohya and
ComfyUI."""
WEIGHT = re.compile(r"(?P<path>.+):(?P<weight>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")


@dataclass(frozen=True)
class Lora:
    """A LoRA that is added to a model.

    Attributes:
        path: a folder with `pytorch_lora_weights.safetensors` or with a LoRA in peft's own format, or a file.
        weight: the factor of what it adds.
    """

    path: Path
    weight: float = 1.0

    @property
    def file(self) -> Path:
        """The file of its tensors."""
        return self.files[0]

    @property
    def files(self) -> list[Path]:
        """All its files, that of its tensors first."""
        return lora_files(self.path)

    @property
    def is_peft(self) -> bool:
        """Whether it is in peft's own format."""
        return len(self.files) > 1

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self.file.parent

    def __str__(self) -> str:
        return f"{self.path}" if self.weight == 1 else f"{self.path}:{self.weight:g}"


def lora_files(path: Path) -> list[Path]:
    """The files of the LoRA at a path, that of its tensors first; empty if there is none."""
    if path.is_file():
        beside = path.with_name(PEFT_CONFIG)
        if path.name == PEFT_FILE and beside.is_file():
            return [path, beside]
        return [path] if path.suffix == ".safetensors" else []
    if (path / LORA_FILE).is_file():
        return [path / LORA_FILE]
    found = [path / PEFT_FILE, path / PEFT_CONFIG]
    return found if all(file.is_file() for file in found) else []


def split_weight(text: str) -> tuple[str, float]:
    """A path and the weight after its last colon; 1 where there is none.

    >>> split_weight("style.safetensors:0.8")
    ('style.safetensors', 0.8)
    """
    found = WEIGHT.fullmatch(text)
    if found is None or Path(text).expanduser().exists():
        return text, 1.0
    return found["path"], float(found["weight"])


def require_weight(weight: object, where: str) -> float:
    """A weight that was read from a file.

    Raises:
        InputError: it is not a finite number.
    """
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not math.isfinite(weight):
        raise InputError(f"the weight of {where} is {weight!r}; give a number, such as 0.8")
    return float(weight)
