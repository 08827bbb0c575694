"""Data module: Lightning's contract for the data module of a run.

The trainer prepares and sets up a data module and takes its loaders before the run, since what a run does depends on
them. Lightning then receives the data module itself: ``trainer.datamodule``, ``data.trainer``, the transfer hooks, the
states in checkpoints and reloads are Lightning's. During the run, the methods that the trainer has called already
are replaced on the object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.utilities.model_helpers import is_overridden

from .dataloader import DataLoaderWrapper
from .foreign_lightning import bridged, is_instance
from .protocol import Hooks
from .several_loaders import for_lightning, one_loader, wrapped

LOADERS = {"train": "train_dataloader", "valid": "val_dataloader", "test": "test_dataloader"}
_HOOKS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer", "state_dict")


def is_lightning_data_module(value: object) -> bool:
    """Whether a value is a LightningDataModule of either package, not only an object with its methods."""
    return is_instance(value, L.LightningDataModule)


def overridden_hooks(data: L.LightningDataModule) -> list[str]:
    """Return the names of the hooks of a data module that only Lightning's trainer of a run calls."""
    with bridged([data]):
        return [name for name in _HOOKS if is_overridden(name, data)]


class LoaderRequests:
    """Answers Lightning's requests for the loaders of a data module.

    Parameters
    ----------
    data : lightning.pytorch.LightningDataModule
        The data module.
    hooks : Hooks
        The run's hooks, which receive the loaders of later requests.
    module : lightning.pytorch.LightningModule
        The generated module.
    """

    def __init__(self, data: Any, hooks: Hooks, module: Any) -> None:
        self._data, self._hooks, self._module = data, hooks, module
        self._batch_size = getattr(data, "batch_size", None)

    def answer(self, stage: str, wrapper: DataLoaderWrapper | None) -> Callable[[], Any]:
        """Return a method that gives the loader of a stage.

        Parameters
        ----------
        stage : {"train", "valid", "test"}
            The stage.
        wrapper : DataLoaderWrapper or None
            The loader that the trainer has taken before the run; None for none. The first request receives it, unless
            the data module's batch size has changed. Later ones ask the data module, as
            ``reload_dataloaders_every_n_epochs`` and the batch size finder do.

        Returns
        -------
        callable
            The method.
        """
        original = getattr(self._data, LOADERS[stage], None)
        is_first_request = True

        def loader() -> Any:
            nonlocal is_first_request
            is_taken = is_first_request and getattr(self._data, "batch_size", None) == self._batch_size
            is_first_request = False
            if wrapper is None:
                return []
            return for_lightning(wrapper if is_taken or original is None else self._wrap(stage, original()))

        return loader

    def _wrap(self, stage: str, loader: Any) -> Any:
        loader = one_loader(loader, is_training=stage == "train")
        wrapper = wrapped(loader)
        if stage == "valid":
            self._hooks.valid_loader, self._module._valid_loader = loader, wrapper
        else:
            self._hooks.loader, self._module._loader = loader, wrapper
        return wrapper


@contextmanager
def lent_to_lightning(
    data: Any, hooks: Hooks, module: Any, wrappers: Mapping[str, DataLoaderWrapper | None]
) -> Iterator[None]:
    """Replace the methods of a data module that the trainer has called by those for Lightning's trainer of a run.

    Parameters
    ----------
    data : lightning.pytorch.LightningDataModule
        The data module, set up.
    hooks : Hooks
        The run's hooks.
    module : lightning.pytorch.LightningModule
        The generated module.
    wrappers : mapping of str to DataLoaderWrapper or None
        The loaders of the run, by stage.
    """
    requests = LoaderRequests(data, hooks, module)
    methods: dict[str, Callable[..., Any]] = {
        "prepare_data": lambda: None,
        "setup": lambda stage: _restore(data, hooks.checkpoint()),
        "teardown": lambda stage: None,
    }
    for stage, wrapper in wrappers.items():
        if wrapper is not None or is_overridden(LOADERS[stage], data):
            methods[LOADERS[stage]] = requests.answer(stage, wrapper)
    own = {name: vars(data)[name] for name in methods if name in vars(data)}
    vars(data).update(methods)
    try:
        with bridged([data]):
            yield
    finally:
        for name in methods:
            vars(data).pop(name, None)
        vars(data).update(own)


def _restore(data: Any, checkpoint: Mapping[str, Any] | None) -> None:
    """Restore the state that a checkpoint has under Lightning's name for the class of a data module."""
    names = [cls.__qualname__ for cls in type(data).__mro__]  # a class that both packages know is a subclass
    found = next((checkpoint[name] for name in names if name in checkpoint), None) if checkpoint is not None else None
    if found is not None:
        data.load_state_dict(found)
