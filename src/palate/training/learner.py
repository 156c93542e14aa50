"""One update of a trained network: gradients are accumulated over micro-batches and processes, clipped, and applied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from palate.objectives.metrics import Metrics
from palate.training.average import WeightAverage
from palate.training.checkpoint import Part
from palate.training.loss_scale import LossScale

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")


class Learner:
    """The parameters of a network that require a gradient, and their optimiser.

    Args:
        network: the trained network, not wrapped.
        optimizer: the optimiser of its parameters.
        clip: the largest norm of a gradient.
        accelerator: the device and the processes.
        wrapped: the network that `accelerator.prepare_model` returned, if the losses are computed with it: then the
            processes average gradients during the last backward pass. When left out, they average them after it.
        averages: the moving averages of the weights that are kept, by their names.
        scale: the factor of the loss, if the network computes in float16.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        clip: float,
        accelerator: Accelerator,
        wrapped: nn.Module | None = None,
        averages: Mapping[str, WeightAverage] = MappingProxyType({}),
        scale: LossScale | None = None,
    ) -> None:
        self.part = Part(network, optimizer, averages, scale)
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.clip, self.accelerator, self.wrapped = clip, accelerator, wrapped

    def update(self, shares: Sequence[T], loss: Callable[[T], Tensor], rate: float) -> Metrics:
        """One optimiser step on the mean loss of a batch. Never waits for the device (but see `make_optimizer`).

        Args:
            shares: this process's part of the batch, as micro-batches of one size; all processes have equally many.
            loss: gives the mean loss of a micro-batch, a scalar with a gradient.
            rate: the learning rate.

        Returns:
            `gradient_norm`, before clipping [1]; with a loss scale also its metrics, see `LossScale.update`.
        """
        optimizer, scale = self.part.optimizer, self.part.scale
        for i, share in enumerate(shares):
            with self._alone(i < len(shares) - 1):
                mean = loss(share) / len(shares)
                self.accelerator.backward(scale.scaled(mean) if scale else mean)
        if self.wrapped is None:
            average_gradients(self.parameters, self.accelerator)
        if scale:
            scale.unscale(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.clip).detach().view(1)
        for group in optimizer.param_groups:
            group["lr"] = rate
        metrics = scale.update(optimizer, norm) if scale else _updated(optimizer, norm)
        optimizer.zero_grad()
        return metrics

    def _alone(self, alone: bool) -> Any:
        """A context in which a backward pass exchanges no gradients, as more micro-batches follow."""
        return self.accelerator.no_sync(self.wrapped) if alone and self.wrapped is not None else nullcontext()


def _updated(optimizer: torch.optim.Optimizer, norm: Tensor) -> Metrics:
    optimizer.step()
    return {"gradient_norm": norm}


def average_gradients(parameters: Iterable[nn.Parameter], accelerator: Accelerator) -> None:
    """Replaces each gradient by its mean over the processes."""
    if accelerator.num_processes > 1:
        for parameter in parameters:
            if parameter.grad is not None:
                mean: Any = accelerator.reduce(parameter.grad, "mean")
                parameter.grad = mean


def micro_batches(batch: int, size: int, accelerator: Accelerator) -> Iterator[slice]:
    """The micro-batches of `size` examples that belong to this process; those of all processes make up the batch."""
    for start in range(size * accelerator.process_index, batch, size * accelerator.num_processes):
        yield slice(start, start + size)
