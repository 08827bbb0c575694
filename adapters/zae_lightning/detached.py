"""Detached hooks: what a copy of the generated module has in place of its trainer's hooks."""

from __future__ import annotations

from typing import Any, NoReturn


class DetachedHooks:
    """The hooks of a module that has been copied or pickled.

    Such a copy has the weights and can be called. It has no trainer: a trainer holds loaders, files and callbacks.
    """

    loader = valid_loader = batch_size = torch_optimizer = torch_scheduler = None

    @property
    def model(self) -> None:
        """None; the copy of the module has the model."""
        return

    @model.setter
    def model(self, value: Any) -> None: ...

    uses_manual_optimization = False

    def __exit__(self, *exception: object) -> None:
        """Do nothing: nothing has begun."""

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # asked by copy and pickle
            raise AttributeError(name)
        raise RuntimeError(
            "This module is a copy of a trainer's lightning_module: it has the weights and can be called, but it has "
            "no trainer, whose steps train and test. Use the lightning_module of the trainer, or of a copy of the "
            "trainer: copy.deepcopy(trainer).lightning_module."
        )
