"""A random LLaVA of the real classes, saved in a folder as a hub model would be."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

SPECIAL = ("<unk>", "<s>", "</s>", "<pad>", "<image>")
WORDS = ("USER", "ASSISTANT", ":", ".", "What", "is", "it", "a", "red", "green", "star", "circle", "cat", "on", "the")
TEMPLATE = (  # that of llava-hf/llava-1.5-7b-hf, for turns of one image and one text
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] %}{{ '<image>\n' if part['type'] == 'image' else part['text'] + ' ' }}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def random_llava(folder: Path, template: str | None = TEMPLATE) -> Path:
    """A LLaVA of some ten thousand weights that generates random words of `WORDS`; 16 tokens per image."""
    torch.manual_seed(0)
    tokenizer = word_tokenizer()
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {f"{name}_token_id": SPECIAL.index(token) for name, token in (("bos", "<s>"), ("eos", "</s>"))}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**size, image_size=32, patch_size=8),
        text_config=LlamaConfig(**size, **ids, pad_token_id=3, vocab_size=len(tokenizer), initializer_range=0.5),
        image_token_index=SPECIAL.index("<image>"),
        image_seq_length=16,
    )
    model = LlavaForConditionalGeneration(config)
    model.lm_head.weight.data[[SPECIAL.index(token) for token in SPECIAL if token != "</s>"]] = 0  # never the likeliest
    model.save_pretrained(folder)
    LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    ).save_pretrained(folder)
    return folder


def word_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of these words that begins every text with `<s>`."""
    words = Tokenizer(WordLevel({word: i for i, word in enumerate((*SPECIAL, *WORDS))}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    words.post_processor = TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single="<s> $A", special_tokens=[("<s>", SPECIAL.index("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<image>"],
    )
