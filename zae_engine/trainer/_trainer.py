"""The trainer that users subclass: zae-engine 0.7.6's interface, run by Lightning."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from torch import optim

from . import checks, devices, ranks, resume, steps, termination
from ._placement import Placement, length
from ._records import Records
from ._state import State
from .addons.core import T
from .addons.install import install, reduce
from .data_modules import is_data_module, loaders_of
from .epoch_hooks import EpochHooks
from .epoch_metrics import EpochMetrics
from .hooks import RunHooks
from .loaders import is_there
from .overrides import ORIGINALS, is_overridden
from .progress import ProgressChecker
from .running import launch, lightning, run_epochs

if TYPE_CHECKING:
    from zae_lightning import LightningTrainer, StepModule

Batch = tuple[Any, ...] | dict[str, Any] | Any
_REPLACEABLE = ("run_epoch", "run_batch", "print_log", "logging", "_to_cpu")


class Trainer(Records, Placement):
    """Train and test a model: subclass it, write `train_step` and `test_step`, and call `run`.

    Parameters
    ----------
    model : torch.nn.Module
        The model; it is moved to the device and trained in place.
    device : torch.device, str, or a list of these
        Where to run: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    mode : {"train", "test"}, optional
        What `run` does, by default "train".
    optimizer : torch.optim.Optimizer, optional
        Needed for training only.
    scheduler : torch.optim.lr_scheduler.LRScheduler, optional
        Any torch scheduler, zae-engine's among them. ``ReduceLROnPlateau`` is given the test loss, or the training loss
        where there is no validation.
    log_bar : bool, optional
        Whether to show a progress bar, by default True.
    scheduler_step_on_batch : bool, optional
        Whether the scheduler steps after every batch instead of every epoch, by default False.
    gradient_clip : float, optional
        The norm that gradients are clipped to; 0, the default, for no clipping.
    callbacks, loggers : Lightning callback or logger, or list of these, optional
        What every run shall have; appended to the lists of the same names.
    metrics : mapping of str to torchmetrics.Metric, or torchmetrics.MetricCollection, optional
        Computed over each epoch, for training and testing by themselves, from the ``"preds"`` and ``"target"`` that the
        steps return (see `metric_inputs`), into ``train_metrics`` and ``test_metrics``.
    lightning : mapping, optional
        Arguments for Lightning's trainer in every run, ``{"accumulate_grad_batches": 4}`` for instance.
    live_plot : bool, optional
        Whether to show the curves after every epoch, by default False: in a notebook a picture, else a line of text.

    Attributes
    ----------
    log_train, log_test : defaultdict of str to list
        What the steps of the present epoch returned, a list a key, detached and on the CPU.
    train_metrics, test_metrics : dict
        The latest results of `metric_on_epoch_end`.
    loss_buffer : float
        The best loss so far; infinity before the first epoch.
    weight_buffer : defaultdict of str to list
        ``"epoch"`` (from 0) and ``"weight"`` of the best loss, one entry each.
    history : History
        What every epoch of all runs came to, and the loss of every step.
    progress_checker : ProgressChecker
        Counts steps and epochs over all runs.
    device : list of torch.device
        The devices given.
    callbacks, loggers : list
        Lightning callbacks and loggers that the next run shall have.
    lightning_trainer : lightning.pytorch.Trainer or None
        Lightning's trainer of the latest run.

    Raises
    ------
    TypeError
        If `train_step` or `test_step` is not implemented, or the device is of no known type.
    ValueError
        If the mode is unknown or the device is not there.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.trainer import Trainer
    >>> class MyTrainer(Trainer):
    ...     def train_step(self, batch):
    ...         x, y = batch
    ...         return {"loss": torch.nn.functional.mse_loss(self.model(x), y)}
    ...     def test_step(self, batch):
    ...         return self.train_step(batch)
    >>> model = torch.nn.Linear(3, 1)
    >>> trainer = MyTrainer(model, "cpu", optimizer=torch.optim.SGD(model.parameters(), lr=0.1), log_bar=False)
    >>> data = torch.utils.data.TensorDataset(torch.randn(8, 3), torch.randn(8, 1))
    >>> trainer.run(n_epoch=2, loader=torch.utils.data.DataLoader(data, batch_size=4))
    >>> len(trainer.get_loss_history("train"))
    4
    """

    _zae_distributes = False  # MultiGPUAddon says otherwise
    _zae_strategy: Any = "auto"  # a Lightning strategy that was added on

    def __init__(
        self,
        model: Any,
        device: devices.DeviceLike | Sequence[devices.DeviceLike],
        mode: str = "train",
        optimizer: optim.Optimizer | None = None,
        scheduler: optim.lr_scheduler.LRScheduler | optim.lr_scheduler.ReduceLROnPlateau | None = None,
        *,
        log_bar: bool = True,
        scheduler_step_on_batch: bool = False,
        gradient_clip: float = 0.0,
        callbacks: Any = None,
        loggers: Any = None,
        metrics: Any = None,
        lightning: Mapping[str, Any] | None = None,
        live_plot: bool = False,
    ) -> None:
        self.mode = checks.mode(mode)
        self._zae_state = State(lightning=checks.lightning_arguments(lightning), live_plot=live_plot)
        Placement.__init__(self, device)
        Records.__init__(self)
        self.model: Any = model if ranks.waits_for_processes(self) else self._to_device(model)
        self.optimizer: Any = optimizer
        self.scheduler: Any = scheduler
        self.log_bar = log_bar
        self.scheduler_step_on_batch = scheduler_step_on_batch
        self.gradient_clip = gradient_clip

        self.progress_checker = ProgressChecker()
        self.lightning_trainer: LightningTrainer | None = None
        self.callbacks: Any = checks.parts(getattr(self, "callbacks", []), callbacks)  # a subclass may have taken
        self.loggers: Any = checks.parts(getattr(self, "loggers", []), loggers)  # these names
        self._zae_state.metrics = EpochMetrics(metrics)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out Lightning's trainer, which cannot be pickled; its counts stay."""
        return {**self.__dict__, "lightning_trainer": None}

    @classmethod
    def add_on(cls: type[T], *add_on_cls: Any) -> type[T]:
        """Return this class with add-ons installed, the first one innermost.

        Parameters
        ----------
        *add_on_cls : type or instance
            Classes with an ``apply`` class method, such as subclasses of `zae_engine.trainer.addons.AddOnBase`; or
            instances of Lightning callbacks, loggers and strategies, of which every trainer gets a copy.

        Returns
        -------
        type
            A subclass of this class.

        Raises
        ------
        TypeError
            If something that is given has no ``apply``, or its ``apply`` returns no class.
        """
        extended: type[T] = install(cls, add_on_cls)
        return extended

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle instances of what `add_on` made by naming the class and the add-ons that it was made from."""
        return reduce(self, super().__reduce_ex__(protocol))

    # Running

    def run(
        self,
        n_epoch: int,
        loader: Any,
        valid_loader: Any = None,
        *,
        ckpt_path: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Train for some epochs, with a validation after each if there is a loader for it; in test mode, only test.

        A second call continues: epochs, steps, optimizer, scheduler and the best loss go on. An epoch that was broken
        off, by Ctrl-C or an exception, is not counted; the next run begins with a whole one.

        Parameters
        ----------
        n_epoch : int
            Number of epochs to run, 0 or more.
        loader : iterable of batches, or LightningDataModule
            The training data (in test mode: the test data), a `torch.utils.data.DataLoader` for instance. A data module
            gives the validation data too.
        valid_loader : iterable of batches, optional
            The validation data; none if it is empty.
        ckpt_path : path, optional
            A checkpoint that Lightning wrote of this trainer, by ``ModelCheckpoint`` for instance; ``"last"`` or
            ``"best"`` for those of the trainer's own callback. All is then as it was there, and ``n_epoch`` more
            epochs are run. Reading it runs no code.
        **kwargs
            Passed on to `run_epoch`, `run_batch` and the scheduler's ``step``.

        Raises
        ------
        TypeError, ValueError
            If an argument, the optimizer or the scheduler cannot work; see the message.
        KeyboardInterrupt
            On Ctrl-C. Weights, logs and counts up to there are kept, and `run` can be called again.
        """
        if is_data_module(loader):
            with loaders_of(loader, valid_loader, "fit" if self.mode == "train" else "test") as loaders:
                self.run(n_epoch, *loaders, ckpt_path=ckpt_path, **kwargs)
            return
        n_epoch = checks.epoch_count(n_epoch)
        checks.has_model(self)
        checks.loader(loader, "loader", n_epoch)
        if valid_loader is not None:
            checks.loader(valid_loader, "valid_loader", n_epoch)
        if ckpt_path is not None:
            resume.load_checkpoint(self, ckpt_path)
        if self.mode == "train":
            checks.can_train(self)
            if not (is_overridden(self, "run_batch") or is_overridden(self, "run_epoch")):
                checks.has_optimizer(self)
        valid_loader = valid_loader if is_there(valid_loader) else None
        self.loader, self.valid_loader = loader, valid_loader
        self._check_batch_size()
        with termination.watched(self) if n_epoch else nullcontext():
            self._run(n_epoch, loader, valid_loader, kwargs)

    def _run(self, n_epoch: int, loader: Any, valid_loader: Any, kwargs: Mapping[str, Any]) -> None:
        if self.mode == "train":
            resume.resume_loaders(self, loader, valid_loader)
        if n_epoch and ranks.needs_processes(self):
            return launch(self, Trainer.run, n_epoch, loader, valid_loader, **kwargs)
        try:
            with ranks.taking_part(self, loader, valid_loader) as (self.loader, self.valid_loader):
                resume.random_state_of_rank(self)
                self._scheduler_step_check(n_epoch)
                if n_epoch:
                    with RunHooks(self, n_epoch, kwargs) as hooks:
                        run_epochs(self, n_epoch, hooks)
        finally:
            self.loader, self.valid_loader = loader, valid_loader

    def run_epoch(self, loader: Any, **kwargs: Any) -> None:
        """Run one epoch in the present mode: clear the logs, run every batch, compute the metrics.

        Parameters
        ----------
        loader : iterable of batches
            The data.
        **kwargs
            Passed on to `run_batch` and the scheduler's ``step``.
        """
        checks.has_model(self)
        checks.loader(loader, "loader")
        if ranks.needs_processes(self):
            launch(self, Trainer.run_epoch, loader, **kwargs)
            return
        with ranks.taking_part(self, loader) as (part,), EpochHooks(self, part, kwargs) as hooks:
            if length(part) == 0:
                hooks.epoch_starts()
                for batch in part:  # where the length lies
                    hooks.run_alone(batch)
                hooks.epoch_ends()
            elif self.mode == "train":
                if not is_overridden(self, "run_batch"):
                    checks.has_optimizer(self)
                lightning().fit(self, hooks, 1, part, None)
            else:
                lightning().test(self, hooks, part)

    def run_batch(self, batch: Batch, **kwargs: Any) -> None:
        """Run one batch in the present mode: the step, in train mode the update too, then the log.

        It works on its own, without `run`. An override may call ``super().run_batch(batch)`` or do all by itself; then
        it has to move the batch (``self._to_device(*batch)``, or ``(**batch)``), to look at ``self.mode`` and set
        ``self.model.train()`` or ``.eval()``, to update, clip and step a per-batch scheduler, and to end with
        ``self.logging(step_dict)`` and ``self.progress_checker.update_step()``.

        Parameters
        ----------
        batch : dict, sequence or tensor
            A batch as the loader gives it, on any device.
        **kwargs
            Passed on to the scheduler's ``step``.
        """
        if self._zae_state.world is not None:
            self._zae_state.world.ledger.turn_to(batch)
        batch = steps.to_device(self, batch)
        step_dict: Mapping[str, Any]
        if self.mode == "train":
            checks.has_optimizer(self)
            with self._zae_state.autocast.forward():
                step_dict = steps.train_forward(self, batch)
            steps.update(self, step_dict["loss"])
        elif self.mode == "test":
            with self._zae_state.autocast.forward():
                step_dict = steps.test_forward(self, batch)
        else:
            checks.mode(self.mode)
        if self._zae_state.step is not None:
            self._zae_state.step = step_dict
        steps.finish(self, step_dict, kwargs)

    def inference(self, loader: Any) -> list[Any]:
        """Test on a loader and return what the steps gave under ``"output"``, one entry a batch.

        As in 0.7.6 this is a test epoch like any other: it clears the logs, fills ``log_test`` and ``test_metrics``,
        and its steps are counted.

        Parameters
        ----------
        loader : iterable of batches, or LightningDataModule
            The data. Neither optimizer nor scheduler is needed.

        Returns
        -------
        list
            ``log_test["output"]``, on the CPU; empty if the steps return no ``"output"``. The mode is afterwards what
            it was.
        """
        mode = self.mode
        self.toggle("test")
        try:
            with loaders_of(loader, None, "predict") as (loader, _):
                self.run_epoch(loader)
            return self.log_test.get("output", [])
        finally:
            self.toggle(mode)

    @property
    def lightning_module(self) -> StepModule:
        """A ``LightningModule`` of this trainer, for an ``L.Trainer`` of your own.

        ``L.Trainer(...).fit(trainer.lightning_module, loader, valid_loader)`` does what `run` does, as far as that
        ``L.Trainer`` lets it: logs, metrics, `check_better`, scheduler and counts are the trainer's.
        """
        module: StepModule = lightning().make_module(RunHooks(self, 0, {}))
        return module

    # What the user writes

    @abstractmethod
    def train_step(self, batch: Batch) -> dict[str, Any]:
        """Compute the loss of a batch. To be written by the user.

        Parameters
        ----------
        batch : dict, tuple or a single element
            The batch on the device, in train mode.

        Returns
        -------
        dict
            ``"loss"``, a tensor of one element that gradients flow from, and whatever else shall be logged. Keys that
            contain "output" are kept out of the means on the bar.
        """
        raise NotImplementedError("train_step must be implemented by subclasses")

    @abstractmethod
    def test_step(self, batch: Batch) -> dict[str, Any]:
        """Test on a batch. To be written by the user.

        Parameters
        ----------
        batch : dict, tuple or a single element
            The batch on the device, in eval mode and without gradients.

        Returns
        -------
        dict
            What shall be logged: ``"loss"`` for `check_better`, ``"output"`` for `inference`.
        """
        raise NotImplementedError("test_step must be implemented by subclasses")


ORIGINALS.update(
    {name: getattr(Trainer, name) for name in ("run_epoch", "run_batch", "print_log", "logging", "_to_cpu")}
)
