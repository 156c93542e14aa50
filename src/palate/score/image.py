"""Scorers that compute one statistic of an image and read no prompt: `image:colourfulness`, `image:compressibility`."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from palate.core.errors import InputError, nearest
from palate.core.plugins import ScorerFacts
from palate.score.base import Images, to_tensor

if TYPE_CHECKING:
    from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""
JPEG_QUALITY = 95


def luma(images: Tensor) -> Tensor:
    """Brightness [B, H, W] of images [B, 3, H, W]."""
    return (images * images.new_tensor(LUMA).view(3, 1, 1)).sum(1)


def brightness(images: Tensor) -> Tensor:
    """Mean luma [B], in [0, 1]."""
    return luma(images).mean((1, 2))


def contrast(images: Tensor) -> Tensor:
    """Standard deviation of luma [B], in [0, 0.5] (RMS contrast; Peli 1990, J. Opt. Soc. Am. A 7)."""
    return luma(images).flatten(1).std(1, correction=0)


def sharpness(images: Tensor) -> Tensor:
    """Variance of luma's Laplacian [B], with luma in 0..255 (Pech-Pacheco et al. 2000, ICPR, as a measure of focus)."""
    kernel = images.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]).view(1, 1, 3, 3)
    return F.conv2d(255 * luma(images).unsqueeze(1), kernel).flatten(1).var(1, correction=0)


def colourfulness(images: Tensor) -> Tensor:
    """`sqrt(s_rg^2 + s_yb^2) + 0.3 sqrt(m_rg^2 + m_yb^2)` [B] of `rg = R - G`, `yb = (R + G) / 2 - B` in 0..255.

    Reference: Hasler & Suesstrunk 2003 (SPIE 5007), section 6: about 15 is slightly, 59 quite, 109 extremely colourful.
    """
    red, green, blue = (255 * images).flatten(2).unbind(1)
    opponents = torch.stack([red - green, (red + green) / 2 - blue])  # [2, B, H W]
    spread, mean = opponents.var(2, correction=0).sum(0), opponents.mean(2).square().sum(0)
    return spread.sqrt() + 0.3 * mean.sqrt()


def spectrum(images: Tensor) -> Tensor:
    """Slope [B] of log power over log frequency of luma; about -2 for photographs, lower for blurred ones, 0 for noise.

    Reference: Field 1987 (J. Opt. Soc. Am. A 4), "Relations between the statistics of natural images ...".
    """
    grey = luma(images)
    power = torch.fft.rfft2(grey - grey.mean((1, 2), keepdim=True)).abs().square()
    vertical, horizontal = torch.fft.fftfreq(grey.shape[1]), torch.fft.rfftfreq(grey.shape[2])
    radius = torch.hypot(vertical[:, None], horizontal[None]).to(power)
    rings = (radius > 0) & (radius <= 0.5)
    x, y = radius[rings].log(), (power[:, rings] + 1e-12).log()
    x = x - x.mean()
    return (y * x).sum(1) / x.square().sum()


def jpeg_kilobytes(images: Tensor) -> Tensor:
    """Size [B] as a JPEG of quality 95, in units of 1,000 bytes (Black et al. 2023, DDPO, arXiv:2305.13301)."""
    pixels = (255 * images.clamp(0, 1)).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return torch.tensor([_jpeg_bytes(each) / 1000 for each in pixels], dtype=torch.float32)


def _jpeg_bytes(pixels: np.ndarray) -> int:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "jpeg", quality=JPEG_QUALITY)
    return data.tell()


MEASURES: dict[str, Callable[[Tensor], Tensor]] = {
    "brightness": brightness,
    "contrast": contrast,
    "sharpness": sharpness,
    "colourfulness": colourfulness,
    "spectrum": spectrum,
    "compressibility": lambda images: -jpeg_kilobytes(images),
    "incompressibility": jpeg_kilobytes,
}
"""Each measure of images [B, 3, H, W] in [0, 1]; the last two are DDPO's rewards."""


class ImageScorer:
    """One statistic of the image; the prompt is not read.

    Args:
        measure: one of `MEASURES`.
        device: not used; measures are computed on the device of the images.

    Raises:
        InputError: there is no such measure.
    """

    facts = ScorerFacts(
        title="a statistic of the image: " + ", ".join(MEASURES),
        values="those of the measure",
        licence="none needed",
        size="no weights",
        source="the docstring of each measure",
    )
    higher_is_better = True
    reads_prompt = False

    def __init__(self, measure: str, device: str | None = None) -> None:
        if measure not in MEASURES:
            fix = f"choose from {', '.join(MEASURES)}"
            raise InputError(f"an image has no measure {measure!r}{nearest(measure, MEASURES)}; {fix}")
        self.name, self.measure = f"image:{measure}", MEASURES[measure]
        self.differentiable = not measure.endswith("compressibility")

    def fingerprint(self) -> str:
        """The measure's name; see `Scorer`."""
        return self.name

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`. PIL images may differ in size."""
        if isinstance(images, torch.Tensor):
            return self.measure(to_tensor(images)).float().cpu()
        return torch.cat([self.measure(to_tensor([image])) for image in images]).float()
