"""Losses, one per file: pure functions of [B] tensors that return the unreduced loss [B] and detached metrics."""
