"""How long operations take on a device: the most expensive ones are done once or twice, and the others follow."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_unflatten

from palate.align.estimate.trace import Form, Operation, Work
from palate.core.finite import all_finite

aten = torch.ops.aten
FLOPS, BYTES = 1e11, 1e10
"""A rate of operations and of bytes per second; only which operation is measured first depends on their ratio."""
SHORT = 0.02
"""Seconds below which an operation is repeated, because a single measurement would be too noisy."""
SMALL_OPERATIONS = 50 * 14
"""Operations of the passes of 50 linear layers with an activation, as a trace counts them."""
LONG = 0.3
"""Seconds above which an operation is done once."""
REPEATS = 3
BUDGET = 30.0
"""Seconds of a calibration."""
Clock = Callable[[], float]


@dataclass
class Rates:
    """Measured times.

    Attributes:
        seconds: of each measured operation.
        kinds: seconds per unit of `_size` of each measured function, for its other operations.
        each: seconds that Python and autograd need for each operation, beside the operation itself.
    """

    seconds: dict[Operation, float]
    kinds: dict[Any, float]
    each: float = 0.0

    def time(self, work: Work) -> float:
        """Seconds that some work takes."""
        return sum(count * (self.of(operation) + self.each) for operation, count in work.operations.items())

    def of(self, operation: Operation) -> float:
        """Seconds of one operation: measured, or by the rate of its function, or by the mean rate."""
        found = self.seconds.get(operation)
        return self.kinds.get(operation.function, self.kinds[None]) * _size(operation) if found is None else found


def calibrate(
    works: Iterable[tuple[Work, float]],
    device: torch.device,
    clock: Clock = time.perf_counter,
    budget: float = BUDGET,
) -> Rates:
    """Does the operations of some work on a device, those first that probably take most of the time.

    Args:
        works: each with how often it will be done.
        device: where.
        clock: by which an operation is timed, in seconds.
        budget: seconds after which no further operation is measured.
    """
    total: Counter[Operation] = Counter()
    for work, times in works:
        for operation, count in work.operations.items():
            total[operation] += count * times  # type: ignore[assignment]  # a count may be a mean
    seconds: dict[Operation, float] = {}
    spent: dict[Any, list[float]] = defaultdict(lambda: [0.0, 0.0])
    end = clock() + budget
    with torch.no_grad():
        for operation in sorted(total, key=lambda each: -total[each] * _size(each)):
            if clock() > end:
                break
            found = _measured(operation, device, clock)
            if found is not None:
                seconds[operation] = found
                for key in (operation.function, None):
                    spent[key][0] += found
                    spent[key][1] += _size(operation)
    kinds = {key: took / size for key, (took, size) in spent.items() if size}
    return Rates(seconds, {None: 1.0, **kinds}, _python_time(device, clock))


def _python_time(device: torch.device, clock: Clock) -> float:
    """Seconds that Python and autograd need for an operation, from small layers whose operations take no time.

    On another device than a CPU they are hidden behind the device's own work.
    """
    if device.type != "cpu":
        return 0.0
    network = nn.Sequential(*(layer for _ in range(50) for layer in (nn.Linear(8, 8), nn.SiLU())))
    x = torch.zeros(1, 8)
    network(x).sum().backward()
    times = [_timed(lambda: network(x).sum().backward(), device, clock) for _ in range(9)]
    return sorted(times)[4] / SMALL_OPERATIONS


def byte_rates(clock: Clock = time.perf_counter) -> tuple[float, float]:
    """Seconds for a byte of a weights file: for its digest, and for its copy and the check that it is finite."""
    part = torch.zeros(2**24, dtype=torch.bfloat16)
    size = part.numel() * part.element_size()
    begun = clock()
    hashlib.blake2b(part.view(torch.uint8).numpy().data, digest_size=16).digest()
    between = clock()
    all_finite(part.float())
    return (between - begun) / size, (clock() - between) / size


def _size(operation: Operation) -> float:
    """The seconds that an operation would take at the rates above: only ratios matter."""
    return operation.flops / FLOPS + operation.bytes / BYTES + 1e-6


def _measured(operation: Operation, device: torch.device, clock: Clock) -> float | None:
    """The median time of an operation in seconds; None if it cannot be done by itself."""
    try:
        call = _callable(operation, device)
        times = [_timed(call, device, clock)]
        if times[0] < LONG:  # the first time of a short one is mostly that of its preparation
            times = [_timed(call, device, clock)]
        while (sum(times) < SHORT and len(times) < 50) or (len(times) < REPEATS and times[0] < 10 * SHORT):
            times.append(_timed(call, device, clock))
    except (RuntimeError, TypeError, NotImplementedError, IndexError):
        return None
    return sorted(times)[len(times) // 2]


def _timed(call: Any, device: torch.device, clock: Clock) -> float:
    _wait(device)
    begun = clock()
    call()
    _wait(device)
    return clock() - begun


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _callable(operation: Operation, device: torch.device) -> Any:
    leaves = [_made(leaf, device) for leaf in operation.leaves]
    args, kwargs = tree_unflatten(leaves, operation.tree)
    attention = _attention(operation, args, device)
    return attention or (lambda: operation.function(*args, **kwargs))


def _made(leaf: Any, device: torch.device) -> Any:
    """An argument on the device: small random numbers, or zeros, which are valid indices."""
    if isinstance(leaf, torch.device):
        return device
    if not isinstance(leaf, Form):
        return leaf
    made = torch.zeros(leaf.shape, dtype=leaf.dtype, device=device)
    if made.is_floating_point():
        made.normal_(std=0.1)
    dense = torch.empty_strided(leaf.shape, leaf.stride, dtype=leaf.dtype, device=device)
    return dense.copy_(made) if 0 not in leaf.stride else made


def _attention(operation: Operation, args: Any, device: torch.device) -> Any:
    """On another device than a CPU, attention by the kernel that torch chooses there."""
    if device.type == "cpu":
        return None
    if operation.function is aten._scaled_dot_product_flash_attention_for_cpu.default:
        return lambda: F.scaled_dot_product_attention(*args[:3])
    if operation.function is aten._scaled_dot_product_flash_attention_for_cpu_backward.default:
        query, key, value = (each.requires_grad_() for each in args[1:4])
        with torch.enable_grad():
            out: Tensor = F.scaled_dot_product_attention(query, key, value)
        return lambda: torch.autograd.grad(out, (query, key, value), args[0], retain_graph=True)
    return None
