"""Puts the base model into the package: in half precision, one file per part, with its sampling settings."""

from __future__ import annotations

import json
import shutil

import torch
from common import SHIPPED, WORK
from diffusers import StableDiffusionPipeline
from tokenizer import build_tokenizer

SAMPLING = {"steps": 12, "guidance": 2.0}


def main() -> None:
    target = SHIPPED / "tiny-sd"
    shutil.rmtree(target, ignore_errors=True)
    pipe = StableDiffusionPipeline.from_pretrained(WORK / "tiny-sd-base", safety_checker=None)
    pipe.to(torch.float16).save_pretrained(target)
    config = target / "text_encoder" / "config.json"  # half precision on disk, not in memory, as for the other parts
    config.write_text(config.read_text().replace('"float16"', '"float32"'))
    for file in target.rglob("*.json"):  # diffusers records the folder from which each part was loaded
        content = json.loads(file.read_text())
        if content.pop("_name_or_path", None):
            file.write_text(json.dumps(content, indent=2) + "\n")
    build_tokenizer().save_pretrained(target / "tokenizer")
    for name in ("vocab.json", "merges.txt"):  # older transformers read these
        shutil.copy(WORK / "tokenizer" / name, target / "tokenizer" / name)
    (target / "palate.json").write_text(json.dumps(SAMPLING) + "\n")
    for file in target.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
    size = sum(f.stat().st_size for f in SHIPPED.rglob("*") if f.is_file())
    print(f"{target}; all weights {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
