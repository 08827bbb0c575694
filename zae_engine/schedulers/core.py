"""The base class of zae-engine's schedulers, and the chain that runs several of them in turn."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any, TypeVar

from torch import Tensor
from torch.optim import Optimizer, lr_scheduler

from .._errors import ContractError

T = TypeVar("T", bound="SchedulerBase")


class SchedulerBase(lr_scheduler.LRScheduler, ABC):
    """Base class: a torch scheduler that knows after how many steps it is through.

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
    """Run several schedulers of one optimizer in turn, each for its own ``total_iters`` steps.

    Parameters
    ----------
    *schedulers : SchedulerBase
        The schedulers in the order in which they run. All must hold the same optimizer.

    Attributes
    ----------
    schedulers : tuple of SchedulerBase
        The schedulers given.
    next_iters : list of int
        The step counts at which the next scheduler takes over.
    total_iters : int
        Steps of the whole chain.
    i_scheduler : int
        Index of the scheduler in charge.

    Raises
    ------
    ValueError
        If no scheduler is given, or if they hold different optimizers (an `AssertionError` too, as it was in 0.7.6).

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
        with warnings.catch_warnings():
            # The chain's first step is the second one of its first scheduler, so torch misses an optimizer's step.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            # Not SchedulerBase's: the chain has no eta_min of its own.
            lr_scheduler.LRScheduler.__init__(self, optimizer, last_epoch=-1)

    def sanity_check(self) -> Optimizer:
        """Check that there are schedulers and that all hold the same optimizer.

        Returns
        -------
        torch.optim.Optimizer
            That optimizer.
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
        """Step the scheduler in charge, handing over to the next one where its steps are done.

        Parameters
        ----------
        epoch : int, optional
            Passed on to the scheduler in charge.
        """
        if self._step_count in self.next_iters:
            self.i_scheduler += 1
        in_charge = self.schedulers[self.i_scheduler]
        in_charge.step(epoch)
        self._step_count += 1
        self._last_lr = in_charge.get_last_lr()

    def get_lr(self) -> list[float | Tensor]:
        """Return what the scheduler in charge gives."""
        return self.schedulers[self.i_scheduler].get_lr()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the chain and of every scheduler in it, as plain values.

        Returns
        -------
        dict
            The chain's own variables, with ``"schedulers"`` holding one state a scheduler.
        """
        state = {key: value for key, value in self.__dict__.items() if key not in ("optimizer", "schedulers")}
        state["schedulers"] = [scheduler.state_dict() for scheduler in self.schedulers]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state that `state_dict` gave, or one that 0.7.6 wrote (which holds whole scheduler objects).

        Parameters
        ----------
        state_dict : dict
            The state.

        Raises
        ------
        ValueError
            If the state is of a chain with another number of schedulers; nothing is loaded then.
        """
        state = dict(state_dict)
        parts = list(state.pop("schedulers"))
        if len(parts) != len(self.schedulers):
            raise ContractError(
                f"The state is of a chain of {len(parts)} schedulers, but this chain has {len(self.schedulers)}. "
                f"Build the chain as it was when the state was saved."
            )
        for scheduler, part in zip(self.schedulers, parts, strict=True):
            scheduler.load_state_dict(part if isinstance(part, dict) else part.state_dict())
        self.__dict__.update(state)
