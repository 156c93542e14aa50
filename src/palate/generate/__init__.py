"""Generates images from prompts and seeds."""
