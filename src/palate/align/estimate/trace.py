"""Runs code on tensors without memory, and counts what it would cost: bytes, FLOPs, and operations."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map_only
from torch.utils.flop_counter import flop_registry

from palate.models.weightless import weightless

aten = torch.ops.aten
BY_VALUES = frozenset({aten.index.Tensor, aten._unsafe_index.Tensor, aten.masked_select.default})
"""Operations whose result's shape depends on the values of their integers or masks."""
T = TypeVar("T")


class Form(NamedTuple):
    """What an operation's cost depends on of a tensor."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """The memory of its elements, without those between them."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


@dataclass(frozen=True)
class Operation:
    """One operation of torch, with everything that its time depends on.

    Attributes:
        function: such as `aten.addmm.default`.
        leaves: its arguments in order, tensors as their `Form`.
        tree: how the arguments are nested.
        flops: floating-point operations, by torch's own formulas; 0 where it has none.
    """

    function: Any
    leaves: tuple[Hashable, ...]
    tree: TreeSpec = field(compare=False)
    flops: int = field(compare=False)

    @property
    def bytes(self) -> int:
        """The bytes that it reads or changes."""
        return sum(leaf.bytes for leaf in self.leaves if isinstance(leaf, Form))


@dataclass
class Work:
    """What a part of a run costs.

    Attributes:
        peak: the largest sum of bytes of all tensors that are not parameters, at one time.
        flops: floating-point operations.
        operations: how often each distinct operation is done.
    """

    peak: int = 0
    flops: int = 0
    operations: Counter[Operation] = field(default_factory=Counter)


class Trace(TorchDispatchMode):
    """A mode in which numbers of a network are absent, and integers are real. Made by `tracing`.

    Floating-point tensors are torch's fake tensors: they have a shape, a dtype and a device, and no memory. Tensors of
    integers and truth values are real, as token ids, masks and lengths decide what code does. Where a network makes
    integers from its numbers (a router's choice of experts), they are zeros.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live, self.work = 0, Work()
        self._counted: set[int] = set()
        self._excluded: set[int] = set()

    @contextmanager
    def measuring(self) -> Iterator[Work]:
        """The work inside the block; its peak includes what is alive before it."""
        before, self.work = self.work, Work(peak=self.live)
        yield self.work
        self.work = before

    def exclude(self, *modules: nn.Module) -> None:
        """Leaves the parameters and buffers of modules out of the bytes that are alive."""
        for module in modules:
            for tensor in (*module.parameters(), *module.buffers()):
                if isinstance(tensor, FakeTensor):
                    storage = tensor.untyped_storage()
                    if storage._cdata in self._counted:
                        self._free(storage._cdata, storage.nbytes())
                    self._excluded.add(storage._cdata)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Does one operation, for torch."""
        if func is torch.ops.prim.device.default:
            return torch.device("cpu")
        kwargs = kwargs or {}
        leaves, tree = tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        fake = any(isinstance(tensor, FakeTensor) for tensor in tensors)
        if not fake and (tensors or not _makes_floats(func, leaves, kwargs)):
            with _disable_current_modes():
                return func(*args, **kwargs)
        out = _by_values(func, args, kwargs) if func in BY_VALUES else func(*args, **kwargs)
        known = flop_registry.get(func._overloadpacket)
        flops = known(*args, **kwargs, out_val=out) if known else 0
        self.work.flops += flops
        self.work.operations[Operation(func, tuple(map(_form, leaves)), tree, flops)] += 1
        out = tree_map_only(FakeTensor, _real_integers, out)
        for each in tree_flatten(out)[0]:
            if isinstance(each, FakeTensor):
                self._count(each.untyped_storage())
        return out

    def _count(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._counted or key in self._excluded:
            return
        self._counted.add(key)
        self.live += size
        self.work.peak = max(self.work.peak, self.live)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._excluded.discard(key)
        if key in self._counted:
            self._counted.discard(key)
            self.live -= size


@contextmanager
def tracing() -> Iterator[Trace]:
    """A trace of what is done inside the block, on fake tensors of the CPU."""
    with FakeTensorMode(allow_non_fake_inputs=True), weightless(), Trace() as trace:
        yield trace


def measured(trace: Trace, call: Callable[[], T]) -> tuple[T, Work]:
    """What a call returns, and its work."""
    with trace.measuring() as work:
        result = call()
    return result, work


def _makes_floats(func: Any, leaves: list[Any], kwargs: dict[str, Any]) -> bool:
    """Whether an operation without tensors makes one of floating-point numbers."""
    dtype = kwargs.get("dtype")
    if dtype is None and func._overloadpacket in (aten.arange, aten.full, aten.scalar_tensor):
        return any(isinstance(leaf, float) for leaf in leaves)
    dtype = dtype or torch.get_default_dtype()
    return dtype.is_floating_point or dtype.is_complex


def _by_values(func: Any, args: Any, kwargs: Any) -> Tensor:
    """The result of one of `BY_VALUES`: its shape is found with a tensor of one byte in place of the numbers."""
    with _disable_current_modes():
        one = torch.zeros((), dtype=torch.uint8)
        args_, kwargs_ = tree_map_only(FakeTensor, lambda tensor: one.expand(tuple(tensor.shape)), (args, kwargs))
        shape = tuple(func(*args_, **kwargs_).shape)
    return torch.empty(shape, dtype=args[0].dtype)


def _real_integers(tensor: Tensor) -> Tensor:
    if tensor.dtype.is_floating_point or tensor.dtype.is_complex:
        return tensor
    with _disable_current_modes():
        return torch.zeros(tuple(tensor.shape), dtype=tensor.dtype)


def _form(leaf: Any) -> Hashable:
    return Form(tuple(leaf.shape), tuple(leaf.stride()), leaf.dtype) if isinstance(leaf, Tensor) else leaf
