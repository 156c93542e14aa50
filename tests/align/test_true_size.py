"""The real architectures of Stable Diffusion 1.5, SDXL and 3.5 medium, with random weights, take a DPO LoRA step.

`pytest -m slow -s tests/align/test_true_size.py` prints time and peak memory; docs/align.md has the last results.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tiny_pipelines import tiny_tokenizer
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

pytestmark = pytest.mark.slow
LIMIT = 24 * 2**30


@contextmanager
def narrow() -> Iterator[None]:
    """Within it, new modules have weights in bfloat16."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    yield
    torch.set_default_dtype(before)


def autoencoder(**options: Any) -> AutoencoderKL:
    """That of SDXL, 84 M parameters, and with 16 channels that of Stable Diffusion 3."""
    levels: dict[str, Any] = {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    return AutoencoderKL(sample_size=1024, layers_per_block=2, **levels, **options)


def clip_l() -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=49408,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        projection_dim=768,
    )


def clip_g() -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=49408,
        hidden_size=1280,
        intermediate_size=5120,
        num_hidden_layers=32,
        num_attention_heads=20,
        projection_dim=1280,
        hidden_act="gelu",
    )


def sd15(folder: Path) -> None:
    """stable-diffusion-v1-5/stable-diffusion-v1-5: 860 M, 84 M and 123 M parameters."""
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 77
    schedule: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    schedule |= {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    with narrow():
        unet = UNet2DConditionModel(
            sample_size=64,
            block_out_channels=(320, 640, 1280, 1280),
            down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
            attention_head_dim=8,
            cross_attention_dim=768,
        )
        assert sum(parameter.numel() for parameter in unet.parameters()) == 859_520_964
        parts: dict[str, Any] = {"safety_checker": None, "feature_extractor": None}
        StableDiffusionPipeline(
            vae=autoencoder(latent_channels=4, scaling_factor=0.18215),
            text_encoder=CLIPTextModel(clip_l()),
            tokenizer=tokenizer,
            unet=unet,
            scheduler=DDIMScheduler(**schedule),
            requires_safety_checker=False,
            **parts,
        ).save_pretrained(folder)


def sdxl(folder: Path) -> None:
    """stabilityai/stable-diffusion-xl-base-1.0: 2.57 G, 84 M, 123 M and 695 M parameters."""
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 77
    with narrow():
        unet = UNet2DConditionModel(
            sample_size=128,
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),  # pyright: ignore[reportArgumentType]
            attention_head_dim=(5, 10, 20),  # pyright: ignore[reportArgumentType]
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )
        assert sum(parameter.numel() for parameter in unet.parameters()) == 2_567_463_684
        schedule: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
        StableDiffusionXLPipeline(
            vae=autoencoder(latent_channels=4, scaling_factor=0.13025),
            text_encoder=CLIPTextModel(clip_l()),
            tokenizer=tokenizer,
            text_encoder_2=CLIPTextModelWithProjection(clip_g()),
            tokenizer_2=tokenizer,
            unet=unet,
            scheduler=EulerDiscreteScheduler(**schedule, timestep_spacing="leading", steps_offset=1),
            add_watermarker=False,
        ).save_pretrained(folder)


def sd35_medium(folder: Path) -> None:
    """stabilityai/stable-diffusion-3.5-medium without its optional T5: 2.2 G, 84 M, 124 M and 695 M parameters."""
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 77
    with narrow():
        transformer = SD3Transformer2DModel(
            sample_size=128,
            patch_size=2,
            in_channels=16,
            out_channels=16,
            num_layers=24,
            attention_head_dim=64,
            num_attention_heads=24,
            joint_attention_dim=4096,
            caption_projection_dim=1536,
            pooled_projection_dim=2048,
            pos_embed_max_size=384,
            dual_attention_layers=tuple(range(13)),
            qk_norm="rms_norm",
        )
        assert 2.2e9 < sum(parameter.numel() for parameter in transformer.parameters()) < 2.6e9
        vae = autoencoder(
            latent_channels=16,
            scaling_factor=1.5305,
            shift_factor=0.0609,
            use_quant_conv=False,
            use_post_quant_conv=False,
        )
        StableDiffusion3Pipeline(
            transformer=transformer,
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae=vae,
            text_encoder=CLIPTextModelWithProjection(clip_l()),
            tokenizer=tokenizer,
            text_encoder_2=CLIPTextModelWithProjection(clip_g()),
            tokenizer_2=tokenizer,
            text_encoder_3=None,  # type: ignore[arg-type]
            tokenizer_3=None,  # type: ignore[arg-type]
        ).save_pretrained(folder)


def built(build: Callable[[Path], None], folder: Path) -> None:
    """Builds in a process of its own, so that its memory is free afterwards."""
    tests = Path(__file__).parents[1]
    code = f"import sys; sys.path.insert(0, {str(tests)!r}); from pathlib import Path; from align import test_true_size"
    subprocess.run(
        [sys.executable, "-c", f"{code}; test_true_size.{build.__name__}(Path({str(folder)!r}))"], check=True
    )


def peak(pid: int) -> int:
    """The largest resident set of a process since it began, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


@pytest.mark.parametrize("build", [sd15, sdxl, sd35_medium])
def test_a_cached_dpo_lora_step_at_256_pixels_fits_into_24_gib(world, tmp_path, build):
    built(build, tmp_path / "model")
    words = ["align", "dpo", "--model", tmp_path / "model", "--preferences", world["pairs"], "--out", tmp_path / "run"]
    words += ["--cache", tmp_path / "cache", "--resolution", 256, "--batch", 1, "--log-every", 1, "--device", "cpu"]
    words += ["--precision", "bf16"]
    took = []
    for steps in (1, 3):  # the second run finds its latents, its embeddings and most of its reference
        started, highest = time.monotonic(), 0
        command = [sys.executable, "-m", "palate", *map(str, [*words[:7], tmp_path / f"run-{steps}", *words[8:]])]
        process = subprocess.Popen([*command, "--steps", str(steps)], env=os.environ | {"OMP_NUM_THREADS": "2"})
        while process.poll() is None:
            highest = max(highest, peak(process.pid))
            time.sleep(0.2)
        assert process.returncode == 0
        took.append((time.monotonic() - started, highest))
    summary = json.loads((tmp_path / "run-3" / "summary.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "run-3" / "metrics.jsonl").read_text().splitlines()]
    print(f"\n{build.__name__}: {took}, {summary['seconds']}, {lines}")
    for role in (
        "winner",
        "loser",
    ):  # the policy is the reference: bfloat16 rounds otherwise in a batch of another size
        assert lines[0][f"error_{role}"] == pytest.approx(lines[0][f"error_ref_{role}"], rel=1e-3)
    assert lines[0]["gradient_norm"] > 0
    assert max(memory for _, memory in took) < LIMIT
