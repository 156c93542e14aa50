"""Trains the autoencoder: 64 x 64 pictures to 8 x 8 x 8 latents.

`python recipes/tiny/vae.py` renders the pictures, trains, and reports PSNR on clean renders that were not trained on.
"""

from __future__ import annotations

import torch
from common import SEED, WORK, batches, chunks, train, warm_cosine
from diffusers import AutoencoderKL

from palate.core.seeds import torch_generator
from palate.world.corpus import Corpus

BATCH, PICTURES = 16, 16384
KL_WEIGHT = 2e-5


def pictures(faulty: bool, count: int, offset: int = 0, loose: bool = True) -> torch.Tensor:
    """uint8 pictures of the corpus [count, 3, 64, 64], rendered once and kept under WORK."""
    path = WORK / f"pictures-{'faulty' if faulty else 'clean'}{'-loose' if loose else ''}-{offset}-{count}.pt"
    if path.exists():
        return torch.load(path, weights_only=True)
    corpus = Corpus(SEED, faulty=faulty, loose=loose)
    parts = []
    for chunk in chunks(count, 256):
        images = corpus.images([corpus.entry(offset + i) for i in chunk])
        parts.append((images * 255).round().byte())
    WORK.mkdir(parents=True, exist_ok=True)
    torch.save(torch.cat(parts), path)
    return torch.cat(parts)


def build() -> AutoencoderKL:
    torch.manual_seed(SEED)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 96),
        layers_per_block=1,
        latent_channels=8,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
    )


def learn(vae: AutoencoderKL, phase: str, steps: int, rate: float, data: torch.Tensor, l2: float) -> None:
    optimizer = torch.optim.AdamW(vae.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=1e-4)
    indices = batches(phase, len(data), BATCH)

    def loss(step: int) -> torch.Tensor:
        x = data[indices(step)].float() / 127.5 - 1
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(x).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=torch_generator(SEED, phase, "noise", step))
            y = vae.decode(posterior.mean + posterior.std * noise).sample
        y = y.float()
        return (y - x).abs().mean() + l2 * (y - x).square().mean() + KL_WEIGHT * posterior.kl().mean()

    train(phase, {"vae": vae}, optimizer, loss, steps, schedule=warm_cosine(steps), average=0.998)


def main() -> None:
    vae = build()
    learn(vae, "vae", 3000, 1.5e-3, pictures(True, PICTURES), l2=2)
    # Grain cannot be encoded, and in the loss it outweighs edges: the second phase has mostly clean pictures.
    sharp = torch.cat([pictures(False, 2 * PICTURES)[: PICTURES * 7 // 4], pictures(True, PICTURES)[: PICTURES // 4]])
    learn(vae, "vae-sharp", 2000, 1.2e-3, sharp, l2=6)
    vae.eval().requires_grad_(False)
    fresh = pictures(False, 512, offset=10_000_000)
    x = fresh.float() / 127.5 - 1
    latents = vae.encode(x).latent_dist.mode()
    error = ((vae.decode(latents).sample.clamp(-1, 1) - x) / 2).square().mean((1, 2, 3))
    psnr = -10 * error.log10()
    print(f"PSNR {psnr.mean():.2f} dB (lowest tenth {psnr.quantile(0.1):.2f}); latent std {latents.std():.4f}")
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
    vae.save_pretrained(WORK / "tiny-sd" / "vae", safe_serialization=True)


if __name__ == "__main__":
    main()
