"""Trainer: the class that users subclass, with the interface of zae-engine 0.7.6, run by Lightning."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import torch
from torch import optim

from . import addons, checks
from ._protocol import T
from ._state import Config, Records, TrainerState
from .addons import compose
from .checkpoint import background_save, best, weights
from .checkpoint.lightning_checkpoint import load_checkpoint
from .checkpoint.trainer_state import resume_loaders, set_random_state_of_rank
from .checkpoint.validated_weights import weights_of_epoch
from .data import devices
from .data.batches import call_with_inputs
from .data.datamodule import is_data_module, loaders_of
from .data.loaders import is_nonempty, sample_count
from .display import progress_display, summary
from .display.screens import check_log_bar
from .distributed.world import is_rank_zero
from .history import History
from .logs.epoch_log import EpochLog
from .logs.epoch_metrics import EpochMetrics, default_inputs
from .logs.record_attributes import HistoryAttribute, LossHistoryAttribute
from .logs.value_buffer import on_cpu
from .loops import batch as steps
from .loops import evaluation, lr_finder, multi_process, runner, step_log
from .loops.epoch_hooks import EpochHooks
from .loops.fit_hooks import FitHooks
from .loops.sigterm import handled_sigterm
from .monitor import Monitor
from .overrides import ORIGINALS, is_overridden
from .progress import ProgressChecker
from .utilities.argument_places import check_places
from .utilities.modes import Mode

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from zae_lightning import AutomaticOptimizationModule, LightningTrainer
    from zae_lightning.kinds import Callback, CallbackLike, Logger, LoggerLike, StrategyLike

    from .addons import signatures


class Trainer(ABC):
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
        Any torch scheduler, zae-engine's among them. ``ReduceLROnPlateau`` receives the test loss, or the training loss
        without validation.
    log_bar : bool or {"always"}, optional
        Whether to show a progress bar, by default True: in a terminal and in a notebook. Where stderr is neither, lines
        with the time of day take its place, one an epoch and one every 30 s; ``"always"`` shows the bar there too.
    scheduler_step_on_batch : bool, optional
        Whether the scheduler steps after every batch instead of every epoch, by default False.
    gradient_clip : float, optional
        The norm that gradients are clipped to; 0, the default, for no clipping.
    callbacks, loggers : Lightning callback or logger, or any container of these, optional
        Those of every run, of ``lightning.pytorch`` or ``pytorch_lightning``; appended to the lists of the same names.
    metrics : mapping of str to torchmetrics.Metric, or torchmetrics.MetricCollection, optional
        Computed over each epoch, separately for training and testing, from the ``"preds"`` and ``"target"`` that the
        steps return (see `metric_inputs`), into ``train_metrics`` and ``test_metrics``.
    lightning : mapping, optional
        Arguments for Lightning's trainer in every run, ``{"accumulate_grad_batches": 4}`` for instance.
    live_plot : bool, optional
        Whether to show the curves after every epoch, by default False: in a notebook a picture, else a line of text.
    epoch_means : {"batches", "samples"}, optional
        What the means of an epoch are over: by default batches that count alike, as in 0.7.6; with "samples" each
        counts by its size, or by the ``"batch_size"`` in the step's dict.
    monitor : str, optional
        The result that decides which epoch is the best, ``"test_acc"`` for instance (or ``"val_acc"``, the same); by
        default the loss. `check_better`, ``weight_buffer``, the history's marks, plateau schedulers that name nothing
        else, and `StateManagerAddon` follow it.
    monitor_mode : {"min", "max"}, optional
        Whether a lower value of ``monitor`` is better, by default "min", or a higher one.

    Attributes
    ----------
    log_train, log_test : defaultdict of str to list
        What the steps of the current epoch returned: a list for each key, detached and on the CPU.
    train_metrics, test_metrics : dict
        The latest results of `metric_on_epoch_end`.
    loss_buffer : float
        The best loss so far, infinity before the first epoch; with a ``monitor``, its best value (-infinity for "max").
    weight_buffer : defaultdict of str to list
        ``"epoch"`` (from 0) and ``"weight"`` of the best loss, one entry each.
    history : History
        The record of every epoch of all runs, and the loss of every step.
    progress_checker : ProgressChecker
        Counts steps and epochs over all runs.
    device : list of torch.device
        The devices given.
    callbacks, loggers : list
        Lightning callbacks and loggers of the next run.
    lightning_trainer : lightning.pytorch.Trainer or None
        Lightning's trainer of the latest run.

    Raises
    ------
    TypeError
        If `train_step` or `test_step` is not implemented, or the type of the device is unknown.
    ValueError
        If the mode is unknown or the device is not available.

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

    history = HistoryAttribute[History]()
    loss_history_train = LossHistoryAttribute("train")
    loss_history_test = LossHistoryAttribute("test")

    _zae_is_distributed: bool = False  # MultiGPUAddon sets it to True
    _zae_strategy: Any = "auto"  # a Lightning strategy that `add_on` has received

    def __init__(
        self,
        model: Any,
        device: devices.DeviceLike | Sequence[devices.DeviceLike],
        mode: Mode = "train",
        optimizer: optim.Optimizer | None = None,
        scheduler: optim.lr_scheduler.LRScheduler | optim.lr_scheduler.ReduceLROnPlateau | None = None,
        *,
        log_bar: bool | Literal["always"] = True,
        scheduler_step_on_batch: bool = False,
        gradient_clip: float = 0.0,
        callbacks: CallbackLike | Iterable[CallbackLike] | Mapping[Any, CallbackLike] | None = None,
        loggers: LoggerLike | Iterable[LoggerLike] | Mapping[Any, LoggerLike] | None = None,
        metrics: Any = None,
        lightning: Mapping[str, Any] | None = None,
        live_plot: bool = False,
        epoch_means: Literal["batches", "samples"] = "batches",
        monitor: str | None = None,
        monitor_mode: Literal["min", "max"] = "min",
    ) -> None:
        check_places(model=model, device=device, mode=mode, optimizer=optimizer, scheduler=scheduler)
        self.mode: Mode = checks.mode(mode)
        means, chosen = checks.epoch_means(epoch_means), Monitor(monitor, monitor_mode)
        config = Config(checks.lightning_arguments(lightning), live_plot=live_plot, epoch_means=means, monitor=chosen)
        self._zae_state = TrainerState(config, Records(metrics=EpochMetrics(metrics)))
        self.primary_device_index = 0
        self.device: list[torch.device]
        self._set_device(device)
        multi_process.select_device(self)
        self.model: Any = model if multi_process.keeps_model_on_cpu(self) else self._to_device(model)
        self.optimizer: Any = optimizer
        self.scheduler: Any = scheduler
        self.log_bar: Any = check_log_bar(log_bar)
        self.scheduler_step_on_batch = scheduler_step_on_batch
        self.gradient_clip = gradient_clip

        self.loader: Any = None
        self.valid_loader: Any = None
        self.n_data: int | None = None
        self.n_valid_data: int | None = None
        self.batch_size: int | None = None
        self.valid_batch_size: int | None = None

        self.log_train: defaultdict[str, list[Any]] = EpochLog()
        self.log_test: defaultdict[str, list[Any]] = EpochLog()
        self.train_metrics: dict[str, Any] = {}
        self.test_metrics: dict[str, Any] = {}
        self.loss_buffer: float = chosen.worst
        self.weight_buffer: defaultdict[str, list[Any]] = defaultdict(list)
        self.progress_checker = ProgressChecker()
        self.lightning_trainer: LightningTrainer | None = None
        # A subclass may use these names itself.
        self.callbacks: list[Callback] = checks.parts(getattr(self, "callbacks", []), callbacks, "callback")
        self.loggers: list[Logger] = checks.parts(getattr(self, "loggers", []), loggers, "logger")

    def __getstate__(self) -> dict[str, Any]:
        """Leave out Lightning's trainer, which cannot be pickled; the state holds its counts."""
        return {**self.__dict__, "lightning_trainer": None}

    @overload
    @classmethod
    def add_on(cls, add_on: type[addons.StateManagerAddon], /) -> type[_StateManagerTrainer]: ...
    @overload
    @classmethod
    def add_on(cls, add_on: type[addons.WandBLoggerAddon], /) -> type[_WandBLoggerTrainer]: ...
    @overload
    @classmethod
    def add_on(cls, add_on: type[addons.NeptuneLoggerAddon], /) -> type[_NeptuneLoggerTrainer]: ...
    @overload
    @classmethod
    def add_on(cls, add_on: type[addons.PrecisionMixerAddon], /) -> type[_PrecisionMixerTrainer]: ...
    @overload
    @classmethod
    def add_on(cls, add_on: type[addons.MultiGPUAddon], /) -> type[_MultiGPUTrainer]: ...
    @overload
    @classmethod
    def add_on(cls: type[T], *add_on_cls: CallbackLike | LoggerLike | StrategyLike) -> type[T]: ...
    @overload
    @classmethod
    def add_on(cls, *add_on_cls: Any) -> type[_AddOnsTrainer]: ...
    @classmethod
    def add_on(cls, *add_on_cls: Any) -> Any:
        """Return this class with add-ons installed, the first one innermost.

        Parameters
        ----------
        *add_on_cls : type or instance
            Classes with an ``apply`` class method, such as subclasses of `zae_engine.trainer.addons.AddOnBase`; or
            instances of Lightning callbacks, loggers and strategies, which every trainer copies.

        Returns
        -------
        type
            A subclass of this class.

        Raises
        ------
        TypeError
            If an argument has no ``apply``, or its ``apply`` returns no class.
        """
        return compose.install(cls, add_on_cls)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle an instance by its class before `add_on`, and the add-ons."""
        return compose.reduce(self, super().__reduce_ex__(protocol))

    # Running

    def run(
        self,
        n_epoch: int | None = None,
        loader: Any = None,
        valid_loader: Any = None,
        *,
        until: int | None = None,
        ckpt_path: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Train for some epochs, with a validation after each if there is a loader for it; in test mode, only test.

        A second call continues epochs, steps, optimizer, scheduler and best loss. An epoch that Ctrl-C or an exception
        interrupts is not counted; the next run starts with a whole epoch.

        Parameters
        ----------
        n_epoch : int, optional
            How many epochs to run, 0 or more, beyond those that the trainer has run already.
        loader : iterable of batches, or LightningDataModule
            The training data (in test mode: the test data), for instance a `torch.utils.data.DataLoader`. A data module
            gives the validation data too.
        valid_loader : iterable of batches, optional
            The validation data; an empty loader means none.
        until : int, optional
            In place of ``n_epoch``: the last epoch, counted over all runs, as Lightning's ``max_epochs``. A trainer
            that has got there runs none.
        ckpt_path : path, optional
            A checkpoint of this trainer, which ``ModelCheckpoint`` has written for instance; ``"last"`` or ``"best"``
            for those of the trainer's own callback. The trainer is restored from it and runs ``n_epoch`` more epochs,
            unlike Lightning, whose ``max_epochs`` counts those of the checkpoint too: ``until`` does that. Reading it
            runs no code.
        **kwargs
            Passed on to `run_epoch`, `run_batch` and the scheduler's ``step``.

        Raises
        ------
        TypeError, ValueError
            If an argument, the optimizer or the scheduler cannot be used; the message says why.
        KeyboardInterrupt
            On Ctrl-C. Weights, logs and counts are kept, and `run` can be called again.
        """
        if is_data_module(loader):
            checks.epoch_count(self.progress_checker.epochs_to_run(n_epoch, until, self.mode))
            kwargs = kwargs if until is None else {"until": until, **kwargs}
            stage = "fit" if self.mode == "train" else "test"
            with runner.attached_data_module(self, loader), loaders_of(loader, valid_loader, stage) as loaders:
                self.run(n_epoch, *loaders, ckpt_path=ckpt_path, **kwargs)
            return
        given, n_epoch = n_epoch, checks.epoch_count(self.progress_checker.epochs_to_run(n_epoch, until, self.mode))
        checks.extra_arguments(self, "run", kwargs, ("n_epoch", "loader", "valid_loader", "until", "ckpt_path"))
        checks.require_model(self)
        checks.lightning_objects(self)
        loader = runner.one_loader(loader, is_training=self.mode == "train")
        valid_loader = runner.one_loader(valid_loader, is_training=False)
        checks.loader(loader, "loader", n_epoch)
        if valid_loader is not None:
            checks.loader(valid_loader, "valid_loader", n_epoch)
        if ckpt_path is not None:
            load_checkpoint(self, ckpt_path)
            n_epoch = checks.epoch_count(self.progress_checker.epochs_to_run(given, until, self.mode))
        has_validation = is_nonempty(valid_loader) or not n_epoch
        if self.mode == "train":
            self._zae_state.config.monitor.check_run(self.scheduler, self.scheduler_step_on_batch, has_validation)
            if not (is_overridden(self, "run_batch") or is_overridden(self, "run_epoch")):
                checks.require_optimizer(self)
        valid_loader = valid_loader if is_nonempty(valid_loader) else None
        self.loader, self.valid_loader = loader, valid_loader
        self._check_batch_size()
        multi_process.connect_ranks(self)
        with handled_sigterm(self) if n_epoch else contextlib.nullcontext(), background_save.completed_saves(self):
            self._run(n_epoch, loader, valid_loader, kwargs)

    def _run(self, n_epoch: int, loader: Any, valid_loader: Any, kwargs: Mapping[str, Any]) -> None:
        if self.mode == "train":
            resume_loaders(self, loader, valid_loader)
        if n_epoch and multi_process.should_launch(self):
            return runner.launch(self, Trainer.run, n_epoch, loader, valid_loader, **kwargs)
        try:
            with multi_process.joined_process_group(self, loader, valid_loader) as (self.loader, self.valid_loader):
                set_random_state_of_rank(self)
                self._scheduler_step_check(n_epoch)
                if n_epoch:
                    with FitHooks(self, n_epoch, kwargs) as hooks:
                        runner.fit(self, n_epoch, hooks)
        finally:
            self.loader, self.valid_loader = loader, valid_loader

    def run_epoch(self, loader: Any, **kwargs: Any) -> None:
        """Run one epoch in the current mode: clear the logs, run every batch, compute the metrics.

        Parameters
        ----------
        loader : iterable of batches
            The data.
        **kwargs
            Passed on to `run_batch` and the scheduler's ``step``.
        """
        checks.extra_arguments(self, "run_epoch", kwargs, ("loader",))
        checks.require_model(self)
        checks.lightning_objects(self)
        loader = runner.one_loader(loader, is_training=self.mode == "train")
        checks.loader(loader, "loader")
        if multi_process.should_launch(self):
            runner.launch(self, Trainer.run_epoch, loader, **kwargs)
            return
        with (
            multi_process.joined_process_group(self, loader) as (sharded,),
            EpochHooks(self, sharded, kwargs) as hooks,
        ):
            runner.run_one_epoch(self, hooks)

    def run_batch(self, batch: Any, **kwargs: Any) -> None:
        """Run one batch in the current mode: the step, in train mode the update, then the log.

        It works alone, without `run`. An override calls ``super().run_batch(batch)``, or does all of this: it moves the
        batch (``self._to_device(*batch)``, or ``(**batch)``), reads ``self.mode`` and calls ``self.model.train()`` or
        ``.eval()``, updates, clips and steps a per-batch scheduler, and ends with ``self.logging(step_dict)`` and
        ``self.progress_checker.update_step()``.

        Parameters
        ----------
        batch : dict, sequence or tensor
            A batch as the loader gives it, on any device.
        **kwargs
            Passed on to the scheduler's ``step``.
        """
        state = self._zae_state
        if state.process.world is not None:
            state.process.world.log_tracker.select(batch)
        batch = steps.to_device(self, batch)
        step_dict: Mapping[str, Any]
        if self.mode == "train":
            checks.require_optimizer(self)
            with state.config.precision.forward():
                step_dict = steps.call_train_step(self, batch)
            steps.update(self, step_dict["loss"])
        elif self.mode == "test":
            with state.config.precision.forward():
                step_dict = steps.call_test_step(self, batch)
        else:
            checks.mode(self.mode)
        if state.batch.step_output is not None:
            state.batch.step_output = step_dict
        steps.log_step(self, step_dict, kwargs)

    def inference(self, loader: Any) -> list[Any]:
        """Test on a loader and return what the steps returned under ``"output"``, one entry a batch.

        As in 0.7.6 this is a test epoch: it clears the logs, fills ``log_test`` and ``test_metrics``, and counts its
        steps.

        Parameters
        ----------
        loader : iterable of batches, or LightningDataModule
            The data. Neither optimizer nor scheduler is needed.

        Returns
        -------
        list
            ``log_test["output"]``, on the CPU; empty if the steps return no ``"output"``. The mode is restored.
        """
        mode = self.mode
        self.toggle("test")
        try:
            attached = runner.attached_data_module(self, loader)
            with attached, loaders_of(loader, None, "predict") as (loader, _):
                self.run_epoch(loader)
            return evaluation.outputs_of(self)
        finally:
            self.toggle(mode)

    def evaluate(self, loader: Any, *, weights: Literal["best"] | None = None) -> dict[str, float]:
        """Test on a loader and return the results; logs, metrics, counts, history and loggers stay as they are.

        Parameters
        ----------
        loader : iterable of batches, or LightningDataModule
            The data. Neither optimizer nor scheduler is needed.
        weights : {"best"}, optional
            ``"best"`` evaluates with the best weights of the buffer; the present weights are restored.

        Returns
        -------
        dict of str to float
            The means of what `test_step` returns, by its keys, and the metrics; ``epoch_means`` says over what.

        Raises
        ------
        ValueError
            If ``weights`` is unknown, or there are no best weights.
        """
        with loaders_of(loader, None, "test") as (loader, _):
            return evaluation.evaluate(self, lambda: self.run_epoch(loader), weights)

    def predict(self, data: Any, *, batch_size: int | None = None, weights: Literal["best"] | None = None) -> Any:
        """Return the outputs of `predict_step`, joined over the batches; the trainer stays as it is.

        The model is in eval mode, without gradients. Labels are not needed.

        Parameters
        ----------
        data : iterable of batches, Dataset, torch.Tensor, numpy.ndarray, pandas.DataFrame, or one batch
            A tensor, an array and a table hold a sample in each row; arrays and tables of floats get the precision of
            the weights. A tuple and a dict are one batch.
        batch_size : int, optional
            The rows of a batch, where the data are no batches yet; by default those of the latest run, or 256.
        weights : {"best"}, optional
            ``"best"`` predicts with the best weights of the buffer; the present weights are restored.

        Returns
        -------
        object
            What `predict_step` returns, on the CPU, in the order of the data: tensors and arrays are joined along the
            first dimension, in dicts and tuples too.

        Raises
        ------
        TypeError
            If the data are none of these.
        ValueError
            If ``weights`` is unknown, or there are no best weights.
        """
        with loaders_of(data, None, "predict") as (data, _):
            return evaluation.predict(self, data, batch_size, weights)

    def lr_find(
        self, loader: Any, *, min_lr: float = 1e-6, max_lr: float = 1.0, steps: int = 100
    ) -> lr_finder.LearningRateCurve:
        """Train a copy with a growing learning rate, and suggest the rate at which the loss falls fastest.

        The trainer, its loader's generators and the random states stay as they are; callbacks and loggers see nothing.

        Parameters
        ----------
        loader : iterable of batches
            The training data.
        min_lr, max_lr : float, optional
            The first and the last rate of the first parameter group; others keep their ratio to it.
        steps : int, optional
            The number of batches, at least 10. The test ends earlier where the loss explodes.

        Returns
        -------
        LearningRateCurve
            ``suggestion`` (None with a ``reason``), ``rates``, ``losses`` and ``plot()``.
        """
        return lr_finder.find_learning_rate(self, loader, min_lr, max_lr, steps)

    def predict_step(self, batch: Any) -> Any:
        """Return the output of a batch; a subclass may override it.

        Parameters
        ----------
        batch : dict, tuple or tensor
            The batch on the device, in eval mode and without gradients. A tensor is not split into rows.

        Returns
        -------
        object
            By default the model's output for the batch if it is a tensor, for the entries that the model's signature
            names if it is a dict, and for the first element otherwise.
        """
        return call_with_inputs(self.model, batch)

    @property
    def lightning_module(self) -> AutomaticOptimizationModule:
        """A ``LightningModule`` of this trainer, for your own ``L.Trainer``.

        ``L.Trainer(...).fit(trainer.lightning_module, loader, valid_loader)`` does what `run` does, as far as that
        ``L.Trainer`` lets it: logs, metrics, `check_better`, scheduler and counts are the trainer's.
        """
        return runner.make_lightning_module(self)

    # What a subclass implements

    @abstractmethod
    def train_step(self, batch: Any, /) -> dict[str, Any]:
        """Compute the loss of a batch; every subclass implements it.

        Parameters
        ----------
        batch : dict, tuple or a single element
            The batch on the device, in train mode.

        Returns
        -------
        dict
            ``"loss"``, a tensor of one element with a gradient function, and whatever else is to be logged. Keys that
            contain "output" are left out of the means on the bar.
        """
        raise NotImplementedError("train_step must be implemented by subclasses")

    @abstractmethod
    def test_step(self, batch: Any, /) -> dict[str, Any]:
        """Test on a batch; every subclass implements it.

        Parameters
        ----------
        batch : dict, tuple or a single element
            The batch on the device, in eval mode and without gradients.

        Returns
        -------
        dict
            What is to be logged: ``"loss"`` for `check_better`, ``"output"`` for `inference`.
        """
        raise NotImplementedError("test_step must be implemented by subclasses")

    # Logs and metrics

    def metric_on_epoch_end(self) -> dict[str, Any]:
        """Compute metrics from ``log_train`` or ``log_test`` at the end of an epoch; override it, or set it.

        Returns
        -------
        dict of str to float
            Goes into ``train_metrics`` or ``test_metrics``, by the mode. Empty by default.
        """
        return {}

    def logging(self, step_dict: dict[str, Any]) -> None:
        """Append what a step returned to ``log_train`` or ``log_test``, by the mode, detached and on the CPU.

        Parameters
        ----------
        step_dict : dict
            What `train_step` or `test_step` returned.
        """
        step_log.log(self, step_dict)

    def metric_inputs(self, step_dict: dict[str, Any]) -> Any:
        """Return what the trainer's metrics are updated with; an override may choose other values.

        Parameters
        ----------
        step_dict : dict
            What `train_step` or `test_step` returned.

        Returns
        -------
        tuple, dict or None
            Arguments for ``Metric.update``, positional or by keyword; by default ``step_dict["preds"]`` and
            ``step_dict["target"]``, or None without both, which leaves the batch out.
        """
        return default_inputs(step_dict)

    def log_reset(self, epoch_end: bool = False) -> None:
        """Clear both logs, and with ``epoch_end=True`` the metrics too."""
        self.log_train.clear()
        self.log_test.clear()
        multi_process.start_log_tracking(self)
        if epoch_end:
            self.train_metrics.clear()
            self.test_metrics.clear()

    def get_loss_history(self, mode: Mode = "train") -> list[Any]:
        """Return the loss of every step of all runs.

        Parameters
        ----------
        mode : {"train", "test"}, optional
            The mode of the steps, by default "train".

        Returns
        -------
        list of torch.Tensor
            One a step, in order.
        """
        losses: list[Any] = getattr(self, f"loss_history_{checks.mode(mode)}")
        return losses

    def plot(
        self,
        keys: str | Sequence[str] | None = None,
        ax: Any = None,
        *,
        label: str | None = None,
        title: str | None = None,
    ) -> Figure:
        """Plot the history: train and test curves with the best epoch marked, and the learning rate below.

        Parameters
        ----------
        keys : str or list of str, optional
            What to plot, ``"loss"`` for instance; by default everything.
        ax : matplotlib.axes.Axes, or list of these, optional
            The axes, one for each key; by default those of a new figure.
        label, title : str, optional
            The name of the run in the legend, and the title of a new figure, or of the first of the axes given.

        Returns
        -------
        matplotlib.figure.Figure
            The figure.
        """
        return self._zae_state.records.history.plot(keys, ax, label=label, title=title)

    def __repr__(self) -> str:
        """Return a table of the trainer's parts and its progress."""
        return summary.as_text(self)

    def _repr_html_(self) -> str:
        return summary.as_html(self)

    def print_log(self, cur_batch: int, num_batch: int) -> dict[str, str]:
        """Return what the bar shows: the batch, the learning rate, and the mean of every key without "output".

        Parameters
        ----------
        cur_batch : int
            Number of the current batch, from 1.
        num_batch : int
            Number of batches of the epoch.

        Returns
        -------
        dict of str to str
            ``"Batch"``, ``"LR"`` and the means to six places, without keys whose values are no numbers. An override
            may show something else.
        """
        return progress_display.bar_values(self, cur_batch, num_batch)

    def toggle(self, mode: Mode | None = None) -> None:
        """Switch to ``mode``; None switches to the other mode."""
        self.mode = checks.mode(mode) if mode else ("test" if self.mode == "train" else "train")

    # The best weights

    def check_better(self, cur_epoch: int, cur_loss: float) -> bool:
        """Compare an epoch's loss with the best so far, and keep a copy of the weights if it is lower.

        At the end of an epoch, a trainer with a ``monitor`` compares that result of the epoch in place of the loss.

        Parameters
        ----------
        cur_epoch : int
            Index of the epoch, from 0.
        cur_loss : float
            Mean test loss of the epoch, or mean training loss without validation; nan and infinity are never better.

        Returns
        -------
        bool
            Whether the epoch is better.
        """
        value = best.compared_value(self, cur_loss)
        if not self._zae_state.config.monitor.is_better(value, self.loss_buffer):
            return False
        self.weight_buffer["epoch"] = [cur_epoch]
        self.weight_buffer["weight"] = [weights_of_epoch(self)]
        self.loss_buffer = value
        return True

    def save_model(self, filename: weights.WeightsFile) -> None:
        """Save the model's state dictionary with `torch.save`, on rank 0. All processes call it for a sharded model.

        Parameters
        ----------
        filename : path or binary file
            The file.
        """
        weights.save(self.model, filename, is_writer=is_rank_zero(self._zae_state.process.world))

    def apply_weights(self, filename: weights.WeightsFile | None = None, strict: bool = True) -> None:
        """Load weights into the model: from a file, or the best weights of the buffer.

        As in 0.7.6, an empty buffer is reported on stdout and changes nothing.

        Parameters
        ----------
        filename : path or binary file, optional
            A file that `save_model` wrote. It is read with ``weights_only=True``, so loading runs no code. The
            checksums within a file of `torch.save` are verified first; safetensors files have none.
        strict : bool, optional
            Whether all keys must match, by default True.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        ValueError
            If the file cannot be read, or the weights do not fit the model. Nothing is loaded then.
        """
        weights.apply(self.model, self.weight_buffer, filename, strict)

    # Devices and loaders

    def configure_model(self, device_mesh: Any) -> None:
        """Shard the model over the processes; with Lightning's ``ModelParallelStrategy``, a subclass overrides it.

        The first run calls it once. Then the trainer's optimizers get the sharded parameters.

        Parameters
        ----------
        device_mesh : torch.distributed.device_mesh.DeviceMesh
            With the dimensions ``"data_parallel"`` and ``"tensor_parallel"``.
        """
        raise NotImplementedError(checks.NO_SHARDING)

    def _set_device(self, device: devices.DeviceLike | Sequence[devices.DeviceLike]) -> None:
        self.device = devices.parse_devices(device)
        if len(self.device) == 1 and self.device[0].type == "cuda":
            torch.cuda.set_device(self.device[0])

    def _to_cpu(self, *args: Any) -> Any:
        return on_cpu(args[0]) if len(args) == 1 else tuple(self._to_cpu(value) for value in args)

    def _to_device(self, *args: Any, **kwargs: Any) -> Any:
        return devices.move_arguments(args, kwargs, self.device[self.primary_device_index])

    def _check_batch_size(self) -> None:
        self.batch_size = getattr(self.loader, "batch_size", None) if self.loader is not None else 0
        self.valid_batch_size = getattr(self.valid_loader, "batch_size", None) if self.valid_loader is not None else 0

    def _data_count(self, initial: bool = False) -> None:
        if initial:
            self.n_data, self.n_valid_data = sample_count(self.loader), sample_count(self.valid_loader)
        else:
            multi_process.count_batch(self)

    def _scheduler_step_check(self, epoch: int) -> None:
        checks.scheduler_iterations(self, epoch)


ORIGINALS.update(
    {name: getattr(Trainer, name) for name in ("run_epoch", "run_batch", "print_log", "logging", "_to_cpu")},
    configure_model=Trainer.configure_model,
)

if TYPE_CHECKING:  # what `add_on` returns; the base Any stands for what the user's class defines

    class _StateManagerTrainer(signatures.StateManagerSignature, Trainer, Any): ...  # type: ignore[misc]

    class _WandBLoggerTrainer(addons.WandBLoggerMixin, Trainer, Any): ...  # type: ignore[misc]

    class _NeptuneLoggerTrainer(addons.NeptuneLoggerMixin, Trainer, Any): ...  # type: ignore[misc]

    class _PrecisionMixerTrainer(addons.PrecisionMixerMixin, Trainer, Any): ...  # type: ignore[misc]

    class _MultiGPUTrainer(addons.MultiGPUMixin, Trainer, Any): ...  # type: ignore[misc]

    class _AddOnsTrainer(signatures.AddOnsSignature, Trainer, Any): ...  # type: ignore[misc]
