"""Gradient averaging: average gradients over the ranks where no Lightning strategy does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ..utilities.sharded_tensors import is_sharded
from .closures import closure_of, mean_of_ranks, with_closure


class GradientAveraging:
    """Averages the gradients over all ranks at the end of every ``backward()``, also of one that the user calls.

    DistributedDataParallel averages only the gradients of Lightning's ``manual_backward``. With a plain
    ``loss.backward()``, the weights of the ranks would diverge without an error. While this context is entered, hooks
    on the parameters record which parameters each backward pass reaches. At the end of the pass, one collective for
    each dtype and device averages their gradients.

    An optimizer that receives a closure for its step gets the mean loss of all ranks from it; see `mean_of_ranks`.

    Parameters
    ----------
    find : callable
        Returns all parameters, such as `TrainableParameters`: the same parameters in the same order on all ranks.
        `refresh` calls it again.
    scale : callable
        Returns the factor for the gradients of the current batch, which weights the ranks by their samples.
    all_passes : bool
        Whether all backward passes are averaged. Otherwise only the gradients of parameters outside the strategy are.
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
        self._is_paused = self._was_paused = False

    def exclude(self, parameters: Iterable[torch.Tensor]) -> None:
        """Exclude parameters whose gradients the strategy averages, in the backward passes of the strategy."""
        self._excluded = {id(p) for p in parameters if p.requires_grad}
        if not self._all_passes:
            self._remove_hooks()
            self.refresh(search=True)

    def __enter__(self) -> GradientAveraging:
        self._step_hook = register_optimizer_step_pre_hook(self._average_losses)
        if self._all_passes:
            self.refresh(search=True)
        return self

    def __exit__(self, *exception: object) -> None:
        self._step_hook.remove()
        self._remove_hooks()

    def _remove_hooks(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._hooked = [], set()

    def refresh(self, search: bool = False) -> None:
        """Register hooks on parameters that have none: new ones, and those that require a gradient since the last call.

        Parameters
        ----------
        search : bool, optional
            Whether to search the whole trainer; see `TrainableParameters`.
        """
        self._reached.clear()  # left by a backward pass that raised
        self._parameters = self._find(search)
        skipped = self._hooked if self._all_passes else self._hooked | self._excluded
        for parameter in self._parameters:
            is_own = id(parameter) not in skipped and not is_sharded(parameter)  # torch reduces those of a shard
            if is_own and parameter.requires_grad and parameter.is_leaf:
                self._hooked.add(id(parameter))
                leaf: Any = parameter
                self._handles.append(leaf.register_hook(self._scale_gradient))
                self._handles.append(leaf.register_post_accumulate_grad_hook(self._mark_reached))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Average only the gradients of parameters that are not excluded, during a backward pass of the strategy."""
        self._is_paused = self._was_paused = True
        try:
            yield
        finally:
            self._is_paused = False

    def _average_losses(self, optimizer: Any, args: Any, kwargs: Any) -> Any:
        """Return the arguments of a step with a closure that returns the mean loss of all ranks."""
        closure = closure_of(args, kwargs)
        if closure is None or not self._has_averaged_parameters(optimizer):
            return None

        def averaged() -> Any:
            self._was_paused = False
            loss = closure()
            scale = 1.0 if self._was_paused else self._scale()  # the loss of the strategy's pass is scaled
            return mean_of_ranks(loss, scale, _device(self._parameters))

        return with_closure(args, kwargs, averaged)

    def _has_averaged_parameters(self, optimizer: Any) -> bool:
        """Whether an optimizer updates parameters of the trainer: one of something else may step on one rank only."""
        own = {id(parameter) for parameter in self._parameters}
        return any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"])

    def _scale_gradient(self, gradient: torch.Tensor) -> torch.Tensor | None:
        scale = 1.0 if self._is_paused else self._scale()  # a pass of the strategy starts from a scaled loss
        return gradient * scale if scale != 1.0 else None

    def _mark_reached(self, parameter: torch.Tensor) -> None:
        if self._is_paused and id(parameter) in self._excluded:
            return
        if not self._reached:
            # torch has no public hook for the end of a backward pass. DistributedDataParallel uses this private one.
            # tests/unit/trainer/distributed/test_gradients.py fails if it changes.
            torch.autograd.Variable._execution_engine.queue_callback(self._average)
        self._reached.add(id(parameter))

    def _average(self) -> None:
        reached, self._reached = self._reached, set()
        mask = torch.zeros(len(self._parameters), dtype=torch.uint8, device=_device(self._parameters))
        mask[[index for index, parameter in enumerate(self._parameters) if id(parameter) in reached]] = 1
        dist.all_reduce(mask, op=dist.ReduceOp.MAX)  # some parameters are reached on some ranks only
        grouped: defaultdict[Any, list[torch.Tensor]] = defaultdict(list)
        for parameter, is_reached in zip(self._parameters, mask.tolist(), strict=True):
            if is_reached:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                elif parameter.grad.is_sparse:
                    parameter.grad = parameter.grad.to_dense()
                grouped[parameter.grad.dtype, parameter.grad.device].append(parameter.grad)
        for gradients in grouped.values():
            flat: Any = torch.cat([gradient.reshape(-1) for gradient in gradients])
            dist.all_reduce(flat)
            flat /= dist.get_world_size()
            for gradient, averaged in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(averaged.view_as(gradient))


def _device(parameters: list[torch.Tensor]) -> torch.device:
    return parameters[0].device if parameters else torch.device("cpu")
