"""A learned reward, which is a backbone and a head; its files on disk; and the scorer `reward:runs/reward`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from palate.core.config import from_mapping
from palate.core.device import pick_device
from palate.core.errors import ConfigError, InputError
from palate.core.files import atomic_folder
from palate.core.finite import require_finite
from palate.core.json_files import write_json
from palate.core.plugins import ScorerFacts
from palate.core.values import shown
from palate.models.quiet import quiet_libraries
from palate.score.backbone import (
    STATISTICS,
    Backbone,
    ClipBackbone,
    backbone_fingerprint,
    load_backbone,
    text_limits_of,
)
from palate.score.base import Images, state_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

CARD, HEAD = "reward.json", "head.safetensors"
WEIGHTS = {"lora": "adapter", "full": "backbone"}
"""The folder of the trained part of a backbone, by `RewardCard.train`."""

HeadKind = Literal["cosine", "linear", "mlp"]
Trained = Literal["head", "lora", "full"]
Output = Literal["logit", "probability"]


@dataclass(frozen=True)
class RewardCard:
    """The description of a reward in its folder, `reward.json`.

    Attributes:
        kind: the task of its training, such as `bradley_terry`.
        backbone: the backbone's name, see `load_backbone`.
        fingerprint: the digest of the backbone's weights; the head is not valid with other weights.
        train: the part that was trained.
        head: the kind of head.
        hidden: the size of each hidden layer of an `mlp`.
        output: a difference of `logit`s is a log-odds; a `probability` is in [0, 1].
        tie: a smaller difference of two scores predicts a tie; None if the training data had no ties.
        tie_chosen_on: the scores on which that threshold was chosen: of the `folds`, or of the `held out` prompts.
    """

    kind: str
    backbone: str
    fingerprint: str
    train: Trained
    head: HeadKind
    hidden: tuple[int, ...]
    output: Output
    tie: float | None = None
    tie_chosen_on: Literal["folds", "held out"] | None = None


class Cosine(nn.Module):
    """CLIP's own logit, as in PickScore (Kirstain et al. 2023, arXiv:2305.01569, equation 1)."""

    def __init__(self, backbone: ClipBackbone) -> None:
        super().__init__()
        self._clip = backbone.clip

    def forward(self, image: Tensor, prompt: Tensor) -> Tensor:
        """Scores [...] of features [..., D]."""
        return self._clip.logit(image, prompt)


class Perceptron(nn.Module):
    """A network over the features of image and prompt and, if they have the same width, their product.

    Features are standardised by the mean and standard deviation that they had before training.

    Args:
        widths: the widths of the features of image and prompt.
        hidden: the size of each hidden layer; without any, the function is linear.
        offset: whether a constant is learned; if scores are only compared, its gradient is nothing but rounding.
    """

    def __init__(self, widths: tuple[int, int], hidden: Sequence[int], offset: bool = True) -> None:
        super().__init__()
        image, prompt = widths
        self._product = image == prompt
        total = image + prompt + (image if self._product else 0)
        self.mean, self.std = nn.Buffer(torch.zeros(total)), nn.Buffer(torch.ones(total))
        sizes = [total, *hidden]
        layers = [each for a, b in pairwise(sizes) for each in (nn.Linear(a, b), nn.ReLU())]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], 1, bias=offset))
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)  # all rewards are equal at first, so that the first loss is that of chance

    @torch.no_grad()
    def standardise(self, image: Tensor, prompt: Tensor) -> None:
        """Sets mean and standard deviation to those of a sample's features [N, D] and [N, E]."""
        features = self._features(image, prompt)
        self.mean.copy_(features.mean(0))
        self.std.copy_(features.std(0, correction=0).clamp(min=1e-6))

    def forward(self, image: Tensor, prompt: Tensor) -> Tensor:
        """Scores [...] of features [..., D] and [..., E]."""
        return self.layers((self._features(image, prompt) - self.mean) / self.std).squeeze(-1)

    def _features(self, image: Tensor, prompt: Tensor) -> Tensor:
        return torch.cat([image, prompt, *([image * prompt] if self._product else [])], -1)


class RewardModel(nn.Module):
    """Computes rewards from the features of images and prompts.

    Args:
        backbone: computes the features.
        card: its description.
    """

    def __init__(self, backbone: Backbone, card: RewardCard) -> None:
        super().__init__()
        self.backbone, self.card = backbone, card
        if backbone.network is not None:
            self.towers = backbone.network
        if card.head == "cosine" and isinstance(backbone, ClipBackbone):
            self.head = Cosine(backbone)
        else:
            hidden = card.hidden if card.head == "mlp" else ()
            self.head = Perceptron(backbone.widths, hidden, offset=card.kind != "bradley_terry")

    def forward(self, image: Tensor, prompt: Tensor) -> Tensor:
        """Rewards [...] of features [..., D] and [..., E]."""
        reward = self.head(image, prompt)
        return reward.sigmoid() if self.card.output == "probability" else reward

    def save(self, folder: Path, card: Mapping[str, Any]) -> None:
        """Writes card, head and the trained part of the backbone, completely or not at all.

        Args:
            folder: where to write them.
            card: further entries of `reward.json`, such as how the reward was made.
        """
        with atomic_folder(folder) as partial:
            save_file({name: value.contiguous() for name, value in self.head.state_dict().items()}, partial / HEAD)
            network: Any = self.backbone.network
            if self.card.train in WEIGHTS:
                with quiet_libraries():
                    network.save_pretrained(partial / WEIGHTS[self.card.train], safe_serialization=True)
            write_json(partial / CARD, {**asdict(self.card), **card})


def load_reward(run: str | Path) -> RewardModel:
    """A learned reward.

    Args:
        run: a run of `palate reward train`, or its `model/` folder.

    Raises:
        InputError: there is no reward, it is damaged, or a weight is not finite.
    """
    path = Path(run).expanduser()
    folder = path if (path / CARD).is_file() else path / "model"
    if not (folder / CARD).is_file():
        raise InputError(f"{run} has no reward: {CARD} is missing; give a finished run of `palate reward train`")
    try:
        entries = json.loads((folder / CARD).read_text())
        if not isinstance(entries, dict):
            raise ValueError(f"{CARD} is {shown(entries)}, not an object")
        card = from_mapping(
            RewardCard, {key: value for key, value in entries.items() if key in RewardCard.__dataclass_fields__}
        )
        backbone = load_backbone(card.backbone, folder / WEIGHTS["full"] if card.train == "full" else None)
        if card.train != "full" and backbone_fingerprint(backbone) != card.fingerprint:
            raise ValueError(f"the backbone {card.backbone} has other weights than it was trained on")
        if card.train == "lora":
            network: Any = backbone.network
            with quiet_libraries():
                network.load_adapter(str(folder / WEIGHTS["lora"]), adapter_name="default")
        model = RewardModel(backbone, card)
        model.head.load_state_dict(load_file(folder / HEAD))
    except (OSError, ValueError, TypeError, RuntimeError, ConfigError, SafetensorError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"the reward in {folder} is damaged ({first}); train it again") from error
    fix = "train it again with a lower --lr"
    require_finite(f"the weights of the reward in {folder}", model.state_dict(), fix=fix, error=InputError)
    return model.eval().requires_grad_(False)


class RewardScorer:
    """The reward of a run of `palate reward train` as a scorer.

    Args:
        run: that run, or its `model/` folder.
        device: the best one when left out.

    Raises:
        InputError: there is no reward, or it is damaged.
    """

    facts = ScorerFacts(
        title="a reward that `palate reward train` learned from people's votes or grades",
        values="those of its task; differences count",
        licence="that of its backbone",
        size="that of its backbone",
        source="docs/reward.md",
    )
    higher_is_better = True

    def __init__(self, run: str, device: str | None = None) -> None:
        self._device = torch.device(pick_device(device))
        self.name, self._model = f"reward:{run}", load_reward(run).to(self._device)
        self.differentiable = self._model.backbone.differentiable
        self.reads_prompt = self._model.backbone.name != STATISTICS
        self.text_limits = text_limits_of(self._model.backbone)

    def fingerprint(self) -> str:
        """A digest of the card and all weights; see `Scorer`."""
        card = dataclasses.replace(self._model.card, tie=None)  # no score depends on it
        return state_digest(self._model.state_dict(), card)

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`."""
        backbone = self._model.backbone
        features = backbone.image_features(backbone.preprocess(images).to(self._device))
        return self._model(features, backbone.prompt_features(prompts).to(self._device)).float().cpu()
