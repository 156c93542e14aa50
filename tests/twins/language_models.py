"""Small language models as text encoders, and a tokenizer with a chat template."""

from __future__ import annotations

from typing import Any

from transformers import Mistral3Config, Qwen2_5_VLConfig, Qwen3Config

from twins.twin import seeded

CHAT = (
    "{% for message in messages %}<{{ message.role }}>"
    "{% if message.content is string %}{{ message.content }}{% else %}{{ message.content[0].text }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def chat_tokenizer() -> Any:
    """The tokenizer of all twins with a chat template."""
    tokenizer = seeded()
    tokenizer.chat_template = CHAT
    return tokenizer


def qwen3(tokenizer: Any, layers: int) -> Qwen3Config:
    """The configuration of a language model of Qwen3's class, 16 wide."""
    return Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=8,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def qwen_vl(tokenizer: Any) -> Qwen2_5_VLConfig:
    """The configuration of a vision and language model of Qwen2.5-VL's class, 16 wide."""
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    tokens = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    absent: dict[str, Any] = {name: len(tokenizer) - 3 for name in tokens}
    return Qwen2_5_VLConfig(text_config=text, vision_config={**vision, "patch_size": 4}, **absent)


def mistral_3(tokenizer: Any, layers: int) -> Mistral3Config:
    """The configuration of a vision and language model of Mistral 3's class, 16 wide."""
    small = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 1, "head_dim": 8}
    text = {
        "model_type": "mistral",
        "vocab_size": len(tokenizer),
        "num_hidden_layers": layers,
        "num_key_value_heads": 1,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    vision = {"model_type": "pixtral", "num_hidden_layers": 1, "image_size": 16, "patch_size": 4}
    absent: Any = len(tokenizer) - 3
    return Mistral3Config(text_config=small | text, vision_config=small | vision, image_token_index=absent)
