"""The protocol through which trainers, scorers and samplers use an image generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import Tensor, nn

if TYPE_CHECKING:
    from palate.diffusion.parametrization import Parametrization
    from palate.diffusion.schedule import Schedule
    from palate.models.conditioning import Conditioning
    from palate.models.frames import Frames


class Denoiser(Protocol):
    """An image generator. `predict` returns the raw network output; `parametrization` says what it means."""

    network: nn.Module
    """The network that is trained; a trainer may put a wrapped module (DDP, compiled) here."""
    part: str
    """The network's name in its diffusers pipeline."""
    pipeline: Any
    """The diffusers pipeline that the parts came from."""
    parametrization: Parametrization
    """What the network predicts."""

    lora_targets: ClassVar[tuple[str, ...]]
    """Endings of the names of the layers that get a LoRA by default."""

    def schedule(self, cells: tuple[int, int]) -> Schedule:
        """The noise schedule for latents of (h, w) cells; in some families it depends on the size of the image."""
        ...

    def encode_prompt(self, prompts: Sequence[str | None]) -> Conditioning:
        """The conditioning of B prompts.

        None means no prompt at all. It is used for the unconditional half of classifier-free guidance if there is no
        negative prompt, and for prompts that are dropped in training. Most families encode it as the empty prompt,
        SDXL as zeros.
        """
        ...

    def image_conditioning(self, frames: Frames) -> Conditioning:
        """The conditioning of B images on their own size and crop; empty for most families.

        It is merged with the prompts' conditioning, `conditioning.merged(...)`. When it is left out, `predict` assumes
        images that are not cropped and not resized.
        """
        ...

    def encode(self, images: Tensor) -> Tensor:
        """Latents x_0 [B, C, H/f, W/f] in float32 of images [B, 3, H, W] in [0, 1]."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] of latents."""
        ...

    def predict(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The network's raw output [B, C, h, w] at noisy latents x_t [B, C, h, w] and times t [B]."""
        ...

    def default_guidance(self) -> float:
        """The pipeline's own scale of guidance."""
        ...

    def guide(self, scale: float) -> dict[str, Any]:
        """The pipeline's arguments with which it guides at a scale."""
        ...

    def batch_group(self, conditioning: Conditioning) -> int:
        """A number of one encoded prompt: the pipeline draws only prompts with an equal number in one batch."""
        ...

    def negates(self, scale: float) -> bool:
        """Whether the pipeline also computes a prediction for the negative prompt, at a given guidance scale."""
        ...

    def guided(self, positive: Tensor, negative: Tensor, scale: float) -> Tensor:
        """The pipeline's guidance: combines the predictions for the prompt and for the negative prompt [B, C, h, w]."""
        ...

    def pipeline_inputs(self, conditioning: Conditioning, negative: Conditioning | None) -> dict[str, Any]:
        """The keyword arguments with which the pipeline takes encoded prompts instead of `prompt`.

        Args:
            conditioning: the conditioning of B prompts.
            negative: the conditioning of B negative prompts; None if guidance is off.
        """
        ...
