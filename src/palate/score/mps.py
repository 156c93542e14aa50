"""MPS, the Multi-dimensional Preference Score: a CLIP whose image reads the words that matter: `mps:<file>`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from palate.core.device import pick_device
from palate.core.errors import InputError
from palate.core.plugins import ScorerFacts
from palate.models.prompt_length import TextLimit
from palate.score.base import Images, state_digest
from palate.score.checkpoint_files import find_tokenizer, read_weights, require_names
from palate.score.pickscore import PROCESSOR
from palate.score.pixels import cropped, normalized

if TYPE_CHECKING:
    from torch import Tensor

CONDITION = (
    "light, color, clarity, tone, style, ambiance, artistry, shape, face, hair, hands, limbs, structure, instance, "
    "texture, quantity, attributes, position, number, location, word, things."
)
"""The words of the dimension "overall", from the authors' code (github.com/Kwai-Kolors/MPS)."""
RELATED = 0.3
"""A token of the prompt counts if its largest product with a token of the condition is above this share of the largest
of all tokens; in the authors' code for scoring."""


class MpsNetwork(nn.Module):
    """A CLIP without the pooling of its image, and blocks in which the patches read the prompt and each other.

    Args:
        clip: the configuration of the CLIP.
        blocks: pairs of blocks; 4 in the released model.
        heads: attention heads, which share one key and value; 16.
        head: the width of a head; 64.
        hidden: the width of the gated feed-forward layers; 4096.
    """

    def __init__(self, clip: Any, blocks: int = 4, heads: int = 16, head: int = 64, hidden: int = 4096) -> None:
        from transformers import CLIPModel

        super().__init__()
        self.clip = CLIPModel(clip)
        width = clip.projection_dim
        self.cross = nn.ModuleList(ReadingBlock(width, heads, head, hidden) for _ in range(blocks))
        self.own = nn.ModuleList(RotaryBlock(width, heads, head, hidden) for _ in range(blocks))

    def forward(self, pixels: Tensor, ids: Tensor, condition: Tensor) -> Tensor:
        """Scores [B] of images [B, 3, H, W], the tokens of their prompts [B, L] and those of the condition [1, L]."""
        tokens, text = self._read(ids)
        wanted, _ = self._read(condition)
        image = self.clip.visual_projection(self.clip.vision_model(pixels).last_hidden_state)  # [B, P, D]
        related = (tokens @ wanted.transpose(1, 2)).amax(2)  # [B, L]
        counts = related / related.amax(1, keepdim=True) > RELATED
        for cross, own in zip(self.cross, self.own):
            image = own(cross(image, tokens, counts))
        similar = F.cosine_similarity(text, image[:, 0], dim=-1)
        return self.clip.logit_scale.exp() * similar

    def _read(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The projected features of each token [B, L, D] and of the whole text [B, D]."""
        found = self.clip.text_model(ids)
        return self.clip.text_projection(found.last_hidden_state), self.clip.text_projection(found.pooler_output)


class ReadingBlock(nn.Module):
    """`x + attention from x to a context + feed-forward(x)`, both of the normalised x."""

    def __init__(self, width: int, heads: int, head: int, hidden: int) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(width)
        self.query = nn.Linear(width, heads * head, bias=False)
        self.key_value = nn.Linear(width, 2 * head, bias=False)
        self.out = nn.Linear(heads * head, width, bias=False)
        self.gate, self.down = nn.Linear(width, 2 * hidden, bias=False), nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, context: Tensor, counts: Tensor) -> Tensor:
        """[B, P, D] of x [B, P, D], a context [B, L, D] and which of its places count [B, L]."""
        normal = self.norm(x)
        key, value = self.key_value(context).unsqueeze(1).chunk(2, dim=-1)
        query = self.query(normal).unflatten(2, (self.heads, -1)).transpose(1, 2)
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=counts[:, None, None])
        return x + self.out(read.transpose(1, 2).flatten(2)) + self.down(_gated(self.gate(normal)))


class RotaryBlock(nn.Module):
    """`x + attention within x, with rotary positions + feed-forward(x)`, both of the normalised x."""

    def __init__(self, width: int, heads: int, head: int, hidden: int) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(width)
        self.sizes = (heads * head, head, head, 2 * hidden)
        self.fused = nn.Linear(width, sum(self.sizes), bias=False)
        self.out, self.down = nn.Linear(heads * head, width, bias=False), nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, P, D] of x [B, P, D]."""
        query, key, value, gate = self.fused(self.norm(x)).split(self.sizes, dim=-1)
        query = _rotated(query.unflatten(2, (self.heads, -1)).transpose(1, 2))
        read = F.scaled_dot_product_attention(query, _rotated(key.unsqueeze(1)), value.unsqueeze(1))
        return x + self.out(read.transpose(1, 2).flatten(2)) + self.down(_gated(gate))


def _gated(x: Tensor) -> Tensor:
    """SwiGLU (Shazeer 2020, arXiv:2002.05202), whose gate is the second half."""
    value, gate = x.chunk(2, dim=-1)
    return F.silu(gate) * value


def _rotated(x: Tensor) -> Tensor:
    """Rotary positions of [..., P, d], in the form with two halves (Su et al. 2021, arXiv:2104.09864)."""
    width = x.shape[-1]
    rates = 10000 ** (-torch.arange(0, width, 2, device=x.device) / width)
    angle = torch.outer(torch.arange(x.shape[-2], device=x.device), rates).repeat(1, 2)
    low, high = x.chunk(2, dim=-1)
    return x * angle.cos() + torch.cat([-high, low], -1) * angle.sin()


NAMES = (
    (r"^model\.", "clip."),
    (r"^cross_model\.layers\.(\d+)\.0\.fn\.", r"cross.\1."),
    (r"^cross_model\.layers\.(\d+)\.1\.fn\.", r"own.\1."),
    (r"\.to_q\.", ".query."),
    (r"\.to_kv\.", ".key_value."),
    (r"^(cross\.\d+)\.to_out\.", r"\1.out."),
    (r"^(cross\.\d+)\.ff\.0\.", r"\1.gate."),
    (r"^(cross\.\d+)\.ff\.2\.", r"\1.down."),
    (r"^(own\.\d+)\.fused_attn_ff_proj\.", r"\1.fused."),
    (r"^(own\.\d+)\.attn_out\.", r"\1.out."),
    (r"^(own\.\d+)\.ff_out\.1\.", r"\1.down."),
)
"""From the authors' names to those of `MpsNetwork`, one after the other."""


def mps_from_released(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an MPS checkpoint by their names in `MpsNetwork`."""
    found = {}
    for name, value in tensors.items():
        for pattern, new in NAMES:
            name = re.sub(pattern, new, name)
        found[name] = value
    return found


class MpsScorer:
    """`exp(logit_scale) cos(prompt, image)`, where the image has read the prompt's words that concern the condition.

    Args:
        file: a file with the tensors of a checkpoint. The released one is a pickled module, which is not opened: its
            `state_dict()` must be saved where the authors' code is installed. A CLIP's `config.json` and tokenizer in
            the file's folder are used instead of CLIP-H/14's.
        device: the best one when left out.

    Raises:
        InputError: there is no such file, or it lacks tensors of the network.

    Reference: Zhang et al. 2024 (arXiv:2405.14705), section 4.2.
    """

    facts = ScorerFacts(
        title="which image people prefer for a prompt, by the words that matter (MPS, overall)",
        values="the model's logit; only differences count",
        licence="Apache-2.0 (the code; see the repository for the weights)",
        size="1.1 billion parameters, 4.2 GB",
        source="Zhang et al. 2024, arXiv:2405.14705",
    )
    higher_is_better = True
    differentiable = True
    reads_prompt = True

    def __init__(self, file: str, device: str | None = None) -> None:
        path = Path(file).expanduser()
        tensors, source = mps_from_released(read_weights(path)), _clip_of(path)
        self.name, self._network = f"mps:{file}", _network(path, tensors, source).to(pick_device(device))
        self._tokenizer = find_tokenizer(source, "mps")
        config: Any = self._network.clip.config
        self._longest, self._side = config.text_config.max_position_embeddings, config.vision_config.image_size
        self.text_limits = [TextLimit(self._tokenizer, self._longest)]

    def fingerprint(self) -> str:
        """A digest of the weights; see `Scorer`."""
        return state_digest(self._network.state_dict(), CONDITION, RELATED)

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`."""
        device = self._network.clip.logit_scale.device
        pixels = normalized(cropped(images, self._side)).to(device)
        ids, condition = (self._tokens(texts).to(device) for texts in (list(prompts), [CONDITION]))
        return self._network(pixels, ids, condition).float().cpu()

    def _tokens(self, texts: list[str]) -> Tensor:
        options: dict[str, Any] = {"padding": "max_length", "truncation": True, "max_length": self._longest}
        return self._tokenizer(texts, return_tensors="pt", **options).input_ids


def _clip_of(path: Path) -> str:
    """The folder or repository with the configuration and the tokenizer of the CLIP."""
    return str(path.parent) if (path.parent / "config.json").is_file() else PROCESSOR


def _network(path: Path, tensors: dict[str, Tensor], source: str) -> MpsNetwork:
    """The network that a checkpoint's tensors describe, with them.

    Raises:
        InputError: the checkpoint lacks tensors, or the configuration cannot be read.
    """
    from transformers import CLIPConfig

    first = ("cross.0.query.weight", "cross.0.key_value.weight", "cross.0.down.weight")
    require_names(path, tensors, set(first))
    query, key_value, down = (tensors[name] for name in first)
    head = len(key_value) // 2
    blocks = len({name.split(".")[1] for name in tensors if name.startswith("cross.")})
    try:
        config = CLIPConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise InputError(f"cannot load the configuration of mps: {said}; check the network") from error
    network = MpsNetwork(config, blocks, len(query) // head, head, down.shape[1])
    wanted = network.state_dict()
    require_names(path, tensors, set(wanted))
    network.load_state_dict({name: tensors[name].float() for name in wanted})
    return network.eval().requires_grad_(False)
