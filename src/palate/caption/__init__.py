"""Captions for images, which can be used as prompts, for example."""
