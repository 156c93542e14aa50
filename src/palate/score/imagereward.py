"""ImageReward: BLIP, whose text encoder reads the image, trained on people's rankings: `imagereward`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from palate.core.device import pick_device
from palate.core.errors import InputError
from palate.core.plugins import ScorerFacts
from palate.models.prompt_length import TextLimit
from palate.score.base import Images, state_digest
from palate.score.checkpoint_files import find_tokenizer, find_weights, read_weights, require_names
from palate.score.pixels import cropped, normalized

if TYPE_CHECKING:
    from torch import Tensor

REPOSITORY, FILE = "THUDM/ImageReward", "ImageReward.pt"
RELEASED = "v1.0"
TOKENIZER = "bert-base-uncased"
LONGEST = 35
"""Tokens that it reads of a prompt; shorter ones are padded to this length."""
MEAN, STD = 0.16717362830052426, 1.0333394966054072
"""Of the rewards of the training set, by which the authors' code normalises (github.com/THUDM/ImageReward)."""
HEAD = (768, 1024, 128, 64, 16, 1)
"""Widths of the head, which has no activations between its layers."""
SIDE, PATCH = 224, 16
VISION, TEXT, MLP = "vision.", "text.", "head."


class BlipReward(nn.Module):
    """ImageReward's network: a vision transformer, a text encoder with cross-attention to it, and a linear head.

    Args:
        vision: the configuration of the vision transformer; ViT-L/16 when left out.
        text: that of the text encoder; BERT base with BLIP's vocabulary when left out.
        head: the widths of the head.
    """

    def __init__(self, vision: Any = None, text: Any = None, head: Sequence[int] = HEAD) -> None:
        from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

        super().__init__()
        large: dict[str, Any] = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
        large |= {"num_attention_heads": 16, "image_size": SIDE, "patch_size": PATCH, "layer_norm_eps": 1e-6}
        base: dict[str, Any] = {"vocab_size": 30524, "encoder_hidden_size": 1024}
        base |= {"num_attention_heads": 12, "max_position_embeddings": 512}
        self.vision = BlipVisionModel(vision or BlipVisionConfig(**large))
        self.text = BlipTextModel(text or BlipTextConfig(**base), add_pooling_layer=False)
        self.head = nn.Sequential(*(nn.Linear(before, after) for before, after in pairwise(head)))

    def forward(self, pixels: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Rewards [B], normalised, of images [B, 3, H, W] and of the tokens of their prompts [B, L] with a mask."""
        seen = self.vision(pixels).last_hidden_state
        read = self.text(
            ids,
            attention_mask=mask,
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long, device=seen.device),
            is_decoder=False,
        )
        return (self.head(read.last_hidden_state[:, 0])[:, 0] - MEAN) / STD


def from_released(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an ImageReward checkpoint by their names in `BlipReward`; those of no use are left out."""
    names = [
        (r"^blip\.visual_encoder\.cls_token$", f"{VISION}embeddings.class_embedding"),
        (r"^blip\.visual_encoder\.pos_embed$", f"{VISION}embeddings.position_embedding"),
        (r"^blip\.visual_encoder\.patch_embed\.proj\.", f"{VISION}embeddings.patch_embedding."),
        (r"^blip\.visual_encoder\.norm\.", f"{VISION}post_layernorm."),
        (r"^blip\.visual_encoder\.blocks\.(\d+)\.attn\.qkv\.", rf"{VISION}encoder.layers.\1.self_attn.qkv."),
        (r"^blip\.visual_encoder\.blocks\.(\d+)\.attn\.proj\.", rf"{VISION}encoder.layers.\1.self_attn.projection."),
        (r"^blip\.visual_encoder\.blocks\.(\d+)\.norm(\d)\.", rf"{VISION}encoder.layers.\1.layer_norm\2."),
        (r"^blip\.visual_encoder\.blocks\.(\d+)\.mlp\.", rf"{VISION}encoder.layers.\1.mlp."),
        (r"^blip\.text_encoder\.", TEXT),
    ]
    found = {}
    for name, value in tensors.items():
        if match := re.fullmatch(r"mlp\.layers\.(\d+)\.(weight|bias)", name):
            found[f"{MLP}{match[1]}.{match[2]}"] = value
        for pattern, new in names:
            if re.search(pattern, name):
                found[re.sub(pattern, new, name)] = value
    linear = sorted({int(name.split(".")[1]) for name in found if name.startswith(MLP)})
    for place, number in enumerate(linear):  # dropout between the layers has numbers too
        for kind in ("weight", "bias"):
            found[f"{MLP}{place}.{kind}"] = found.pop(f"{MLP}{number}.{kind}")
    return found


class ImageRewardScorer:
    """The reward of image and prompt, normalised to mean 0 and deviation 1 over the authors' data.

    Args:
        version: `v1.0`, whose weights are downloaded, or the path of a checkpoint.
        device: the best one when left out.

    Raises:
        InputError: there is no such version or file, or it cannot be read.

    Reference: Xu et al. 2023 (arXiv:2304.05977), section 2.3.
    """

    facts = ScorerFacts(
        title="which image people prefer for a prompt (ImageRewardDB)",
        values="about -2 to 2; mean 0, deviation 1",
        licence="Apache-2.0",
        size="0.45 billion parameters, 1.8 GB",
        source="Xu et al. 2023, arXiv:2304.05977",
    )
    higher_is_better = True
    differentiable = True
    reads_prompt = True

    def __init__(self, version: str, device: str | None = None) -> None:
        path = Path(version).expanduser()
        if version != RELEASED and not path.is_file():
            raise InputError(f"ImageReward has no version {version!r}; choose {RELEASED}, or the path of a checkpoint")
        path = find_weights(REPOSITORY, FILE) if version == RELEASED else path
        self.name, self._network = f"imagereward:{version}", _loaded(path)
        self._tokenizer = find_tokenizer(TOKENIZER, "ImageReward")
        self.text_limits = [TextLimit(self._tokenizer, LONGEST)]
        self._device = torch.device(pick_device(device))
        self._network.eval().requires_grad_(False).to(self._device)

    def fingerprint(self) -> str:
        """A digest of the weights; see `Scorer`."""
        return state_digest(self._network.state_dict(), LONGEST)

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`."""
        tokens = self._tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=LONGEST, return_tensors="pt"
        ).to(self._device)
        side: Any = self._network.vision.config.image_size
        pixels = normalized(cropped(images, side)).to(self._device)
        return self._network(pixels, tokens.input_ids, tokens.attention_mask).float().cpu()


def _loaded(path: Path) -> BlipReward:
    """The network with the weights of a file."""
    network, tensors = BlipReward(), from_released(read_weights(path))
    wanted = set(network.state_dict())
    require_names(path, tensors, wanted)
    network.load_state_dict({name: tensors[name] for name in wanted})
    return network
