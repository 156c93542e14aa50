"""HPSv3: a vision-language model with a head for people's preferences: `hpsv3`."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import nn

from palate.core.device import pick_device
from palate.core.errors import InputError
from palate.core.plugins import ScorerFacts
from palate.models.quiet import quiet_libraries
from palate.records.decode import rgb
from palate.score.base import Images, state_digest, to_images
from palate.score.checkpoint_files import find_weights, read_weights, require_names

if TYPE_CHECKING:
    from torch import Tensor

REPOSITORY, FILE = "MizzenAI/HPSv3", "HPSv3.safetensors"
BASE = "Qwen/Qwen2-VL-7B-Instruct"
"""Has the configuration, the tokenizer and the preprocessing."""
REWARD, IMAGE = "<|Reward|>", "<|image_pad|>"
"""The token whose last hidden state the head reads, and the one that stands for the image."""
PIXELS, FACTOR = 256 * 28 * 28, 28
"""Every image is resized to about so many pixels, its sides multiples of 28 (github.com/MizzenAI/HPSv3)."""
HEAD = (0, 3, 5)
"""The places of the linear layers of the head, between ReLU and dropout."""


class Hpsv3Scorer:
    """The mean mu of the model's distribution of how good the image is for the prompt.

    The question is `(prompt, image)`: the prompt is inside the authors' instruction, and the image before it. That text
    is theirs and not part of Palate: it is read from an installed `hpsv3`, whose code is not run, or from a file.

    Args:
        model: `REPOSITORY`, or a file with a checkpoint's tensors; `config.json` and the tokenizer in its folder are
            used instead of those of `BASE`. It may be followed by `@` and a text file with the instruction, in which
            `{text_prompt}` stands for the prompt and `<|Reward|>` is where the score is read.
        device: the best one when left out; bfloat16 there, and float32 on a CPU.

    Raises:
        InputError: there is no such model or file, it lacks tensors, or the instruction is not there.

    Reference: Ma et al. 2025 (arXiv:2508.03789), section 4; the authors' code gives the tokens consecutive positions,
    not those of an image's rows and columns.
    """

    facts = ScorerFacts(
        title="which image people prefer for a prompt (HPDv3)",
        values="about -5 to 15; only differences count",
        licence="MIT (the model's base: Apache-2.0)",
        size="8.3 billion parameters, 16.6 GB",
        source="Ma et al. 2025, arXiv:2508.03789",
    )
    higher_is_better = True
    differentiable = False
    reads_prompt = True

    def __init__(self, model: str, device: str | None = None) -> None:
        name, _, text = model.partition("@")
        self.name, self._instruction = f"hpsv3:{model}", read_instruction(Path(text).expanduser() if text else None)
        device = pick_device(device)
        path = find_weights(REPOSITORY, FILE) if name == REPOSITORY else Path(name).expanduser()
        if not path.is_file():
            raise InputError(f"there is no file {path}; name a file with the weights of HPSv3")
        source = str(path.parent) if name != REPOSITORY and (path.parent / "config.json").is_file() else BASE
        self._tokenizer, self._processor, config = _parts(source)
        tensors = hpsv3_from_released(read_weights(path))
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        self._network, self._head = (part.to(device) for part in _networks(path, tensors, config, dtype))
        self._reward = self._tokenizer.convert_tokens_to_ids(REWARD)

    def fingerprint(self) -> str:
        """A digest of the weights and the instruction; see `Scorer`."""
        return state_digest({**self._network.state_dict(), **self._head.state_dict()}, self._instruction)

    @torch.no_grad()
    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`."""
        pictures = [fitted(rgb(image)) for image in to_images(images)]
        seen = self._processor(images=pictures, return_tensors="pt")
        merged = self._processor.merge_size**2
        patches = (seen["image_grid_thw"].prod(1) // merged).tolist()
        texts = [self._asked(prompt, count) for prompt, count in zip(prompts, patches, strict=True)]
        tokens = self._tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
        inputs = {**tokens, **seen}
        inputs["position_ids"] = torch.arange(tokens["input_ids"].shape[1]).expand(3, len(texts), -1)
        inputs = {key: value.to(self._network.device) for key, value in inputs.items()}
        hidden = self._network(**inputs, use_cache=False).last_hidden_state
        asked = (inputs["input_ids"] == self._reward).int().argmax(1)
        return self._head(hidden[torch.arange(len(texts)), asked].float())[:, 0].cpu()

    def _asked(self, prompt: str, patches: int) -> str:
        """The conversation about one image, with a token for each of its patches.

        Raises:
            InputError: the prompt contains a token that has a meaning of its own.
        """
        if REWARD in prompt or IMAGE in prompt:
            raise InputError(f"hpsv3 cannot read the prompt {prompt!r}, which contains {REWARD} or {IMAGE}; remove it")
        parts = [{"type": "image"}, {"type": "text", "text": self._instruction.replace("{text_prompt}", prompt)}]
        turn = [{"role": "user", "content": parts}]
        text = self._tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        return text.replace(IMAGE, IMAGE * patches, 1)


def fitted(image: Image.Image) -> Image.Image:
    """An image with about `PIXELS` pixels, whose sides are multiples of `FACTOR`; bicubic.

    The sizes are those of Qwen2-VL's `smart_resize` with `PIXELS` as both its smallest and its largest number.
    """
    width, height = image.size
    sides = [max(FACTOR, round(side / FACTOR) * FACTOR) for side in (width, height)]
    area = sides[0] * sides[1]
    if area > PIXELS:
        scale = math.sqrt(width * height / PIXELS)
        sides = [max(FACTOR, math.floor(side / scale / FACTOR) * FACTOR) for side in (width, height)]
    elif area < PIXELS:
        scale = math.sqrt(PIXELS / (width * height))  # not the inverse of the above: rounding before `ceil` matters
        sides = [math.ceil(side * scale / FACTOR) * FACTOR for side in (width, height)]
    return image.resize((sides[0], sides[1]), Image.Resampling.BICUBIC)


def read_instruction(path: Path | None) -> str:
    """The authors' instruction with the place of the prompt, from a file or an installed `hpsv3`.

    Raises:
        InputError: there is none, or it lacks the place of the prompt or of the score.
    """
    if path is None:
        package = find_spec("hpsv3")
        places = list(package.submodule_search_locations or ()) if package else []
        file = Path(places[0]) / "dataset" / "data_collator_qwen.py" if places else Path("hpsv3")
        named = _constants(file) if file.is_file() else {}
        text = named.get("INSTRUCTION", "") + named.get("prompt_with_special_token", "")
    else:
        try:
            text, file = path.read_text(encoding="utf-8"), path
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read the instruction in {path}: {error}; name a text file") from error
    if "{text_prompt}" not in text or REWARD not in text:
        what = "the instruction that its model was trained with, which is its authors'"
        fix = "pip install --no-deps hpsv3, or name a file: hpsv3:MODEL@INSTRUCTION.txt"
        raise InputError(f"the scorer hpsv3 needs {what}: {file} has no text with {{text_prompt}} and {REWARD}; {fix}")
    return text


def _constants(file: Path) -> dict[str, str]:
    """The texts that a Python file assigns to names; its code is not run."""
    found = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name(name)], value=ast.Constant(str(text))):
                found[name] = text
    return found


def hpsv3_from_released(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an HPSv3 checkpoint by their names in transformers' model, and those of the head as `head.N.*`."""
    found = {}
    for name, value in tensors.items():
        name = re.sub(r"^model\.(?=visual\.|language_model\.)", "", name)
        name = re.sub(r"^model\.(?=layers\.|embed_tokens\.|norm\.)", "language_model.", name)
        if match := re.fullmatch(r"rm_head\.(\d+)\.(weight|bias)", name):
            name = f"head.{HEAD.index(int(match[1])) if int(match[1]) in HEAD else match[1]}.{match[2]}"
        found[name] = value
    found.pop("lm_head.weight", None)  # writes words
    return found


def _parts(source: str) -> tuple[Any, Any, Any]:
    """The tokenizer, which knows the reward token, the preprocessing and the configuration."""
    from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

    try:
        with quiet_libraries():
            tokenizer = AutoTokenizer.from_pretrained(source)
            processor = AutoImageProcessor.from_pretrained(source, backend="pil")
            config = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise InputError(f"cannot load the parts of hpsv3 from {source}: {said}; check the network") from error
    tokenizer.add_special_tokens({"additional_special_tokens": [REWARD]})
    return tokenizer, processor, config


def _networks(path: Path, tensors: dict[str, Tensor], config: Any, dtype: torch.dtype) -> tuple[Any, nn.Sequential]:
    """The model, and its head in float32.

    Raises:
        InputError: the checkpoint lacks tensors.
    """
    from transformers import Qwen2VLModel

    words = "language_model.embed_tokens.weight"
    head = [f"head.{place}.{kind}" for place in range(len(HEAD)) for kind in ("weight", "bias")]
    require_names(path, tensors, {words, *head})
    config.text_config.vocab_size = len(tensors[words])  # with the reward token
    own = {name: value for name, value in tensors.items() if not name.startswith("head.")}
    with torch.device("meta"):
        wanted = Qwen2VLModel(config).state_dict()
    require_names(path, own, set(wanted))
    with quiet_libraries():
        network = Qwen2VLModel.from_pretrained(None, config=config, state_dict=own, dtype=dtype)
    layers: list[nn.Module] = []
    for place in range(len(HEAD)):
        out, into = tensors[f"head.{place}.weight"].shape
        layers += [nn.Linear(into, out), nn.ReLU()]
    reward = nn.Sequential(*layers[:-1])  # no ReLU after the last
    reward.load_state_dict({re.sub(r"head\.(\d)", lambda m: str(2 * int(m[1])), name): tensors[name] for name in head})
    return network.eval().requires_grad_(False), reward.eval().requires_grad_(False)
