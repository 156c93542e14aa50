"""Stable Diffusion 1 and 2 (eps and v), XL, and 3 without and with its T5 encoder."""

from __future__ import annotations

from functools import partial
from typing import Any

from PIL import Image
from tiny_pipelines import random_sd3, random_sdxl, random_sdxl_refiner, random_stable_diffusion

from twins.twin import Twin


def _gray(height: int, width: int) -> dict[str, Any]:
    """The refiner changes a picture; at full strength nothing of it is left but its size."""
    return {"image": Image.new("RGB", (width, height), "gray"), "strength": 1.0}


eps = Twin(random_stable_diffusion)
v = Twin(partial(random_stable_diffusion, prediction_type="v_prediction"))
xl = Twin(random_sdxl)
three = Twin(random_sd3, size=(8, 16))
three_with_t5 = Twin(partial(random_sd3, t5=True), size=(8, 16))
refiner = Twin(random_sdxl_refiner, frame=_gray, draws=False)
