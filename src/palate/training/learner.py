"""One update of a trained network: gradients are accumulated over micro-batches and processes, clipped, and applied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from palate.training.average import WeightAverage
from palate.training.checkpoint import Part

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
        average: the moving average of the weights, if one is kept.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        clip: float,
        accelerator: Accelerator,
        wrapped: nn.Module | None = None,
        average: WeightAverage | None = None,
    ) -> None:
        self.part = Part(network, optimizer, average)
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.clip, self.accelerator, self.wrapped = clip, accelerator, wrapped

    def update(self, shares: Sequence[T], loss: Callable[[T], Tensor], rate: float) -> Tensor:
        """One optimiser step on the mean loss of a batch. Never waits for the device.

        Args:
            shares: this process's part of the batch, as micro-batches of one size; all processes have equally many.
            loss: gives the mean loss of a micro-batch, a scalar with a gradient.
            rate: the learning rate.

        Returns:
            The norm of the gradient before clipping [1].
        """
        for i, share in enumerate(shares):
            with self._alone(i < len(shares) - 1):
                self.accelerator.backward(loss(share) / len(shares))
        if self.wrapped is None:
            average_gradients(self.parameters, self.accelerator)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        for group in self.part.optimizer.param_groups:
            group["lr"] = rate
        self.part.optimizer.step()
        self.part.optimizer.zero_grad()
        return norm.detach().view(1)

    def _alone(self, alone: bool) -> Any:
        """A context in which a backward pass exchanges no gradients, as more micro-batches follow."""
        return self.accelerator.no_sync(self.wrapped) if alone and self.wrapped is not None else nullcontext()


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
