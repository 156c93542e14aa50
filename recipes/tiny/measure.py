"""Measures a tiny-sd folder on unseen prompts: `python recipes/tiny/measure.py FOLDER [--guidance 2] [--sheet x.png]`.

Prints faithful rate and appeal by both judges, how often they agree, seconds per image, and the kinds of errors.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw
from scipy.stats import binomtest

from palate.core.seeds import torch_generator
from palate.world.grammar import seen_prompts, unseen_prompts
from palate.world.judges import ATTRIBUTES, Readings, attributes, faithful, load_judge


def sample(folder: Path, prompts: list[str], steps: int, guidance: float, batch: int = 32) -> torch.Tensor:
    """One picture per prompt, [N, 3, 64, 64] in [0, 1]."""
    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    pictures = []
    for start in range(0, len(prompts), batch):
        chunk = prompts[start : start + batch]
        generators = [torch_generator(11, "measure", start + i) for i in range(len(chunk))]
        with torch.inference_mode():
            out = pipe(
                chunk, num_inference_steps=steps, guidance_scale=guidance, generator=generators, output_type="np"
            )
        pictures.append(torch.from_numpy(out.images).permute(0, 3, 1, 2))
    return torch.cat(pictures).float()


def sheet(pictures: torch.Tensor, prompts: list[str], verdicts: list[str], path: Path, columns: int = 10) -> None:
    """A contact sheet with prompt and judgement under each picture."""
    cell_w, cell_h = 150, 166
    rows = -(-len(prompts) // columns)
    canvas = Image.new("RGB", (columns * cell_w, rows * cell_h), "white")
    draw = ImageDraw.Draw(canvas)
    for i, (picture, prompt, verdict) in enumerate(zip(pictures, prompts, verdicts, strict=True)):
        x, y = i % columns * cell_w, i // columns * cell_h
        array = (picture.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        canvas.paste(Image.fromarray(array).resize((128, 128), Image.Resampling.NEAREST), (x + 2, y + 2))
        draw.text((x + 2, y + 131), prompt.replace(" background", "").replace(" on a ", "/"), fill="black")
        draw.text((x + 2, y + 147), verdict, fill="black" if verdict.startswith("ok") else "red")
    canvas.save(path)


def seen_as(readings: Readings, i: int) -> str:
    return " ".join(str(getattr(readings, name)[i] or "?") for name in ATTRIBUTES)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--prompts", choices=["unseen", "seen"], default="unseen")
    parser.add_argument("--sheet", type=Path)
    args = parser.parse_args()
    prompts = {"unseen": unseen_prompts, "seen": seen_prompts}[args.prompts]() * args.repeats
    start = time.perf_counter()
    pictures = sample(args.folder, prompts, args.steps, args.guidance)
    print(f"{len(prompts)} pictures, {(time.perf_counter() - start) / len(prompts):.3f} s each")
    read = {name: load_judge(name).read(pictures) for name in ("teacher", "auditor")}
    right = {name: faithful(r, prompts) for name, r in read.items()}
    for name, r in read.items():
        k, n = int(right[name].sum()), len(prompts)
        low, high = binomtest(k, n).proportion_ci(method="wilson")
        parts = {key: round(v.float().mean().item(), 3) for key, v in attributes(r, prompts).items()}
        print(f"{name}: faithful {k / n:.3f} [{low:.3f}, {high:.3f}] {parts} appeal {r.appeal.mean():.3f}")
        nones = {a: sum(v is None for v in getattr(r, a)) / n for a in ATTRIBUTES}
        print(f"  none of these: { {a: round(v, 3) for a, v in nones.items()} }")
    print(f"agree on faithful {(right['teacher'] == right['auditor']).float().mean():.3f}")
    for attribute in ATTRIBUTES:
        pairs = zip(getattr(read["teacher"], attribute), getattr(read["auditor"], attribute), strict=True)
        different = Counter((a, b) for a, b in pairs if a != b)
        print(f"  {attribute}: agree {1 - different.total() / len(prompts):.3f}; {different.most_common(4)}")
    if args.sheet:
        verdicts = [
            f"{'ok' if ok else 'no'} {seen_as(read['auditor'], i)} {read['auditor'].appeal[i]:.1f}"
            for i, ok in enumerate(right["auditor"].tolist())
        ]
        order = torch.randperm(len(prompts), generator=torch_generator(1, "sheet"))[:100].tolist()
        sheet(pictures[order], [prompts[i] for i in order], [verdicts[i] for i in order], args.sheet)


if __name__ == "__main__":
    main()
