"""Taking loaders from a LightningDataModule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def is_data_module(value: Any) -> bool:
    """Whether this is a LightningDataModule, or has the methods of one."""
    return all(callable(getattr(value, name, None)) for name in ("prepare_data", "setup", "train_dataloader"))


@contextmanager
def loaders_of(data: Any, valid_loader: Any, stage: str) -> Iterator[tuple[Any, Any]]:
    """Give the loaders of a data module, prepared and set up; anything else is a loader itself.

    Parameters
    ----------
    data : LightningDataModule or iterable of batches
        What `Trainer.run` or `Trainer.inference` was given.
    valid_loader : iterable of batches or None
        Comes before the data module's own.
    stage : {"fit", "test", "predict"}
        ``"fit"`` takes ``train_dataloader`` and ``val_dataloader``, ``"test"`` takes ``test_dataloader``, ``"predict"``
        takes ``predict_dataloader`` or, where that is not written, ``test_dataloader``.
    """
    if not is_data_module(data):
        yield data, valid_loader
        return
    names = {"fit": ["train_dataloader"], "test": ["test_dataloader"], "predict": ["predict_dataloader"]}[stage]
    name = next((name for name in [*names, "test_dataloader"] if _is_written(data, name)), names[0])
    if name == "test_dataloader":
        stage = "test"
    data.prepare_data()
    data.setup(stage)
    try:
        if stage == "fit" and valid_loader is None and _is_written(data, "val_dataloader"):
            valid_loader = data.val_dataloader()
        yield getattr(data, name)(), valid_loader
    finally:
        data.teardown(stage)


def _is_written(data: Any, name: str) -> bool:
    """Whether a method is the user's own and not Lightning's, which only raises."""
    function = getattr(type(data), name, None)
    return function is not None and not function.__module__.startswith(("lightning.", "pytorch_lightning."))
