"""HiDream-I1: its pipeline draws one number of pixels alone, here 256 x 256 and 128 x 512."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import HiDreamImagePipeline, HiDreamImageTransformer2DModel, UniPCMultistepScheduler
from tiny_pipelines import tiny_t5
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, LlamaConfig, LlamaForCausalLM

from twins.twin import Twin, flow_vae, seeded

LONGEST = 128
"""Tokens to which the pipeline pads the prompts of CLIP."""


def random_hidream(folder: Path) -> Path:
    """A random `HiDreamImagePipeline` in a folder."""
    tokenizer = seeded()
    axes: Any = (4, 2, 2)
    transformer = HiDreamImageTransformer2DModel(
        patch_size=4,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_channels=[32, 16],
        text_emb_dim=32,
        num_routed_experts=2,
        num_activated_experts=1,
        axes_dims_rope=axes,
        max_resolution=(128, 128),
        llama_layers=[0, 1],
    )
    flow: dict[str, Any] = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    solver: Any = UniPCMultistepScheduler(**flow)  # the scheduler of the released undistilled model
    HiDreamImagePipeline(
        scheduler=solver,
        vae=flow_vae(),
        text_encoder=_clip(tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=_clip(tokenizer),
        tokenizer_2=tokenizer,
        text_encoder_3=tiny_t5(len(tokenizer)),
        tokenizer_3=tokenizer,
        text_encoder_4=_llama(tokenizer),
        tokenizer_4=tokenizer,
        transformer=transformer,
    ).save_pretrained(folder)
    return Path(folder)


def _clip(tokenizer: Any) -> CLIPTextModelWithProjection:
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    width = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    size = {"vocab_size": len(tokenizer), "max_position_embeddings": LONGEST, "projection_dim": 16}
    return CLIPTextModelWithProjection(CLIPTextConfig(**width, **size, **ids))


def _llama(tokenizer: Any) -> LlamaForCausalLM:
    eager: dict[str, Any] = {"attn_implementation": "eager"}  # the pipeline asks for its attentions
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            **eager,
        )
    )


full = Twin(random_hidream, size=(128, 512))
