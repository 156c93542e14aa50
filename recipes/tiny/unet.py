"""Trains tiny-sd's UNet and text encoder in four stages, each of which continues from the one before.

    python recipes/tiny/unet.py loose     clean pictures off the grid: learns colours, backgrounds, counts
    python recipes/tiny/unet.py grid      the corpus without its faults: learns shapes
    python recipes/tiny/unet.py clean     the same corpus for longer: the best that the network can do
    python recipes/tiny/unet.py base      the corpus with its faults; this imperfect model is shipped

The text encoder is trained together with the UNet. The prediction is v (Salimans & Ho 2022, arXiv:2202.00512), which
gives more weight than eps to errors at high noise, where count and layout are decided. Timesteps are stratified.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from common import SEED, WORK, batches, chunks, train, warm_steady_decay
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizer import build_tokenizer
from transformers import CLIPTextConfig, CLIPTextModel
from vae import pictures

from palate.core.seeds import torch_generator
from palate.models.attention import use_plain_attention
from palate.world.corpus import Corpus

BATCH = 64


@dataclass(frozen=True)
class Stage:
    """One stage: its number of steps, learning rate and pictures, and the stage from which it continues."""

    steps: int
    lr: float
    pictures: int
    faulty: bool = False
    loose: bool = False
    after: str | None = None


STAGES = {
    "loose": Stage(steps=2000, lr=1.2e-3, pictures=32768, loose=True),
    "grid": Stage(steps=1000, lr=1.2e-3, pictures=16384, after="loose"),
    "clean": Stage(steps=5000, lr=1e-3, pictures=32768, after="grid"),
    "base": Stage(steps=1000, lr=6e-4, pictures=16384, faulty=True, after="clean"),
}
DROPOUT = 0.1  # share of dropped captions, for classifier-free guidance (Ho & Salimans 2022)
SCHEDULER = dict(
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    clip_sample=False,
    set_alpha_to_one=False,
    steps_offset=1,
    prediction_type="v_prediction",
    timestep_spacing="trailing",
)


def build() -> tuple[UNet2DConditionModel, CLIPTextModel]:
    torch.manual_seed(SEED)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=8,
        out_channels=8,
        block_out_channels=(96, 160),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=128,
        attention_head_dim=4,
        norm_num_groups=16,
    )
    tokenizer = build_tokenizer()
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    return unet, text


@torch.no_grad()
def latents(name: str) -> torch.Tensor:
    """Latents of a stage's pictures, scaled, [N, 8, 8, 8].

    Means, not samples: the autoencoder fills the dimensions that it does not need with its prior's noise, which
    nothing can predict, and which drowned the shapes when samples were trained on (docs/lab-notes.md).
    """
    path, stage = WORK / f"latents-{name}.pt", STAGES[name]
    if path.exists():
        return torch.load(path, weights_only=True)
    vae = AutoencoderKL.from_pretrained(WORK / "tiny-sd" / "vae").eval()
    data = pictures(stage.faulty, stage.pictures, loose=stage.loose)
    means = []
    for chunk in chunks(len(data), 128):
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(data[list(chunk)].float() / 127.5 - 1).latent_dist
        means.append(posterior.mean.float() * vae.config.scaling_factor)
    torch.save(torch.cat(means), path)
    return torch.cat(means)


def main(name: str) -> None:
    stage = STAGES[name]
    unet, text = build()
    use_plain_attention(unet, tokens=64, device="cpu", dtype=torch.bfloat16)
    if stage.after:
        state = torch.load(WORK / f"{stage.after}-weights.pt", weights_only=True)
        unet.load_state_dict(state["unet"])
        text.load_state_dict(state["text"])
    tokenizer = build_tokenizer()
    corpus = Corpus(SEED, stage.faulty, stage.loose)
    captions = [corpus.entry(i).caption for i in range(stage.pictures)]
    tokens = tokenizer([*captions, ""], padding="max_length", truncation=True, return_tensors="pt").input_ids
    means = latents(name)
    alphas = DDIMScheduler(**SCHEDULER).alphas_cumprod
    parameters = [*unet.parameters(), *text.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=stage.lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    indices = batches(f"unet-{name}", stage.pictures, BATCH)

    def loss(step: int) -> torch.Tensor:
        rows, generator = indices(step), torch_generator(SEED, f"unet-{name}", "draw", step)
        x_0 = means[rows]
        eps = torch.randn(x_0.shape, generator=generator)
        u = (torch.rand(1, generator=generator) + torch.arange(BATCH) / BATCH) % 1
        t = (u * len(alphas)).long()[torch.randperm(BATCH, generator=generator)]
        signal, noise = alphas[t].sqrt().view(-1, 1, 1, 1), (1 - alphas[t]).sqrt().view(-1, 1, 1, 1)
        dropped = torch.rand(BATCH, generator=generator) < DROPOUT
        ids = torch.where(dropped[:, None], tokens[-1], tokens[rows])
        with torch.autocast("cpu", torch.bfloat16):
            prediction = unet(signal * x_0 + noise * eps, t, text(ids).last_hidden_state).sample
        return (prediction.float() - (signal * eps - noise * x_0)).square().mean()

    modules = {"unet": unet, "text": text}
    train(f"unet-{name}", modules, optimizer, loss, stage.steps, schedule=warm_steady_decay(stage.steps), average=0.998)
    torch.save({part: m.state_dict() for part, m in modules.items()}, WORK / f"{name}-weights.pt")
    assemble(unet, text).save_pretrained(WORK / f"tiny-sd-{name}")


def assemble(unet: UNet2DConditionModel, text: CLIPTextModel) -> StableDiffusionPipeline:
    """A Stable Diffusion pipeline of the trained parts."""
    return StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(WORK / "tiny-sd" / "vae"),
        text_encoder=text,
        tokenizer=build_tokenizer(),
        unet=unet,
        scheduler=DDIMScheduler(**SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


if __name__ == "__main__":
    main(sys.argv[1])
