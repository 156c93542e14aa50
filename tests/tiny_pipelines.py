"""Small pipelines of the real diffusers classes with random weights, saved in a folder as a hub model would be.

They hold no knowledge and fit in a megabyte or two, so tests can walk the code paths of Stable Diffusion, its XL and
Stable Diffusion 3 offline: `StableDiffusionPipeline.from_pretrained(random_stable_diffusion(tmp_path))`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
)

RESOLUTION = 16  # width and height in pixels of the native picture: latents of 8 x 8, two pixels per cell
PROMPT_LENGTH = 32


def random_stable_diffusion(
    folder: Path,
    prediction_type: str = "epsilon",
    seed: int = 0,
    width: int = 16,
    sample_size: int = 8,
    safety_threshold: float | None = None,
) -> Path:
    """A random `StableDiffusionPipeline` in `folder`.

    Args:
        folder: where to save it; made when it is absent.
        prediction_type: `epsilon`, `v_prediction` or `sample`, as diffusers spells them.
        width: channels of the UNet's first level.
        sample_size: latent cells a side; a picture has twice as many pixels a side.
        safety_threshold: gives it a safety checker, which blanks each picture whose cosine similarity to one of its 17
            concepts is above this: below -1 it blanks all, above 1 none.
    """
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    unet = UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=4,
        out_channels=4,
        block_out_channels=(width, 2 * width),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    schedule: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    schedule |= {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    parts: dict[str, Any] = {
        "vae": _tiny_vae(2 * sample_size),
        "text_encoder": CLIPTextModel(tiny_text_config(tokenizer)),
        "tokenizer": tokenizer,
        "unet": unet,
        "scheduler": DDIMScheduler(**schedule, prediction_type=prediction_type),  # pyright: ignore[reportArgumentType]
    }
    parts |= {"safety_checker": None, "feature_extractor": None}
    if safety_threshold is not None:
        parts |= _tiny_safety_checker(safety_threshold)
    StableDiffusionPipeline(**parts, requires_safety_checker=safety_threshold is not None).save_pretrained(folder)
    return Path(folder)


def random_sdxl(
    folder: Path, seed: int = 0, force_zeros: bool = True, prediction_type: str = "epsilon", spacing: str = "leading"
) -> Path:
    """A random `StableDiffusionXLPipeline` in `folder`.

    Args:
        folder: where to save it; made when it is absent.
        force_zeros: whether no prompt is embedded as zeros, as in the release.
        prediction_type: as diffusers spells it.
        spacing: of the scheduler's timesteps; `trailing` in models for few steps.
    """
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    StableDiffusionXLPipeline(
        unet=_tiny_xl_unet(width=32, ids=6),  # as wide as both text encoders together
        vae=_tiny_vae(RESOLUTION),
        text_encoder=CLIPTextModel(tiny_text_config(tokenizer)),
        tokenizer=tokenizer,
        text_encoder_2=CLIPTextModelWithProjection(tiny_text_config(tokenizer)),
        tokenizer_2=tokenizer,
        scheduler=_xl_scheduler(prediction_type=prediction_type, timestep_spacing=spacing),
        force_zeros_for_empty_prompt=force_zeros,
        add_watermarker=False,
    ).save_pretrained(folder)
    return Path(folder)


def random_sdxl_refiner(folder: Path, scored: bool = True) -> Path:
    """A random `StableDiffusionXLImg2ImgPipeline` with the second text encoder alone in `folder`.

    Args:
        folder: where to save it; made when it is absent.
        scored: whether its network takes an aesthetic score instead of the target size, as in the release.
    """
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    StableDiffusionXLImg2ImgPipeline(
        unet=_tiny_xl_unet(width=16, ids=5 if scored else 6),
        text_encoder=None,  # type: ignore[arg-type]  # as in the release
        tokenizer=None,  # type: ignore[arg-type]
        text_encoder_2=CLIPTextModelWithProjection(tiny_text_config(tokenizer)),
        tokenizer_2=tokenizer,
        vae=_tiny_vae(RESOLUTION),
        scheduler=_xl_scheduler(),
        requires_aesthetics_score=scored,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    ).save_pretrained(folder)
    return Path(folder)


def _tiny_xl_unet(width: int, ids: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),  # pyright: ignore[reportArgumentType]
        cross_attention_dim=width,
        attention_head_dim=2,
        norm_num_groups=4,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=ids * 8 + 16,
    )


def _xl_scheduler(**changes: Any) -> EulerDiscreteScheduler:
    schedule: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    schedule |= {"timestep_spacing": "leading", "steps_offset": 1, "interpolation_type": "linear"}
    return EulerDiscreteScheduler(**{**schedule, **changes})


def random_sd3(folder: Path, seed: int = 0, shift: float = 3.0, t5: bool = False, **schedule: Any) -> Path:
    """A random `StableDiffusion3Pipeline` in `folder`.

    Args:
        folder: where to save it; made when it is absent.
        shift: of the scheduler, as in the release.
        t5: whether it has its optional T5 encoder.
        schedule: more of its options.
    """
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        pos_embed_max_size=8,
    )
    text_encoders = [CLIPTextModelWithProjection(tiny_text_config(tokenizer)) for _ in range(2)]
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=shift, **schedule),
        vae=_tiny_vae(RESOLUTION, shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=text_encoders[0],
        tokenizer=tokenizer,
        text_encoder_2=text_encoders[1],
        tokenizer_2=tokenizer,
        text_encoder_3=tiny_t5(len(tokenizer)) if t5 else None,  # type: ignore[arg-type]  # it also runs without T5
        tokenizer_3=tokenizer if t5 else None,  # type: ignore[arg-type]
    )
    pipeline.save_pretrained(folder)
    return Path(folder)


def tiny_tokenizer(**options: Any) -> CLIPTokenizer:
    """A `CLIPTokenizer` whose words are single characters, built without a download."""
    alphabet = sorted(ByteLevel.alphabet())
    words = [*alphabet, *(f"{character}</w>" for character in alphabet), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=PROMPT_LENGTH, **options)


def tiny_text_config(tokenizer: Any) -> CLIPTextConfig:
    """Of a CLIP text encoder, 16 wide."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=PROMPT_LENGTH,
        projection_dim=16,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def tiny_t5(vocabulary: int) -> T5EncoderModel:
    """A text encoder of T5's class, 32 wide."""
    width: dict[str, Any] = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    return T5EncoderModel(T5Config(vocab_size=vocabulary, is_encoder_decoder=False, **width))


def _tiny_vae(resolution: int, **options: Any) -> AutoencoderKL:
    settings: dict[str, Any] = dict(  # diffusers declares every tuple as one of a single element
        sample_size=resolution,
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
    )
    return AutoencoderKL(**settings, **options)


def _tiny_safety_checker(threshold: float) -> dict[str, Any]:
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}
    vision = tower | {"image_size": 16, "patch_size": 8}
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=8))
    checker.concept_embeds_weights.fill_(threshold)
    checker.special_care_embeds_weights.fill_(2.0)  # which only lowers the other thresholds
    processor = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    return {"safety_checker": checker, "feature_extractor": processor}


def random_clip(folder: Path) -> Path:
    """A CLIP that resizes the shortest edge to 24 and crops 24 x 24, as the released ones do with 224."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = tower | ids | {"vocab_size": len(tokenizer), "max_position_embeddings": 32}
    vision = tower | {"image_size": 24, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
