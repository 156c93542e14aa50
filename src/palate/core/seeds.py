"""Keyed randomness: every random draw depends on what it is for and not on when it happens.

A generator keyed by `(seed, purpose, item, draw)` gives the same numbers in an uninterrupted run and in a resumed one,
on one process or four, and however a batch is split.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    import torch


def derive(seed: int, purpose: str, item: int | str = 0, draw: int | str = 0) -> int:
    """A 63-bit seed for one random draw.

    Args:
        seed: the run's seed.
        purpose: what the draw is for, such as `"noise"`; two purposes never share numbers.
        item: the identity of the data item, never its index in a batch.
        draw: which draw of that item, such as the epoch.

    Returns:
        An integer in [0, 2**63), the same on every machine and in every process.
    """
    key = f"{seed}\x1f{purpose}\x1f{item}\x1f{draw}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") >> 1


def torch_generator(seed: int, purpose: str, item: int | str = 0, draw: int | str = 0) -> torch.Generator:
    """A CPU `torch.Generator` for one keyed draw. Draw on the CPU, then move: all devices then have the same numbers.

    It keeps the low 32 bits of the 63 (torch seeds its Mersenne Twister with one word), so that of n draws about
    n^2 / 2^33 pairs have the same numbers: one pair among 93,000 draws. Another generator would change every result.
    """
    import torch

    return torch.Generator().manual_seed(derive(seed, purpose, item, draw))


def numpy_generator(seed: int, purpose: str, item: int | str = 0, draw: int | str = 0) -> numpy.random.Generator:
    """A `numpy.random.Generator` for one keyed draw."""
    import numpy

    return numpy.random.default_rng(derive(seed, purpose, item, draw))
