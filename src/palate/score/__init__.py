"""Scores for images: one protocol, and one short file for each family of scorers."""
