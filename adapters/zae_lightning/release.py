"""Release: freeing a model with its trainer, although Lightning's trainer is part of reference cycles.

Lightning's trainer and its loops refer to one another, so only the garbage collector frees them. Until it runs they
keep the model, and with it the memory of a GPU. So a trainer owns a `LightningRun`: when the trainer is deleted, this
takes the model, the optimizers and the loaders from Lightning's trainer.
"""

from __future__ import annotations

import contextlib
from typing import Any

import lightning.pytorch as L


class LightningRun:
    """Owns the ``L.Trainer`` of a trainer's latest run, and releases the model when it is deleted.

    Parameters
    ----------
    lightning_trainer : lightning.pytorch.Trainer
        The trainer of the run. While this object exists it stays complete.
    """

    def __init__(self, lightning_trainer: L.Trainer) -> None:
        self._lightning_trainer = lightning_trainer

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # nobody could handle it here
            release(self._lightning_trainer)


def release(lightning_trainer: L.Trainer) -> None:
    """Take the model, the optimizers and the loaders from an ``L.Trainer`` whose run is over.

    Its counts, metrics, callbacks and loggers stay. The names are private to Lightning, which has no public way;
    tests/unit/zae_lightning/test_release.py fails if they change.

    Parameters
    ----------
    lightning_trainer : lightning.pytorch.Trainer
        The trainer.
    """
    strategy: Any = lightning_trainer.strategy
    vars(strategy).update(_lightning_module=None, _model=None, _optimizers=[], _lightning_optimizers=[])
    strategy.lr_scheduler_configs = []
    loops: list[Any] = [
        lightning_trainer.fit_loop,
        lightning_trainer.fit_loop.epoch_loop.val_loop,
        lightning_trainer.validate_loop,
        lightning_trainer.test_loop,
        lightning_trainer.predict_loop,
    ]
    for loop in loops:
        vars(loop).update(_combined_loader=None, _data_fetcher=None)
        loop._data_source.instance = None
    lightning_trainer._data_connector._datahook_selector = None
    for callback in lightning_trainer.callbacks:  # type: ignore[attr-defined]
        for name in ("log", "log_dict"):  # Lightning has set them to methods of the module
            vars(callback).pop(name, None)
