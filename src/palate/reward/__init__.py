"""Trains reward models: on rankings, on grades, and on real and generated images."""
