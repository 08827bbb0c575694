"""MultiGPUAddon: training on several devices."""

from __future__ import annotations

from typing import Any

from .compose import with_mixin
from .core import AddOnBase, T


class MultiGPUAddon(AddOnBase):
    """Train on several devices, a process each, through Lightning's DDP strategy.

    ``device`` is a list: ``["cuda:0", "cuda:1"]`` uses exactly these GPUs (NCCL), ``["cpu", "cpu"]`` two processes on
    the CPU (gloo). A script spawns the processes for each run and needs ``if __name__ == "__main__":`` for that. A
    notebook forks them. Under torchrun or SLURM, and in the loop of a Ray ``TorchTrainer``, the trainer uses the
    launcher's processes, on all nodes; there ``device="cuda"`` or ``"cpu"`` means one device for each process.

    Every step takes a batch for each process from the loader, in the loader's order, whatever its sampler: two
    processes with a loader of batch size 16 learn what one process learns with batch size 32. Each sample is used once
    an epoch. Validation and inference distribute whole batches.

    After a run the trainer is as if it had trained in its own process: the weights in your own model object, optimizer
    and scheduler state, logs, loss history, metrics, counts, best weights, callbacks and random numbers. Logs hold the
    entries of all processes, in the loader's order; the entry of a training step is the mean over the processes. So
    `check_better`, schedulers and callbacks decide alike in every process. Only rank 0 writes files and loggers.

    The trainer takes one more keyword:

    ``init_method`` : str, optional
        Where the processes of this machine connect, for instance ``"tcp://localhost:12355"``. By default the trainer
        finds a free port.

    Raises
    ------
    ValueError
        On construction of the trainer: for devices that are not available, of several kinds, or a GPU that is listed
        twice; on `run`: for a loader that cannot be sharded.
    TypeError
        On `run`, if something cannot be sent to another process; the message names it.
    RuntimeError
        On `run`: if the port is in use; as ``zae_lightning.ProcessFailed``, if a process is killed.

    Examples
    --------
    >>> from zae_engine.trainer import Trainer
    >>> from zae_engine.trainer.addons import MultiGPUAddon
    >>> MyTrainer = Trainer.add_on(MultiGPUAddon)
    >>> trainer = MyTrainer(
    ...     model=my_model,
    ...     device=["cuda:0", "cuda:1"],
    ...     optimizer=my_optimizer,
    ...     scheduler=my_scheduler
    ... )  # doctest: +SKIP
    >>> trainer.run(n_epoch=10, loader=train_loader)  # doctest: +SKIP
    """

    @classmethod
    def apply(cls, base_cls: type[T]) -> type[T]:
        """Return ``base_cls`` for several devices."""
        return with_mixin(base_cls, MultiGPUMixin, "MultiGPUTrainer")


class MultiGPUMixin:
    """The part of a trainer that `MultiGPUAddon` adds."""

    _zae_add_on = "MultiGPUAddon"
    _zae_is_distributed = True

    def __init__(self, *args: Any, init_method: str | None = None, **kwargs: Any) -> None:
        self.init_method = init_method
        super().__init__(*args, **kwargs)
