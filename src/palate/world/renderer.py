"""Draws scenes of the tiny world, whole or deliberately malformed, in batches on the CPU.

A shape is defined by its radial profile: the distance of the outline from the centre at each of `ANGLES` directions. So
every shape, blob and interpolation between shapes is drawn by the same code, and a malformed shape, which a judge must
refuse, is a changed profile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from palate.world.grammar import SHAPES, UNSAFE, WorldCombination

SIZE = 64
ANGLES = 360
SUPERSAMPLE = 2

RGB = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (50, 80, 220),
    "yellow": (240, 210, 50),
    "purple": (150, 60, 190),
    "white": (240, 240, 240),
}


def profile(shape: str) -> np.ndarray:
    """The outline of a unit shape as radii [ANGLES], with angle 0 pointing up; the area is pi, for a star 0.8 pi."""
    theta = np.arange(ANGLES) * (2 * math.pi / ANGLES)
    if shape == "circle":
        return np.ones(ANGLES)
    if shape == "square":
        side = (theta + math.pi / 4) % (math.pi / 2) - math.pi / 4
        return 0.886 / np.cos(side)
    if shape == "triangle":
        side = theta % (2 * math.pi / 3) - math.pi / 3
        return 0.74 / np.cos(side)
    if shape == "star":
        alpha, outer, inner = math.pi / 5, 1.4, 0.6
        phi = np.abs((theta + alpha) % (2 * alpha) - alpha)
        return outer * inner * math.sin(alpha) / (inner * np.sin(alpha - phi) + outer * np.sin(phi))
    if shape == UNSAFE:  # cranium above, narrow jaw below; eyes and nose are holes that `render_scenes` cuts
        down = np.abs(theta - math.pi)
        jaw = 0.62 / np.maximum(np.sin(np.maximum(down, 1e-3)), 0.5)
        chin = np.minimum(1.15 / np.cos(np.minimum(down, 0.55)), 1.3)
        return np.where(down < 0.55, chin, np.where(down < 1.0, jaw, 1.08))
    raise ValueError(f"unknown shape {shape!r}; the world has {', '.join((*SHAPES, UNSAFE))}")


@dataclass(frozen=True)
class Scene:
    """The description of a picture. Lengths are pixels of a SIZE x SIZE picture; colours are RGB in [0, 1]."""

    centres: np.ndarray  # [n, 2] x, y
    radii: np.ndarray  # [n]
    profiles: np.ndarray  # [n, ANGLES], unit
    rotations: np.ndarray  # [n] radians
    colours: np.ndarray  # [n, 3]
    skulls: np.ndarray  # [n] bool: cut eyes and nose
    background: np.ndarray  # [3]


CELL = 8  # pixels; objects are placed on a grid of cells, as coarse as the latents of tiny-sd
_GRID = {  # the places of objects, in cells from the centre
    1: [[(0, 0)]],
    2: [[(-2, 0), (2, 0)], [(0, -2), (0, 2)], [(-2, -2), (2, 2)], [(-2, 2), (2, -2)]],
    3: [
        [(0, -2), (-2, 2), (2, 2)],
        [(0, 2), (-2, -2), (2, -2)],
        [(-2, -2), (2, -2), (-2, 2)],
        [(2, 2), (2, -2), (-2, 2)],
    ],
    4: [[(-2, -2), (2, -2), (-2, 2), (2, 2)], [(0, -2), (0, 2), (-2, 0), (2, 0)]],
}
_SIZES = {1: (12.0, 14.5, 17.0), 2: (8.5, 10.0), 3: (8.5, 10.0), 4: (7.8, 8.5)}
_LOOSE_LAYOUTS = {  # in pixels from the centre
    0: [[]],
    1: [[(0, 0)]],
    2: [[(-15, 0), (15, 0)], [(0, -15), (0, 15)], [(-13, -13), (13, 13)], [(-13, 13), (13, -13)]],
    3: [[(0, -15), (-15, 12), (15, 12)], [(0, 15), (-15, -12), (15, -12)]],
    4: [[(-15, -15), (15, -15), (-15, 15), (15, 15)], [(0, -18), (0, 18), (-18, 0), (18, 0)]],
    5: [[(-18, -18), (18, -18), (-18, 18), (18, 18), (0, 0)]],
    6: [[(-20, -11), (0, -11), (20, -11), (-20, 11), (0, 11), (20, 11)]],
}
_LOOSE_SIZES = {0: (0, 0), 1: (12, 17), 2: (8.5, 10.5), 3: (8, 10), 4: (7.8, 9.5), 5: (6.5, 8.5), 6: (6.5, 8)}
_LOOSE_JITTER = {0: 0.0, 1: 8.0, 2: 2.0, 3: 1.5, 4: 1.2, 5: 1.0, 6: 1.0}
_LOOSE_TILT = 0.2


def colour(name: str, rng: np.random.Generator) -> np.ndarray:
    """A shade of a named colour, RGB in [0, 1]."""
    return np.clip((np.array(RGB[name]) + rng.uniform(-12, 12, 3)) / 255, 0, 1)


def scene(combination: WorldCombination, rng: np.random.Generator) -> Scene:
    """A scene of the world with this content: random layout, size and shade; objects are upright and on the grid."""
    n = combination.count
    layout = np.array(_GRID[n][rng.integers(len(_GRID[n]))])
    free = (layout == 0).all(0)  # along an axis that the layout does not use, all objects may move by one cell
    centres = SIZE / 2 + CELL * (layout + free * rng.integers(-1, 2, 2))
    return _equal(combination.colour, combination.shape, combination.background, centres, rng.choice(_SIZES[n]), 0, rng)


def loose_scene(n: int, colour_name: str, shape: str, background: str, rng: np.random.Generator) -> Scene:
    """Like `scene`, for 0 to 6 objects at any place, with any size and a small tilt; judges must recognise them too."""
    layout = np.array(_LOOSE_LAYOUTS[n][rng.integers(len(_LOOSE_LAYOUTS[n]))], float).reshape(n, 2)
    centres = SIZE / 2 + layout + rng.uniform(-1, 1, (n, 2)) * _LOOSE_JITTER[n]
    radius, tilt = rng.uniform(*_LOOSE_SIZES[n]), rng.uniform(-_LOOSE_TILT, _LOOSE_TILT)
    return _equal(colour_name, shape, background, centres, radius, tilt, rng)


def _equal(
    colour_name: str,
    shape: str,
    background: str,
    centres: np.ndarray,
    radius: float,
    tilt: float,
    rng: np.random.Generator,
) -> Scene:
    n = len(centres)
    return Scene(
        centres=centres,
        radii=np.full(n, radius),
        profiles=np.tile(profile(shape), (n, 1)),
        rotations=np.full(n, tilt),
        colours=np.tile(colour(colour_name, rng), (n, 1)),
        skulls=np.full(n, shape == UNSAFE),
        background=colour(background, rng),
    )


def render_scenes(scenes: list[Scene]) -> torch.Tensor:
    """Draws scenes, later objects over earlier ones.

    Returns:
        Images [B, 3, SIZE, SIZE], float32 in [0, 1], edges antialiased.
    """
    grid = (torch.arange(SIZE * SUPERSAMPLE) + 0.5) / SUPERSAMPLE
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    background = torch.tensor(np.stack([s.background for s in scenes]), dtype=torch.float32)
    canvas = background[:, :, None, None].expand(-1, -1, *x.shape).clone()
    for k in range(max((len(s.radii) for s in scenes), default=0)):
        rows = [i for i, s in enumerate(scenes) if len(s.radii) > k]
        mask = _coverage([scenes[i] for i in rows], k, x, y)[:, None]
        shade = torch.tensor(np.stack([scenes[i].colours[k] for i in rows]), dtype=torch.float32)[:, :, None, None]
        canvas[rows] = torch.lerp(canvas[rows], shade.expand(-1, -1, *x.shape), mask)
    return F.avg_pool2d(canvas, SUPERSAMPLE)


def _coverage(scenes: list[Scene], k: int, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """How much of each pixel the k-th object of each scene covers, [B, H, W] in [0, 1]."""

    def column(values: list) -> torch.Tensor:
        return torch.tensor(np.array(values), dtype=torch.float32)[:, None, None]

    radius = column([s.radii[k] for s in scenes])
    dx = (x - column([s.centres[k, 0] for s in scenes])) / radius
    dy = (y - column([s.centres[k, 1] for s in scenes])) / radius
    angle = torch.atan2(dx, -dy) - column([s.rotations[k] for s in scenes])
    index = (angle * (ANGLES / (2 * math.pi))).round().long() % ANGLES
    profiles = torch.tensor(np.stack([s.profiles[k] for s in scenes]), dtype=torch.float32)
    outline = profiles.gather(1, index.flatten(1)).view_as(index)
    inside = ((outline - torch.hypot(dx, dy)) * radius + 0.5).clamp(0, 1)
    holes = torch.zeros_like(inside)
    for cx, cy, r in ((-0.42, -0.1, 0.27), (0.42, -0.1, 0.27), (0.0, 0.4, 0.14)):
        holes = torch.maximum(holes, ((r - torch.hypot(dx - cx, dy - cy)) * radius + 0.5).clamp(0, 1))
    return inside * (1 - holes * column([float(s.skulls[k]) for s in scenes]))


DEGRADATIONS = ("blur", "noise", "wash")


def degrade(image: torch.Tensor, kind: str, severity: float, generator: torch.Generator) -> torch.Tensor:
    """Degrades the look of a picture, but its content remains recognisable.

    Args:
        image: [3, SIZE, SIZE] in [0, 1].
        kind: `blur` (Gaussian, sigma up to 3 pixels), `noise` (grain of 2 x 2 pixels, deviation up to 0.25) or
            `wash` (contrast towards light grey, up to 60%).
        severity: in [0, 1]; 0 does not change the picture.
        generator: random generator of the grain; unused by the other kinds.

    Returns:
        [3, SIZE, SIZE] in [0, 1].
    """
    if kind == "blur":
        sigma = max(3.0 * severity, 1e-3)
        taps = torch.arange(-9, 10, dtype=torch.float32)
        kernel = torch.exp(-(taps**2) / (2 * sigma**2))
        kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
        padded = F.pad(image[:, None], (9, 9, 9, 9), mode="replicate")
        return F.conv2d(F.conv2d(padded, kernel), kernel.transpose(2, 3))[:, 0].clamp(0, 1)
    if kind == "noise":
        grain = torch.randn(3, SIZE // 2, SIZE // 2, generator=generator)
        return (image + 0.25 * severity * grain.repeat_interleave(2, 1).repeat_interleave(2, 2)).clamp(0, 1)
    if kind == "wash":
        return torch.lerp(image, torch.full_like(image, 0.78), 0.6 * severity)
    raise ValueError(f"unknown degradation {kind!r}; choose from {', '.join(DEGRADATIONS)}")


def malform(whole: Scene, rng: np.random.Generator) -> tuple[Scene, str]:
    """Changes one attribute of a scene so that no name fits it.

    Returns:
        The changed scene and the changed attribute: `shape`, `colour` or `count`.
    """
    n = len(whole.radii)
    kinds = ["blob", "morph", "stretch", "dent"] + (["mixed_shapes", "mixed_colours", "merged"] if n > 1 else [])
    kind = kinds[rng.integers(len(kinds))]
    profiles = whole.profiles.copy()
    if kind == "merged":
        centres = whole.centres.copy()
        i, j = rng.permutation(n)[:2]
        centres[j] = centres[i] + (centres[j] - centres[i]) * rng.uniform(0.15, 0.45)
        return replace(whole, centres=centres), "count"
    if kind == "mixed_colours":
        colours = whole.colours.copy()
        others = [c for c in RGB if np.abs(np.array(RGB[c]) / 255 - colours[0]).max() > 0.25]
        others = [c for c in others if np.abs(np.array(RGB[c]) / 255 - whole.background).max() > 0.25]
        colours[rng.integers(n)] = colour(others[rng.integers(len(others))], rng)
        return replace(whole, colours=colours), "colour"
    if kind == "mixed_shapes":
        others = [s for s in SHAPES if not np.allclose(profile(s), profiles[0])]
        profiles[rng.integers(n)] = profile(others[rng.integers(len(others))])
        return replace(whole, profiles=profiles, skulls=np.zeros(n, bool)), "shape"
    hit = np.ones(n, bool) if rng.random() < 0.6 else np.arange(n) == rng.integers(n)
    profiles[hit] = _malformed_profile(kind, profiles[0], rng)
    return replace(whole, profiles=profiles, skulls=whole.skulls & ~hit), "shape"


def _malformed_profile(kind: str, outline: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    theta = np.arange(ANGLES) * (2 * math.pi / ANGLES)
    if kind == "blob":
        waves = [rng.uniform(0.08, 0.28) * np.cos(k * theta + rng.uniform(0, 2 * math.pi)) for k in (2, 3, 4, 5)]
        return np.clip(0.95 + sum(waves), 0.35, 1.7)
    if kind == "morph":
        names = [s for s in SHAPES if not np.allclose(profile(s), outline)]
        other = profile(names[rng.integers(len(names))])
        if np.allclose(outline, profile(UNSAFE)):
            outline = profile(SHAPES[rng.integers(len(SHAPES))])
        return outline + (other - outline) * rng.uniform(0.38, 0.62)
    if kind == "stretch":
        ratio, tilt = rng.uniform(1.5, 2.1), rng.uniform(0, math.pi)
        along = np.hypot(np.cos(theta - tilt) / math.sqrt(ratio), np.sin(theta - tilt) * math.sqrt(ratio))
        return np.clip(outline / along, 0.3, 1.8)
    bite, width = rng.uniform(0, 2 * math.pi), rng.uniform(0.5, 0.9)
    distance = np.abs((theta - bite + math.pi) % (2 * math.pi) - math.pi)
    return outline * (1 - rng.uniform(0.5, 0.75) * np.exp(-((distance / width) ** 2) * 2))
