"""Kolors: its tokenizer is a sentencepiece model, which is trained here on a few characters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel

from twins.twin import Twin, flow_vae


def random_kolors(folder: Path) -> Path:
    """A random `KolorsPipeline` in a folder."""
    from diffusers import KolorsPipeline
    from diffusers.pipelines.kolors.text_encoder import ChatGLMModel
    from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer

    Path(folder).mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    vocabulary = _sentencepiece(Path(folder) / "characters.model")
    text_encoder = ChatGLMModel(_chat_glm(vocabulary))
    for weight in text_encoder.parameters():  # it leaves them as they are in memory
        weight.data.normal_(std=0.2)
    schedule: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.014}
    schedule |= {"num_train_timesteps": 1100, "timestep_spacing": "leading", "steps_offset": 1}
    KolorsPipeline(
        unet=_unet(),
        vae=_vae(),
        text_encoder=text_encoder,
        tokenizer=ChatGLMTokenizer(str(Path(folder) / "characters.model"), model_max_length=256),
        scheduler=EulerDiscreteScheduler(**schedule),  # pyright: ignore[reportArgumentType]  # it takes these too
        force_zeros_for_empty_prompt=False,
    ).save_pretrained(folder)
    return Path(folder)


def _sentencepiece(path: Path) -> int:
    """Writes a model of single characters; returns the size of its vocabulary, with the tokenizer's own tokens."""
    import sentencepiece  # pyright: ignore[reportMissingImports]  # an extra

    characters = "abcdefghijklmnopqrstuvwxyz0123456789"
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([" ".join(characters)] * 4),
            model_writer=file,
            model_type="char",
            vocab_size=len(characters) + 4,
            minloglevel=2,
        )
    return len(characters) + 4 + 9


def _unet() -> UNet2DConditionModel:
    settings: dict[str, Any] = dict(  # diffusers declares every tuple as one of a single element
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1),
        cross_attention_dim=16,
        encoder_hid_dim=32,
        encoder_hid_dim_type="text_proj",
        attention_head_dim=2,
        norm_num_groups=4,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 32,
    )
    return UNet2DConditionModel(**settings)


def _vae() -> AutoencoderKL:
    return flow_vae(use_quant_conv=True, use_post_quant_conv=True, scaling_factor=0.13025, shift_factor=None)


def _chat_glm(vocabulary: int) -> Any:
    from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig

    return ChatGLMConfig(
        num_layers=2,
        padded_vocab_size=vocabulary,
        hidden_size=32,
        ffn_hidden_size=32,
        kv_channels=16,
        num_attention_heads=2,
        seq_length=256,
        multi_query_attention=True,
        multi_query_group_num=2,
        add_qkv_bias=True,
        original_rope=True,
    )


plain = Twin(random_kolors, needs=("sentencepiece",))
