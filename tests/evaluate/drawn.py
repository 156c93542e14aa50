"""A comparison with real content: pictures of the tiny world, and readings that follow from what they show."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from palate.core.seeds import numpy_generator, torch_generator
from palate.evaluate.compare import Comparison, Paired, Verdict
from palate.evaluate.diversity import distance_between_seeds
from palate.records.images import StoredImage
from palate.world.grammar import combinations
from palate.world.renderer import degrade, render_scenes, scene


def stored(image: Image.Image) -> StoredImage:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return StoredImage(data=buffer.getvalue())


def drawn_comparison(prompts: int = 6, images: int = 2, right: tuple[float, float] = (0.4, 0.7)) -> Comparison:
    """Held-out captions; each model draws the asked scene with probability `right`, else another one, some spoiled."""
    pool = combinations(held_out=True)
    asked = [pool[(7 * p) % len(pool)] for p in range(prompts)]
    sides, faithful, appeal = {}, {}, {}
    for side, chance in zip(("base", "aligned"), right, strict=True):
        rng = numpy_generator(0, side)
        ok = rng.random((prompts, images)) < np.clip(chance + rng.normal(0, 0.2, (prompts, 1)), 0, 1)
        worse = rng.random((prompts, images)) * (rng.random((prompts, images)) < 0.8 - chance)
        rows = []
        for p, combination in enumerate(asked):
            shown = [combination if good else pool[rng.integers(len(pool))] for good in ok[p]]
            tensors = render_scenes([scene(c, numpy_generator(p, "scene", k)) for k, c in enumerate(shown)])
            tensors = [
                degrade(t, "noise", w, torch_generator(p, side, k)) for k, (t, w) in enumerate(zip(tensors, worse[p]))
            ]
            rows.append([Image.fromarray((t.permute(1, 2, 0) * 255).byte().numpy()) for t in tensors])
        sides[side], faithful[side], appeal[side] = rows, ok.astype(float), 1 - worse
    measures = {"faithful": Paired(**faithful), "appeal": Paired(**appeal)}
    for name in ("count", "colour", "shape", "background"):
        rng = numpy_generator(0, name)
        measures[name] = Paired(*(np.maximum(v, rng.random(v.shape) < 0.7) for v in faithful.values()))
    measures["unsafe"] = Paired(*(np.full(v.shape, 0.01) for v in faithful.values()))
    preference = Paired(*(3 * faithful[s] + appeal[s] for s in sides))
    flattered = Paired(faithful["base"], np.maximum(faithful["aligned"], appeal["aligned"] > 0.9))
    teacher = Verdict("teacher", preference, {**measures, "faithful": flattered})
    distance = {s: np.array([[distance_between_seeds(row)] for row in rows]) for s, rows in sides.items()}
    return Comparison(
        base="tiny-sd",
        aligned="runs/demo/align",
        prompts=tuple(c.caption() for c in asked),
        images={s: tuple(tuple(map(stored, row)) for row in rows) for s, rows in sides.items()},
        verdicts=(Verdict("auditor", preference, measures), teacher),
        diversity=Paired(**distance),
    )
