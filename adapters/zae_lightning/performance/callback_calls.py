"""Callback calls: the hooks of a batch, called only if a callback implements them."""

from __future__ import annotations

from operator import is_
from typing import Any

from lightning.pytorch.callbacks import Callback


class CallbackCalls:
    """Calls hooks as Lightning does, but those that no callback implements.

    Lightning looks up every hook, and writes a debug line for each; a step has a dozen of them.

    Parameters
    ----------
    trainer : lightning.pytorch.Trainer
        The trainer.
    module : lightning.pytorch.LightningModule
        The module that the hooks receive.
    """

    def __init__(self, trainer: Any, module: Any) -> None:
        self._trainer, self._module = trainer, module
        self._read()

    def _read(self) -> None:
        self._callbacks, self._size = list(self._trainer.callbacks), _size(self._trainer.callbacks)
        self._is_implemented: dict[str, bool] = {}

    def is_current(self) -> bool:
        """Whether the trainer still has these callbacks, and none of them has got another attribute, such as a hook."""
        callbacks = self._trainer.callbacks
        return len(callbacks) == len(self._callbacks) and (
            not callbacks or (all(map(is_, callbacks, self._callbacks)) and _size(callbacks) == self._size)
        )

    def is_implemented(self, name: str) -> bool:
        """Whether a callback implements a hook; callbacks may come and go at any time."""
        if not self.is_current():
            self._read()
        found = self._is_implemented.get(name)
        if found is None:
            found = any(_implements(callback, name) for callback in self._callbacks)
            self._is_implemented[name] = found
        return found

    def __call__(self, name: str, *args: Any) -> None:
        """Call a hook; meanwhile ``module.log`` knows its name."""
        if self.is_implemented(name):
            attributes = self._module.__dict__
            previous, attributes["_current_fx_name"] = attributes["_current_fx_name"], name
            for callback in self._trainer.callbacks:
                hook = getattr(callback, name)
                if callable(hook):
                    hook(self._trainer, self._module, *args)
            attributes["_current_fx_name"] = previous


def _size(callbacks: list[Any]) -> int:
    """Return how many attributes the callbacks have; one more may be a hook."""
    return sum(map(len, map(vars, callbacks)))


def _implements(callback: Any, name: str) -> bool:
    return name in vars(callback) or getattr(type(callback), name) is not getattr(Callback, name)
