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
    find : callable
        Returns all parameters, the same on all ranks, in the same order, such as `TrainableParameters`. It is asked again by
        `refresh`.
    scale : callable
        Returns the factor for the gradients of the batch in hand, by which a rank with fewer samples counts less.
    all_passes : bool
        Whether passes other than the strategy's are averaged too; otherwise only parameters that it does not know are.
    """

    def __init__(
        self, find: Callable[[bool], list[torch.Tensor]], scale: Callable[[], float], all_passes: bool = True
    ) -> None:
        self._find, self._scale, self._all_passes = find, scale, all_passes
        self._parameters: list[torch.Tensor] = []
        self._hooked: set[int] = set()
        self._handles: list[Any] = []
        self._excluded: set[int] = set()
        self._reached: set[int] = set()
        self._paused = False

    def exclude(self, parameters: Iterable[torch.Tensor]) -> None:
        """Leave these parameters to the strategy, in the passes that it goes back through."""
        self._excluded = {id(p) for p in parameters if p.requires_grad}
        if not self._all_passes:
            self._remove()
            self.refresh(search=True)

    def __enter__(self) -> GradientAveraging:
        if self._all_passes:
            self.refresh(search=True)
        return self

    def __exit__(self, *exception: object) -> None:
        self._remove()

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._hooked = [], set()

    def refresh(self, search: bool = False) -> None:
        """Find parameters that are new, or that are trained only now; ``anew`` wherever they may be."""
        self._reached.clear()  # of a pass that was broken off
        self._parameters = self._find(search)
        known = self._hooked if self._all_passes else self._hooked | self._excluded
        for parameter in self._parameters:
            if id(parameter) not in known and parameter.requires_grad and parameter.is_leaf:
                self._hooked.add(id(parameter))
                leaf: Any = parameter
                self._handles.append(leaf.register_hook(self._scaled))
                self._handles.append(leaf.register_post_accumulate_grad_hook(self._reaches))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the gradients to a strategy, but for those of parameters that it does not know."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def _scaled(self, gradient: torch.Tensor) -> torch.Tensor | None:
        scale = 1.0 if self._paused else self._scale()
        return gradient * scale if scale != 1.0 else None

    # A pass of the strategy's begins with a loss that is scaled already; see `EpochHooks.take`.

    def _reaches(self, parameter: torch.Tensor) -> None:
        if self._paused and id(parameter) in self._excluded:
            return
        if not self._reached:
            # Public torch has no hook for the end of a backward pass; DistributedDataParallel itself uses this one. The
            # cases with a backward of their own in tests/zae_engine/trainer/ranks fail if it changes.
            torch.autograd.Variable._execution_engine.queue_callback(self._average)
        self._reached.add(id(parameter))

    def _average(self) -> None:
        reached, self._reached = self._reached, set()
        mask = torch.zeros(len(self._parameters), dtype=torch.uint8, device=_device(self._parameters))
        mask[[index for index, parameter in enumerate(self._parameters) if id(parameter) in reached]] = 1
        dist.all_reduce(mask, op=dist.ReduceOp.MAX)  # a branch that only some ranks took
        alike: defaultdict[Any, list[torch.Tensor]] = defaultdict(list)
        for parameter, is_reached in zip(self._parameters, mask.tolist(), strict=True):
            if is_reached:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                elif parameter.grad.is_sparse:
                    parameter.grad = parameter.grad.to_dense()
                alike[parameter.grad.dtype, parameter.grad.device].append(parameter.grad)
        for gradients in alike.values():
            flat: Any = torch.cat([gradient.reshape(-1) for gradient in gradients])
            dist.all_reduce(flat)
            flat /= dist.get_world_size()
            for gradient, averaged in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(averaged.view_as(gradient))


def _device(parameters: list[torch.Tensor]) -> torch.device:
    return parameters[0].device if parameters else torch.device("cpu")
