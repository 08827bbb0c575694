"""Data modules: get the loaders of a LightningDataModule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def is_data_module(value: Any) -> bool:
    """Whether a value is a LightningDataModule, or has its methods."""
    return all(callable(getattr(value, name, None)) for name in ("prepare_data", "setup", "train_dataloader"))


@contextmanager
def loaders_of(data: Any, valid_loader: Any, stage: str) -> Iterator[tuple[Any, Any]]:
    """Prepare and set up a data module, yield its loaders, and tear it down.

    Parameters
    ----------
    data : LightningDataModule or iterable of batches
        The argument of `Trainer.run` or `Trainer.inference`. A loader is yielded unchanged.
    valid_loader : iterable of batches or None
        The validation loader. It replaces that of the data module.
    stage : {"fit", "test", "predict"}
        ``"fit"`` uses ``train_dataloader`` and ``val_dataloader``; ``"test"`` uses ``test_dataloader``; ``"predict"``
        uses ``predict_dataloader``, or ``test_dataloader`` if the data module does not define it.

    Yields
    ------
    tuple of (iterable, iterable or None)
        The loader and the validation loader.
    """
    if not is_data_module(data):
        yield data, valid_loader
        return
    names = {"fit": ["train_dataloader"], "test": ["test_dataloader"], "predict": ["predict_dataloader"]}[stage]
    name = next((name for name in [*names, "test_dataloader"] if _is_defined(data, name)), names[0])
    if name == "test_dataloader":
        stage = "test"
    data.prepare_data()
    data.setup(stage)
    try:
        loader = getattr(data, name)()
        if stage == "fit" and valid_loader is None and _is_defined(data, "val_dataloader"):
            valid_loader = data.val_dataloader()
        yield loader, valid_loader
    finally:
        data.teardown(stage)


def _is_defined(data: Any, name: str) -> bool:
    """Whether a data module defines a method itself. The methods of Lightning's base class only raise an error."""
    function = getattr(type(data), name, None)
    return function is not None and not function.__module__.startswith(("lightning.", "pytorch_lightning."))
