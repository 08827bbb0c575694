"""MultiGPUAddon: training on several devices."""

from __future__ import annotations

from typing import Any

from .compose import with_mixin
from .core import AddOnBase, T


class MultiGPUAddon(AddOnBase):
    """Train on several devices, a process each, through Lightning's DDP strategy.

    ``device`` is a list: ``["cuda:0", "cuda:1"]`` uses exactly these GPUs (NCCL), ``["cpu", "cpu"]`` so many processes
    on the CPU (gloo). A script starts the processes when something runs and ends them afterwards; it needs
    ``if __name__ == "__main__":`` for that. A notebook forks them. Under torchrun or SLURM the launcher's processes are
    used, on all nodes; there ``device="cuda"`` or ``"cpu"`` stands for one of each process.

    Every step takes a batch for each process from the loader, in the loader's order, whatever its sampler: two
    processes with a loader of batch size 16 learn what one learns with batch size 32. Each sample is used once an
    epoch. In validation and inference the batches are shared out as they are.

    Afterwards the trainer is as if it had trained by itself: the weights in your own model object, optimizer and
    scheduler state, logs, loss history, metrics, counts, best weights, callbacks and random numbers. Log entries are
    those of all processes, in the loader's order, a training step's entry being the mean over the processes; so what
    `check_better`, schedulers and callbacks decide is the same everywhere. Files and loggers are written once.

    The trainer takes one more keyword:

    ``init_method`` : str, optional
        Where the processes of this machine meet, ``"tcp://localhost:12355"`` for instance. Without it a free port is
        found.

    Raises
    ------
    ValueError
        On construction of the trainer: for devices that are not there, of several kinds, or a GPU that is there twice;
        on `run`: for a loader that cannot be shared out.
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

    _zae_is_distributed = True

    def __init__(self, *args: Any, init_method: str | None = None, **kwargs: Any) -> None:
        self.init_method = init_method
        super().__init__(*args, **kwargs)
