"""Players: three ways to train the same problem, with one interface for the situations.

``hand_written`` is the reference. ``run`` gives the parts to a zae-engine trainer and calls its ``run``;
``own_trainer`` gives ``trainer.lightning_module`` to an ``L.Trainer`` of the user's own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from . import problem
from .problem import Classifier, HandWrittenForeignModule, HandWrittenModule

HOME, FOREIGN = "lightning.pytorch", "pytorch_lightning"
WAYS = ("run", "own_trainer")


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.detach().clone() for key, value in model.state_dict().items() if torch.is_tensor(value)}


class Player:
    """Maker of the objects of one situation, all of one way."""

    def __init__(self, way: str, folder: Path) -> None:
        self.way, self.folder = way, folder
        self.is_reference = way == "hand_written"

    def make(self, **options: Any) -> Subject:
        """Return what is trained; see `Subject`."""
        torch.manual_seed(options.pop("seed", 0))
        return {"hand_written": ByHand, "run": ByRun, "own_trainer": InOwnTrainer}[self.way](self.folder, **options)

    def package(self, name: str = FOREIGN) -> Any:
        """Return a package of Lightning; the reference has only one, where a situation mixes two."""
        return importlib.import_module(HOME if self.is_reference else name)


class Subject:
    """One side of the pair, with its parts.

    Parameters
    ----------
    folder : path
        Where files go.
    model, optimizer, scheduler : callable, optional
        Make the three: of nothing, of the parameters, of the optimizer.
    per_batch : bool, optional
        Whether the scheduler steps with the optimizer.
    callbacks, loggers : list, or callable of the model, optional
        Lightning's parts.
    arguments : mapping, optional
        Further arguments of ``L.Trainer``.
    package : str, optional
        Whose ``Trainer`` runs the hand-written module and the generated one.
    module_class, trainer_class : type, optional
        Variants of the pair.
    given : mapping, optional
        Arguments of the zae-engine trainer alone.
    **steps
        ``train``, ``test`` and ``epoch_metrics``, shared by both.
    """

    trains_facade = True

    def __init__(
        self,
        folder: Path,
        *,
        model: Callable[[], nn.Module] = lambda: nn.Linear(10, 2),
        optimizer: Callable[[Any], Any] = sgd,
        scheduler: Callable[[Any], Any] | None = None,
        per_batch: bool = False,
        callbacks: Any = (),
        loggers: Any = (),
        arguments: dict[str, Any] | None = None,
        package: str = HOME,
        module_class: type | None = None,
        trainer_class: type = Classifier,
        given: dict[str, Any] | None = None,
        monitor: str = "val_loss",
        **steps: Any,
    ) -> None:
        self.folder, self.package = folder, importlib.import_module(package)
        self.model = model()
        self.optimizer = optimizer(self.model.parameters())
        self.scheduler = scheduler(self.optimizer) if scheduler is not None else None
        self.callbacks = callbacks(self.model) if callable(callbacks) else callbacks
        self.loggers = loggers
        self.arguments = {"log_every_n_steps": 1, "default_root_dir": folder, **(arguments or {})}
        self.trainer: Any = None
        if self.trains_facade:
            settings = {"log_bar": False, **self._given_to_facade(), **(given or {})}
            self.facade = trainer_class(
                self.model,
                settings.pop("device", "cpu"),
                optimizer=self.optimizer,
                scheduler=self.scheduler,
                scheduler_step_on_batch=per_batch,
                **settings,
            )
            for name, function in steps.items():
                setattr(self.facade, name if name == "epoch_metrics" else f"{name}_function", function)
            self.module: Any = None
        else:
            kinds = {HOME: HandWrittenModule, FOREIGN: HandWrittenForeignModule}
            kind = module_class or kinds[package]
            self.module = kind(
                self.model, self.optimizer, self.scheduler, per_batch=per_batch, monitor=monitor, **steps
            )

    def _given_to_facade(self) -> dict[str, Any]:
        return {}

    # Training

    def fit(self, n_epoch: int, loader: Any = None, valid: Any = None, **options: Any) -> Subject:
        """Train for some epochs; a second call continues.

        Parameters
        ----------
        n_epoch : int
            Number of epochs, counted from the checkpoint if there is one.
        loader, valid : iterable of batches, optional
            The data; by default those of the problem.
        **options
            ``datamodule``, ``ckpt_path``, ``after`` (epochs that the checkpoint has) and ``limited`` (not to pass
            ``max_epochs``).
        """
        raise NotImplementedError

    def results(self) -> dict[str, float]:
        """Return ``callback_metrics`` under the names that both sides have."""
        return shared(self.trainer.callback_metrics)

    def weights(self) -> dict[str, torch.Tensor]:
        return tensors_of(self.model)

    def rates(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def counts(self) -> dict[str, int]:
        return {"global_step": self.trainer.global_step, "current_epoch": self.trainer.current_epoch}

    def best_weights(self) -> dict[str, torch.Tensor]:
        """Return what is kept of the epoch with the best validation."""
        return {key: value.clone() for key, value in self.facade.weight_buffer["weight"][-1].items()}

    def lightning_trainer(self, **arguments: Any) -> Any:
        """Return an ``L.Trainer`` with the parts of the subject."""
        module = self.package
        checkpoint = module.callbacks.Checkpoint
        bar = module.callbacks.ProgressBar
        silent = {
            "accelerator": "cpu",
            "devices": 1,
            "enable_checkpointing": any(isinstance(part, checkpoint) for part in self.callbacks),
            "enable_progress_bar": any(isinstance(part, bar) for part in self.callbacks),
            "enable_model_summary": any("Summary" in type(part).__name__ for part in self.callbacks),
            "num_sanity_val_steps": 0,
            "logger": list(self.loggers) or False,
            "callbacks": list(self.callbacks),
        }
        return module.Trainer(**{**silent, **self.arguments, **arguments})

    def _fit_lightning(
        self,
        n_epoch: int,
        loader: Any,
        valid: Any,
        *,
        datamodule: Any = None,
        ckpt_path: Any = None,
        after: int = 0,
        limited: bool = True,
    ) -> Subject:
        if self.trainer is not None and ckpt_path is None:
            self.trainer.fit_loop.max_epochs += n_epoch
        else:
            self.trainer = self.lightning_trainer(**({"max_epochs": after + n_epoch} if limited else {}))
        self.trainer.fit(self.module, loader, valid, datamodule=datamodule, ckpt_path=ckpt_path)
        return self

    # What only an L.Trainer can do

    def call(self, name: str, loader: Any = None, trainer: Any = None, **options: Any) -> Any:
        """Call ``validate``, ``test`` or ``predict`` of an ``L.Trainer`` with the module."""
        trainer = trainer or self.trainer or self.lightning_trainer()
        self.trainer = trainer
        if name != "predict":
            options = {"verbose": False, **options}
        return getattr(trainer, name)(self.module, loader, **options)


class ByHand(Subject):
    """The hand-written module in an ``L.Trainer``."""

    trains_facade = False

    def fit(self, n_epoch: int, loader: Any = None, valid: Any = None, **options: Any) -> Subject:
        if loader is None and "datamodule" not in options:
            loader = problem.train_loader()
        return self._fit_lightning(n_epoch, loader, valid, **options)

    def best_weights(self) -> dict[str, torch.Tensor]:
        return dict(self.module.best_state)


class InOwnTrainer(Subject):
    """``trainer.lightning_module`` in an ``L.Trainer`` of the user's own."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self.module = self.facade.lightning_module

    def fit(self, n_epoch: int, loader: Any = None, valid: Any = None, **options: Any) -> Subject:
        if loader is None and "datamodule" not in options:
            loader = problem.train_loader()
        return self._fit_lightning(n_epoch, loader, valid, **options)


class ByRun(Subject):
    """``trainer.run`` with the parts given to the trainer."""

    def _given_to_facade(self) -> dict[str, Any]:
        return {"callbacks": self.callbacks, "loggers": self.loggers, "lightning": self.arguments}

    def fit(
        self,
        n_epoch: int,
        loader: Any = None,
        valid: Any = None,
        *,
        datamodule: Any = None,
        ckpt_path: Any = None,
        after: int = 0,
        limited: bool = True,
    ) -> Subject:
        data = datamodule if datamodule is not None else loader if loader is not None else problem.train_loader()
        self.facade.run(n_epoch, data, valid, ckpt_path=ckpt_path)
        self.trainer = self.facade.lightning_trainer
        return self


def shared(metrics: Any) -> dict[str, float]:
    """Return metrics under the names that zae-engine gives, as floats."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if name.startswith(("train_", "val_", "test_")) and not name.endswith(("_step", "_epoch"))
    }
