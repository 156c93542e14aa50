"""Validation while training: images of fixed prompts and seeds, their scores, and errors of held-out feedback."""
