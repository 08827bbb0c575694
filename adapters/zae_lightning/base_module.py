"""What Lightning's callbacks and loops look for on a LightningModule, from the user's model, optimizer and loader."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import torch

from .dataloader import DataLoaderWrapper
from .protocol import Hooks


class BaseModule(L.LightningModule):
    """The attributes that people write on a LightningModule by hand.

    ``lr`` and ``learning_rate`` are those of the optimizer's first group, ``batch_size`` is the loader's; setting them
    changes these. Other attributes that this module does not have are the model's, ``backbone`` for instance.
    ``forward`` calls the model, and ``predict_step`` gives what ``test_step`` returns under "output".
    """

    hooks: Hooks
    _loader: DataLoaderWrapper | None

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            modules = self.__dict__.get("_modules", {})
            if name.startswith("_") or "model" not in modules or not hasattr(modules["model"], name):
                raise
            return getattr(modules["model"], name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the user's model."""
        return self.model(*args, **kwargs)

    def predict_step(self, batch: Any, *args: Any) -> Any:
        """Return what ``test_step`` returns under "output"; all of it if there is none."""
        step_dict = self.hooks.test_forward(batch)
        return step_dict.get("output", step_dict)

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
        """The batch size of the training loader."""
        return self.hooks.batch_size

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        self.hooks.batch_size = value

    def train_dataloader(self) -> Any:
        """Return the trainer's loader, with the batch size of this moment; for the batch size finder."""
        if self.hooks.loader is None:
            raise ValueError("No loader: give one to fit(module, loader), or run the trainer once.")
        self._loader = DataLoaderWrapper(self.hooks.loader) if self._loader is not None else None
        return self._loader if self._loader is not None else self.hooks.loader

    def _log_step(self, outputs: Any) -> None:
        """Give the step to the loggers of a user's own ``L.Trainer``, as often as that says."""
        trainer: Any = self.trainer
        step = trainer.fit_loop.total_batch_idx
        if trainer.loggers and step % trainer.log_every_n_steps == 0:
            values = self.hooks.to_floats(outputs)
            for logger in trainer.loggers:
                logger.log_metrics(values, step=step)


def tensors(values: Any) -> dict[str, torch.Tensor]:
    """Return numbers by name as Lightning keeps them in ``callback_metrics``."""
    return {key: torch.tensor(value) for key, value in values.items()}
