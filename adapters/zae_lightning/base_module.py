"""Base module: the attributes that Lightning's callbacks and loops expect of a LightningModule."""

from __future__ import annotations

from collections.abc import Mapping
from multiprocessing.context import get_spawning_popen
from typing import Any

import lightning.pytorch as L
import torch
from lightning.fabric.utilities import move_data_to_device

from .dataloader import DataLoaderWrapper
from .detached import DetachedHooks
from .foreign_lightning import class_for_trainer
from .progress import updates_so_far
from .protocol import Hooks

_TRAINER: Any = L.LightningModule.trainer
_RECORDS = "zae_engine"


class BaseModule(L.LightningModule):
    """A LightningModule with the attributes of the user's model, optimizer and loader.

    ``lr`` and ``learning_rate`` read the optimizer's first parameter group, and set all groups. ``batch_size`` reads
    and sets the batch size of the loader. Attributes that the module lacks are read from the model, such as
    ``backbone``. ``forward`` calls the model. ``predict_step`` is the trainer's. A module that is set
    as ``model`` becomes the trainer's model. A copy or a pickle has the weights, but no trainer.
    """

    hooks: Hooks
    _loader: DataLoaderWrapper | None
    _returns_records = False

    def _set_trainer(self, trainer: Any) -> None:
        cls = class_for_trainer(type(self), trainer)
        if cls is not type(self):
            object.__setattr__(self, "__class__", cls)
        _TRAINER.__set__(self, trainer)

    trainer = property(_TRAINER.fget, _set_trainer, doc="The ``Trainer``, of either of Lightning's packages.")

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            modules = self.__dict__.get("_modules", {})
            if name.startswith("_") or "model" not in modules or not hasattr(modules["model"], name):
                raise
            return getattr(modules["model"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "model" and self.hooks.model is not value:
            self.hooks.model = value

    def __getstate__(self) -> dict[str, Any]:
        """Return the weights, and what Lightning and callbacks have set; the rest is as in a new module.

        A process that a strategy starts receives all of the module.
        """
        if get_spawning_popen() is not None:
            return dict(super().__getstate__())
        of_lightning = vars(L.LightningModule())
        fresh = vars(type(self)(DetachedHooks(), None, None)).items()
        own = {name: value for name, value in fresh if name not in of_lightning and name != "model"}
        return {**super().__getstate__(), **own, "_sigterm_handler": None}

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the weights; with the trainer's records, when a process that a strategy has started returns them."""
        state = super().state_dict(*args, **kwargs)
        if self._returns_records:
            state[_RECORDS] = self.hooks.records()
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load weights, and the trainer's records if a process has returned them."""
        weights = {name: value for name, value in state_dict.items() if name != _RECORDS}
        if _RECORDS in state_dict:
            self.hooks.load_records(state_dict[_RECORDS])
        return super().load_state_dict(weights, *args, **kwargs)

    @property
    def example_input_array(self) -> Any:
        """An input of ``forward``, for summaries, graphs and exports: the module's own, else the model's."""
        own = super().example_input_array
        return getattr(self.model, "example_input_array", None) if own is None else own

    @example_input_array.setter
    def example_input_array(self, value: Any) -> None:
        self._example_input_array = value

    def _apply_batch_transfer_handler(
        self, batch: Any, device: torch.device | None = None, dataloader_idx: int = 0
    ) -> Any:
        """Move an input of ``forward``, for which Lightning names no device, without unpacking it as a batch.

        A batch that a data module has moved is unpacked here. The names are private to Lightning;
        tests/unit/zae_lightning/test_base_module.py fails if they change.
        """
        if device is None:
            return move_data_to_device(batch, self.device)
        batch = super()._apply_batch_transfer_handler(batch, device, dataloader_idx)
        trainer: Any = self._trainer
        if trainer is None or trainer.datamodule is None:
            return batch
        selector = trainer._data_connector._datahook_selector
        if selector.get_instance("transfer_batch_to_device") is self:
            return batch
        return self.transfer_batch_to_device(batch, device, dataloader_idx)  # the steps receive an unpacked batch

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the user's model."""
        return self.model(*args, **kwargs)

    def predict_step(self, batch: Any, *args: Any) -> Any:
        """Return what the trainer's ``predict_step`` returns."""
        return self.hooks.predict_forward(batch)

    @property
    def lr(self) -> float:
        """The learning rate of the optimizer's first parameter group."""
        optimizer = self.hooks.torch_optimizer
        if optimizer is None:
            raise AttributeError("lr: the trainer has no torch optimizer")
        return float(optimizer.param_groups[0]["lr"])

    @lr.setter
    def lr(self, value: float) -> None:
        optimizer = self.hooks.torch_optimizer
        for group in optimizer.param_groups if optimizer is not None else ():
            group["lr"] = value

    learning_rate = lr

    @property
    def batch_size(self) -> int | None:
        """The batch size of the training loader; missing where a data module has one, and without a loader."""
        data = getattr(self._trainer, "datamodule", None)
        if self.hooks.batch_size is None or hasattr(data, "batch_size"):
            raise AttributeError("batch_size: it is the data module's, or the trainer has no loader")
        return self.hooks.batch_size

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        self.hooks.batch_size = value

    def train_dataloader(self) -> Any:
        """Return the trainer's loader with its current batch size, for the batch size finder."""
        if self.hooks.loader is None:
            raise ValueError("No loader: give one to fit(module, loader), or run the trainer once.")
        self._loader = DataLoaderWrapper(self.hooks.loader) if self._loader is not None else None
        return self._loader if self._loader is not None else self.hooks.loader

    def _log_step(self, outputs: Any) -> None:
        """Log the step to the loggers of the user's ``L.Trainer``, every ``log_every_n_steps`` steps."""
        lightning_trainer: Any = self.trainer
        step = updates_so_far(lightning_trainer)
        if lightning_trainer.loggers and (step + 1) % lightning_trainer.log_every_n_steps == 0:
            values = self.hooks.to_floats(outputs)
            for logger in lightning_trainer.loggers:
                logger.log_metrics(values, step=step)


def tensors(values: Mapping[str, float]) -> dict[str, torch.Tensor]:
    """Return numbers as scalar tensors, the type of Lightning's ``callback_metrics``."""
    return {key: torch.tensor(value) for key, value in values.items()}


class ScalarTensors:
    """Scalar tensors of numbers, made once for each number: results are shown several times an epoch."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[float, torch.Tensor]] = {}

    def of(self, values: Mapping[str, float]) -> dict[str, torch.Tensor]:
        """Return numbers as scalar tensors, as `tensors` does; a tensor that somebody has changed is made again.

        Parameters
        ----------
        values : dict of str to float
            The numbers by name.
        """
        self._made = {key: (value, self._tensor(key, value)) for key, value in values.items()}
        return {key: tensor for key, (_, tensor) in self._made.items()}

    def _tensor(self, key: str, value: float) -> torch.Tensor:
        known, tensor = self._made.get(key, (None, None))
        return tensor if tensor is not None and known is value and _is_unchanged(tensor) else torch.tensor(value)


def _is_unchanged(tensor: torch.Tensor) -> bool:
    return not tensor.is_inference() and tensor._version == 0
