"""Trains the two judges: `python recipes/tiny/judges.py teacher` (or `auditor`).

Each is trained on its own pictures: intact scenes of every combination, malformed ones whose changed attribute is "none
of these", degraded pictures, and pictures that went through the autoencoder with noise on the latents, because
generated pictures differ from rendered ones in this way.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from common import SEED, SHIPPED, WORK, batches, chunks, train, warm_cosine
from diffusers import AutoencoderKL
from torch.nn.attention import SDPBackend, sdpa_kernel

from palate.core.seeds import numpy_generator, torch_generator
from palate.world.corpus import appeal
from palate.world.grammar import SHAPES, UNSAFE, combinations
from palate.world.judges import ANSWERS, ATTRIBUTES, JudgeNetwork, build_judge, save_judge
from palate.world.renderer import DEGRADATIONS, Scene, degrade, loose_scene, malform, render_scenes, scene

BATCH, LATENT_NOISE = 64, 0.35


KINDS = ("whole", "malformed", "number", "strange", "unequal")


@dataclass(frozen=True)
class Phase:
    """One phase of a training: `grid` is the share of scenes on the world's grid, `mix` the shares of `KINDS`."""

    steps: int
    lr: float
    pictures: int
    grid: float
    mix: tuple[float, ...] = (0.55, 0.3, 0.06, 0.09, 0.0)


PHASES = (
    Phase(1800, 1.5e-3, 32768, 0.0),
    Phase(500, 5e-4, 10240, 0.5),
    Phase(2500, 1e-3, 32768, 0.65),
    Phase(1500, 6e-4, 24576, 0.65, (0.44, 0.38, 0.06, 0.08, 0.04)),
)
TEST = Phase(0, 0.0, 2000, 1.0)
CLEAR = 0.35  # severity up to which a degraded malformed shape is still recognisable as malformed


def example(seed: int, index: int, clean: bool, phase: Phase) -> tuple[Scene, dict[str, object], str | None, float]:
    """One scene with the true answers, and the degradation of its look."""
    rng = numpy_generator(seed, "judge", index)
    pool = combinations(None, (UNSAFE,) if rng.random() < 0.12 else SHAPES)
    shown = pool[rng.integers(len(pool))]
    answers: dict[str, object] = {name: getattr(shown, name) for name in ATTRIBUTES}
    on_grid = bool(phase.grid) and rng.random() < phase.grid
    loose = (shown.count, shown.colour, shown.shape, shown.background)
    drawn = scene(shown, rng) if on_grid else loose_scene(*loose, rng)
    kind = rng.choice(KINDS, p=phase.mix)
    if clean or kind == "whole":
        pass
    elif kind == "malformed":
        drawn, broken = malform(drawn, rng)
        answers[broken] = None
    elif kind == "unequal":
        radii = drawn.radii.copy()
        radii[rng.integers(len(radii))] *= rng.uniform(0.55, 0.85)
        drawn = replace(drawn, radii=radii)
    elif kind == "number":
        n = int(rng.choice([0, 5, 6]))
        drawn = loose_scene(n, shown.colour, shown.shape, shown.background, rng)
        answers["count"] = None
        if n == 0:
            answers["colour"] = answers["shape"] = None
    else:
        drawn, broken = strange(drawn, rng)
        answers[broken] = None
    spoiled = not clean and rng.random() < 0.4
    worst = 1.0 if None not in answers.values() else CLEAR
    return drawn, answers, rng.choice(DEGRADATIONS) if spoiled else None, rng.uniform(0.1, worst) if spoiled else 0.0


def strange(drawn: Scene, rng: np.random.Generator) -> tuple[Scene, str]:
    """A scene with a colour, background or object without a name: off-palette, between two names, or incomplete."""
    nameless = np.array([[0.55, 0.35, 0.2], [0.5, 0.5, 0.5], [0.3, 0.85, 0.85], [0.08, 0.08, 0.08], [1, 0.6, 0.75]])
    shade = nameless[rng.integers(len(nameless))] + rng.uniform(-0.04, 0.04, 3)
    kind = rng.choice(["colour", "background", "ghost"])
    if kind == "background":
        return replace(drawn, background=np.clip(shade, 0, 1)), "background"
    if kind == "colour":
        return replace(drawn, colours=np.tile(np.clip(shade, 0, 1), (len(drawn.radii), 1))), "colour"
    colours = drawn.colours.copy()
    faded = rng.integers(len(colours))
    colours[faded] += (drawn.background - colours[faded]) * rng.uniform(0.5, 0.75)
    return replace(drawn, colours=colours), "count" if len(colours) > 1 else "colour"


def examples(seed: int, clean: bool, phase: Phase) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """uint8 pictures of a phase [N, 3, 64, 64] and their answers as class indices, with `appeal` in [0, 1]."""
    path = WORK / f"judged-{seed}-{phase.pictures}-{clean}-{phase.grid}-{phase.mix[0]}.pt"
    if path.exists():
        return torch.load(path, weights_only=True)
    images, answers = [], {name: [] for name in (*ATTRIBUTES, "appeal")}
    for chunk in chunks(phase.pictures, 256):
        rows = [example(seed, i, clean, phase) for i in chunk]
        drawn = render_scenes([row[0] for row in rows])
        for i, picture, (_, truth, kind, severity) in zip(chunk, drawn, rows):
            if kind:
                picture.copy_(degrade(picture, kind, severity, torch_generator(seed, "grain", i)))
            for name in ATTRIBUTES:
                answers[name].append(ANSWERS[name].index(truth[name]))
            answers["appeal"].append(appeal(kind, severity))
        images.append((drawn * 255).round().byte())
    result = torch.cat(images), {name: torch.tensor(values) for name, values in answers.items()}
    torch.save(result, path)
    return result


@torch.no_grad()
def through_autoencoder(images: torch.Tensor, seed: int, noise: float) -> torch.Tensor:
    """Every second picture as the autoencoder returns it, with up to `noise` (in latent deviations) added."""
    path = WORK / f"decoded-{seed}-{len(images)}-{noise}.pt"
    if path.exists():
        return torch.load(path, weights_only=True)
    vae = AutoencoderKL.from_pretrained(WORK / "tiny-sd" / "vae").eval()
    result = images.clone()
    for chunk in chunks(len(images) // 2, 128):
        rows = torch.tensor(list(chunk)) * 2
        with torch.autocast("cpu", torch.bfloat16):
            latents = vae.encode(images[rows].float() / 127.5 - 1).latent_dist.mode().float()
            generator = torch_generator(seed, "latent-noise", chunk.start)
            level = noise * torch.rand(len(rows), 1, 1, 1, generator=generator) / vae.config.scaling_factor
            latents = latents + level * torch.randn(latents.shape, generator=generator)
            decoded = vae.decode(latents).sample.float()
        result[rows] = ((decoded.clamp(-1, 1) + 1) * 127.5).round().byte()
    torch.save(result, path)
    return result


def learn(judge: JudgeNetwork, phase: Phase, seed: int, name: str) -> None:
    @cache  # not before the first step: a phase that is done needs no pictures
    def data() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        drawn, answers = examples(seed, False, phase)
        return through_autoencoder(drawn, seed, LATENT_NOISE), answers

    optimizer = torch.optim.AdamW(judge.parameters(), lr=phase.lr, weight_decay=0.02)
    indices = batches(name, phase.pictures, BATCH)

    def loss(step: int) -> torch.Tensor:
        (pictures, answers), rows = data(), indices(step)
        flip = torch.rand(len(rows), 1, 1, 1, generator=torch_generator(seed, "flip", step)) < 0.5
        x = pictures[rows].float() / 255
        x = torch.where(flip, x.flip(3), x).contiguous(memory_format=torch.channels_last)
        # On a CPU, fused attention has a slow backward in bfloat16.
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            output = judge(x)
        questions = sum(F.cross_entropy(output[k].float(), answers[k][rows]) for k in ATTRIBUTES)
        return questions + 4 * F.mse_loss(output["appeal"].float(), answers["appeal"][rows].float())

    train(name, {judge.name: judge}, optimizer, loss, phase.steps, schedule=warm_cosine(phase.steps))


@torch.no_grad()
def report(judge: JudgeNetwork, seed: int) -> None:
    """Accuracy of each attribute on clean scenes of the world, and on a mixture with malformed and degraded ones."""
    for kind, clean in (("clean", True), ("mixed", False)):
        images, truth = examples(seed, clean, TEST)
        output = [judge(images[list(c)].float() / 255) for c in chunks(len(images), 200)]
        right = {k: (torch.cat([o[k] for o in output]).argmax(1) == truth[k]).float().mean() for k in ATTRIBUTES}
        error = (torch.cat([o["appeal"] for o in output]) - truth["appeal"]).abs().mean()
        print(judge.name, kind, {k: f"{v:.4f}" for k, v in right.items()}, f"appeal error {error:.4f}", flush=True)


def main(name: str) -> None:
    seed = SEED + {"teacher": 1, "auditor": 2}[name]
    torch.manual_seed(seed)
    judge = build_judge(name).to(memory_format=torch.channels_last)
    for number, phase in enumerate(PHASES):
        judge.train()
        learn(judge, phase, seed + 10 * number, f"{name}-{number}")
    save_judge(judge.eval(), SHIPPED / name)
    report(judge, seed + 1000)


if __name__ == "__main__":
    main(sys.argv[1])
