"""Prompts that a text encoder reads as a message in a conversation."""

from __future__ import annotations

from typing import Any

MESSAGE = "MESSAGE"
"""Stands for the prompt in a conversation."""


def before_message(tokenizer: Any, conversation: Any = None, **options: Any) -> str:
    """The text that a tokenizer's template of conversations puts before a message.

    Args:
        tokenizer: a tokenizer of transformers, with a template.
        conversation: one in which `MESSAGE` stands for the message; the user's message alone when left out.
        options: of the template.
    """
    conversation = conversation or [{"role": "user", "content": MESSAGE}]
    options = {"add_generation_prompt": True, **options}
    return tokenizer.apply_chat_template(conversation, tokenize=False, **options).partition(MESSAGE)[0]
