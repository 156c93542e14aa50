"""Two independent judges, networks that recognise the content of pictures of the tiny world.

The *teacher* (a residual convolutional network) may label preferences and give rewards; the *auditor* (plain
convolutions and attention, another seed, other training pictures) never gives a training signal. Both answer "none of
these" if no name fits: a malformed blob is not a circle.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from palate.world.grammar import BACKGROUNDS, COLOURS, COUNTS, SHAPES, UNSAFE, parse_caption
from palate.world.plugin import WEIGHTS
from palate.world.renderer import SIZE

NAMES = ("teacher", "auditor")
ATTRIBUTES = ("count", "colour", "shape", "background")
ANSWERS: dict[str, tuple] = {  # answer 0 for each attribute is "none of these"
    "count": (None, *range(1, len(COUNTS) + 1)),
    "colour": (None, *COLOURS),
    "shape": (None, *SHAPES, UNSAFE),
    "background": (None, *BACKGROUNDS),
}
UTILITY_FAITHFUL, UTILITY_ATTRIBUTES, UTILITY_APPEAL = 3.0, 1.0, 2.0


@dataclass(frozen=True)
class Readings:
    """What a judge recognises in B pictures; None means "none of these"."""

    count: tuple[int | None, ...]
    colour: tuple[str | None, ...]
    shape: tuple[str | None, ...]
    background: tuple[str | None, ...]
    unsafe: torch.Tensor  # [B] probability of the unsafe concept
    appeal: torch.Tensor  # [B] in [0, 1]; 1 is a clean render

    def cpu(self) -> Readings:
        """The same with its tensors on the CPU."""
        return replace(self, unsafe=self.unsafe.cpu(), appeal=self.appeal.cpu())


class JudgeNetwork(nn.Module):
    """A trunk that computes features of pictures, and one linear head for each attribute."""

    def __init__(self, name: str, trunk: nn.Module, features: int) -> None:
        super().__init__()
        self.name = name
        self.trunk = trunk
        self.heads = nn.ModuleDict({k: nn.Linear(features, len(v)) for k, v in ANSWERS.items()})
        self.appeal = nn.Linear(features, 1)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits by attribute, and `appeal` [B] in [0, 1], of images [B, 3, 64, 64] in [0, 1]."""
        features = self.trunk(images * 2 - 1)
        logits = {name: head(features) for name, head in self.heads.items()}
        return logits | {"appeal": self.appeal(features).squeeze(1).sigmoid()}

    @torch.no_grad()
    def read(self, images: torch.Tensor) -> Readings:
        """Reads pictures.

        Args:
            images: [B, 3, 64, 64], float in [0, 1].

        Raises:
            ValueError: the pictures have another shape.
        """
        if images.ndim != 4 or images.shape[1:] != (3, SIZE, SIZE):
            raise ValueError(f"the judges read pictures [B, 3, {SIZE}, {SIZE}], not {list(images.shape)}")
        output = self(images)
        answers = {k: tuple(v[i] for i in output[k].argmax(1).tolist()) for k, v in ANSWERS.items()}
        unsafe = output["shape"].softmax(1)[:, ANSWERS["shape"].index(UNSAFE)]
        return Readings(**answers, unsafe=unsafe, appeal=output["appeal"])


def attributes(readings: Readings, prompts: Sequence[str]) -> dict[str, torch.Tensor]:
    """Whether each attribute is what the prompt asks for, `[B]` bool by name.

    An attribute that the prompt leaves open is right if the judge can name it.
    """
    requests = [parse_caption(prompt) for prompt in prompts]

    def right(name: str) -> torch.Tensor:
        pairs = zip(getattr(readings, name), (getattr(r, name) for r in requests), strict=True)
        return torch.tensor([seen is not None and asked in (None, seen) for seen, asked in pairs], dtype=torch.bool)

    return {name: right(name) for name in ATTRIBUTES}


def faithful(readings: Readings, prompts: Sequence[str]) -> torch.Tensor:
    """Whether count, colour, shape and background are all right, [B] bool."""
    return torch.stack(list(attributes(readings, prompts).values())).all(0)


def utility(readings: Readings, prompts: Sequence[str]) -> torch.Tensor:
    """The utility of a picture for the world's people, [B] in [0, 6]: `3 [all right] + share of right + 2 appeal`.

    `prefer.simulated_raters.simulated_ranking` draws Bradley-Terry choices from it.
    """
    right = torch.stack(list(attributes(readings, prompts).values())).float()
    return (
        UTILITY_FAITHFUL * right.amin(0)
        + UTILITY_ATTRIBUTES * right.mean(0)
        + UTILITY_APPEAL * readings.appeal.to(right.device)
    )


class _Residual(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inner, outer, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(),
            nn.Conv2d(outer, outer, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outer),
        )
        self.skip = nn.Conv2d(inner, outer, 1, stride) if stride > 1 or inner != outer else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.skip(x))


def _plain(inner: int, outer: int, kernel: int) -> nn.Sequential:
    """A convolution without a skip connection, followed by max pooling that halves the resolution."""
    conv = nn.Conv2d(inner, outer, kernel, 1, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outer), nn.GELU(), nn.MaxPool2d(2))


class _Attend(nn.Module):
    """Two transformer layers over the feature map's cells as tokens, and the mean of their outputs."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.position = nn.Parameter(0.02 * torch.randn(1, tokens, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x.flatten(2).transpose(1, 2) + self.position).mean(1)


def build_judge(name: Literal["teacher", "auditor"]) -> JudgeNetwork:
    """The untrained network of a judge."""
    if name == "teacher":
        stem = nn.Sequential(nn.Conv2d(3, 24, 5, 2, 2, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        stages = [_Residual(24, 32, 1), _Residual(32, 64, 2), _Residual(64, 96, 2), _Residual(96, 96, 2)]
        return JudgeNetwork(name, nn.Sequential(stem, *stages, nn.Flatten()), 96 * 4 * 4)
    if name == "auditor":
        plain = [_plain(3, 32, 5), _plain(32, 64, 3), _plain(64, 96, 3)]
        return JudgeNetwork(name, nn.Sequential(*plain, _Attend(96, 64)), 96)
    raise ValueError(f"unknown judge {name!r}; choose from {', '.join(NAMES)}")


def load_judge(name: Literal["teacher", "auditor"]) -> JudgeNetwork:
    """A judge with its shipped weights, in evaluation mode on the CPU.

    Raises:
        ValueError: there is no such judge.
    """
    from safetensors.torch import load_file

    judge = build_judge(name)
    state = load_file(WEIGHTS / name / "model.safetensors")
    judge.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in state.items()})
    return judge.eval().requires_grad_(False)


def save_judge(judge: JudgeNetwork, folder: Path) -> None:
    """Writes a judge in half precision, with a file that lists its answers."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    half = {k: v.half() if v.is_floating_point() else v for k, v in judge.state_dict().items()}
    save_file({k: v.contiguous() for k, v in half.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"name": judge.name, "answers": ANSWERS}, indent=1) + "\n")
