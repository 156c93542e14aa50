"""Ranked sets and graded images from votes, from scores and from published data."""
