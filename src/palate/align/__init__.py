"""Offline training of an image generator on preferences."""
