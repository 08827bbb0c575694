"""Core: the base class of zae-engine's schedulers, and a chain of several schedulers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeVar

from torch import Tensor
from torch.optim import Optimizer, lr_scheduler

from .._errors import ContractError
from .._warnings import ignored_warnings

T = TypeVar("T", bound="SchedulerBase")


class SchedulerBase(lr_scheduler.LRScheduler, ABC):
    """Base class: a torch scheduler with a fixed number of steps.

    Subclasses implement `get_lr` from ``self.base_lrs``, ``self._step_count`` (1 after construction) and
    ``self.total_iters``.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        The optimizer whose learning rate is scheduled.
    total_iters : int
        Number of steps of the whole schedule.
    eta_min : float
        The lowest rate of the schedule.
    last_epoch : int, optional
        As in `torch.optim.lr_scheduler.LRScheduler`, by default -1.

    Examples
    --------
    >>> import torch
    >>> class Linear(SchedulerBase):
    ...     def get_lr(self):
    ...         rest = max(0, 1 - (self._step_count - 1) / self.total_iters)
    ...         return [self.eta_min + rest * (rate - self.eta_min) for rate in self.base_lrs]
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> Linear(optimizer, total_iters=4, eta_min=0.0).get_lr()
    [1.0]
    """

    def __init__(self, optimizer: Optimizer, total_iters: int, eta_min: float, last_epoch: int = -1) -> None:
        self.total_iters = total_iters
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    @abstractmethod
    def get_lr(self) -> list[float | Tensor]:
        """Return the learning rate of every parameter group at the current step.

        Returns
        -------
        list of float
            One rate a parameter group.
        """


class SchedulerChain(SchedulerBase):
    """Run several schedulers of one optimizer one after another, each for its ``total_iters`` steps.

    Parameters
    ----------
    *schedulers : SchedulerBase
        The schedulers in the order in which they run. All must hold the same optimizer.

    Attributes
    ----------
    schedulers : tuple of SchedulerBase
        The schedulers.
    next_iters : list of int
        The step counts at which the next scheduler starts.
    total_iters : int
        The number of steps of the whole chain.
    i_scheduler : int
        The index of the active scheduler.

    Raises
    ------
    ValueError
        If no scheduler is given, or if they have different optimizers. Also an `AssertionError`, as in 0.7.6.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.schedulers import CosineAnnealingScheduler, SchedulerChain, WarmUpScheduler
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    >>> chain = SchedulerChain(WarmUpScheduler(optimizer, 2), CosineAnnealingScheduler(optimizer, 8))
    >>> chain.total_iters
    10
    """

    def __init__(self, *schedulers: SchedulerBase) -> None:
        self.schedulers = schedulers
        optimizer = self.sanity_check()
        iters = [scheduler.total_iters for scheduler in schedulers]
        ends = [sum(iters[: i + 1]) for i in range(len(iters))]
        self.next_iters, self.total_iters = ends[:-1], ends[-1]
        self.i_scheduler = 0
        # The first step of the chain is the second step of its first scheduler, so that torch warns of the order.
        with ignored_warnings("Detected call of `lr_scheduler.step"):
            # SchedulerBase.__init__ is skipped, since a chain has no eta_min.
            lr_scheduler.LRScheduler.__init__(self, optimizer, last_epoch=-1)

    def sanity_check(self) -> Optimizer:
        """Check that the chain has schedulers and that all have the same optimizer.

        Returns
        -------
        torch.optim.Optimizer
            The optimizer.
        """
        if not self.schedulers:
            raise ContractError("SchedulerChain() got no scheduler; give it one or more, in the order they should run.")
        optimizers = {id(scheduler.optimizer): scheduler.optimizer for scheduler in self.schedulers}
        if len(optimizers) != 1:
            raise ContractError(
                f"The schedulers of a SchedulerChain must hold one optimizer, but {len(optimizers)} were found: "
                f"{[type(o).__name__ for o in optimizers.values()]}. Construct every scheduler with the same optimizer."
            )
        return next(iter(optimizers.values()))

    def step(self, epoch: int | None = None) -> None:
        """Step the active scheduler. After the last step of one scheduler, the next one becomes active.

        Parameters
        ----------
        epoch : int, optional
            The argument of the active scheduler's ``step``.
        """
        if self._step_count in self.next_iters:
            self.i_scheduler += 1
        active = self.schedulers[self.i_scheduler]
        active.step(epoch)
        self._step_count += 1
        self._last_lr = active.get_last_lr()

    def get_lr(self) -> list[float | Tensor]:
        """Return the learning rates of the active scheduler."""
        return self.schedulers[self.i_scheduler].get_lr()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the chain and of its schedulers, as plain values.

        Returns
        -------
        dict
            The variables of the chain, and under ``"schedulers"`` the state of each scheduler.
        """
        state = {key: value for key, value in self.__dict__.items() if key not in ("optimizer", "schedulers")}
        state["schedulers"] = [scheduler.state_dict() for scheduler in self.schedulers]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state of `state_dict`, or a state of 0.7.6, which contains scheduler objects.

        Parameters
        ----------
        state_dict : dict
            The state.

        Raises
        ------
        ValueError
            If the state is of a chain with another number of schedulers. Then nothing is loaded.
        """
        state = dict(state_dict)
        states = list(state.pop("schedulers"))
        if len(states) != len(self.schedulers):
            raise ContractError(
                f"The state is of a chain of {len(states)} schedulers, but this chain has {len(self.schedulers)}. "
                f"Build the chain as it was when the state was saved."
            )
        for scheduler, own_state in zip(self.schedulers, states, strict=True):
            scheduler.load_state_dict(own_state if isinstance(own_state, dict) else own_state.state_dict())
        self.__dict__.update(state)
