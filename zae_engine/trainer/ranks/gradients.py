"""Averaging gradients over the ranks where no Lightning strategy does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist


class GradientAveraging:
    """Averages the gradients over all ranks at the end of every ``backward()``, whoever calls it.

    DistributedDataParallel averages only what Lightning's ``manual_backward`` goes back from, so a trainer that calls
    ``loss.backward()`` by itself would drift apart from rank to rank, in silence. While this context is entered, hooks
    on the parameters see each backward pass, and at its end the gradients that it reached are averaged, in one
    collective for each dtype and device.

    Parameters
    ----------
    parameters : iterable of torch.Tensor
        The parameters; the same on all ranks, in the same order.
    scale : callable
        Returns the factor for the gradients of the batch in hand, by which a rank with fewer samples counts less.
    """

    def __init__(self, parameters: Iterable[torch.Tensor], scale: Callable[[], float]) -> None:
        self._parameters = list({id(p): p for p in parameters}.values())
        self._scale = scale
        self._reached: set[int] = set()
        self._paused = False

    def __enter__(self) -> GradientAveraging:
        self._handles = []
        for index, parameter in enumerate(self._parameters):
            if parameter.is_leaf and parameter.requires_grad:
                leaf: Any = parameter
                self._handles.append(leaf.register_hook(self._scaled))
                self._handles.append(leaf.register_post_accumulate_grad_hook(self._reaches(index)))
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the gradients alone: a strategy averages them."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def _scaled(self, gradient: torch.Tensor) -> torch.Tensor | None:
        scale = 1.0 if self._paused else self._scale()
        return gradient * scale if scale != 1.0 else None

    def _reaches(self, index: int) -> Callable[[torch.Tensor], None]:
        def reached(parameter: torch.Tensor) -> None:
            if self._paused:
                return
            if not self._reached:
                # Public torch has no hook for the end of a backward pass; DistributedDataParallel itself uses this one.
                # tests/zae_engine/trainer/ranks/test_gradients.py fails if it changes.
                torch.autograd.Variable._execution_engine.queue_callback(self._average)
            self._reached.add(index)

        return reached

    def _average(self) -> None:
        reached, self._reached = self._reached, set()
        mask = torch.zeros(len(self._parameters), dtype=torch.uint8, device=_device(self._parameters))
        mask[list(reached)] = 1
        dist.all_reduce(mask, op=dist.ReduceOp.MAX)  # a branch that only some ranks took
        alike: defaultdict[Any, list[torch.Tensor]] = defaultdict(list)
        for parameter, is_reached in zip(self._parameters, mask.tolist(), strict=True):
            if is_reached:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                alike[parameter.grad.dtype, parameter.grad.device].append(parameter.grad)
        for gradients in alike.values():
            flat: Any = torch.cat([gradient.reshape(-1) for gradient in gradients])
            dist.all_reduce(flat)
            flat /= dist.get_world_size()
            for gradient, averaged in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(averaged.view_as(gradient))


def _device(parameters: list[torch.Tensor]) -> torch.device:
    return parameters[0].device if parameters else torch.device("cpu")
