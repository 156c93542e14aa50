"""What every image generator offers to trainers, scorers and samplers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

if TYPE_CHECKING:
    from palate.diffusion.parametrization import Parametrization
    from palate.diffusion.schedule import Schedule
    from palate.models.conditioning import Conditioning
    from palate.models.frames import Frames


class Denoiser(Protocol):
    """An image generator. Adapters report the raw network output; `parametrization` says what it means."""

    network: nn.Module
    """What training changes; a trainer may put a wrapped module (DDP, compiled) here."""
    part: str
    """The network's name in its diffusers pipeline."""
    pipeline: Any
    """The diffusers pipeline that the parts came from."""
    parametrization: Parametrization
    """What its network predicts."""

    def schedule(self, cells: tuple[int, int]) -> Schedule:
        """Its path from data to noise for latents of (h, w) cells: some families see more noise in larger pictures."""
        ...

    def encode_prompt(self, prompts: Sequence[str | None]) -> Conditioning:
        """The conditioning of B prompts.

        None is no prompt at all: what guidance moves away from where no negative prompt is given, and what a prompt
        that is dropped in training becomes. Most families encode it as the empty prompt, SDXL as zeros.
        """
        ...

    def image_conditioning(self, frames: Frames) -> Conditioning:
        """What the network is given about each of B images itself; empty for most families.

        Merged with the prompts' conditioning, `conditioning.merged(...)`. Where it is left out, `predict` assumes
        pictures that show all of an original of their own size.
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

    def pipeline_inputs(self, conditioning: Conditioning, negative: Conditioning | None) -> dict[str, Any]:
        """The keyword arguments by which the pipeline takes encoded prompts in the place of `prompt`.

        Args:
            conditioning: of B prompts.
            negative: of B negative prompts; None where guidance is off.
        """
        ...
