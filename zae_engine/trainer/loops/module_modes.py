"""Module modes: train and eval mode of modules, as the user's methods and as Lightning's callbacks know them.

zae-engine 0.7.6 sets the mode of the whole model in every step. In Lightning, what a callback sets holds, and a
validation runs in eval mode from its first hook to its last. So during a run there are two sets of modes: one while the
user's methods run, which only they and the steps change, and one for everything else. Where a callback has set a mode,
the steps keep it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class ModuleModes:
    """The modes of a model's modules during a run with a Lightning part."""

    def __init__(self) -> None:
        self._phase = "train"
        self._model: Any = None
        self._modules: list[torch.nn.Module] = []
        self._of_user: list[bool] = []
        self._of_callbacks: list[bool] = []
        self._before_evaluation: list[tuple[torch.nn.Module, bool]] = []
        self._is_inside = False

    def start(self, model: torch.nn.Module, mode: str) -> None:
        """Begin a run.

        Callbacks find the modes that they have left in the run before, unless they have changed since; otherwise those
        that the user has set. A model that is in eval mode as a whole is trained in train mode, as 0.7.6 does.
        """
        before = self._modules, self._of_user
        self._model, self._modules = model, list(model.modules())
        self._of_user, self._phase = self._flags(), "train"
        if before != (self._modules, self._of_user):
            is_left_in_eval = mode == "train" and not model.training
            self._of_callbacks = [True] * len(self._modules) if is_left_in_eval else self._of_user
        self._set(self._of_callbacks)

    @contextmanager
    def user_code(self, model: torch.nn.Module) -> Iterator[None]:
        """Set the user's modes for a method of the user's, and afterwards those of callbacks."""
        if self._is_inside:
            yield
            return
        if model is not self._model:
            self._refresh(model)
        self._of_callbacks = self._flags()
        self._set(self._of_user)
        self._is_inside = True
        try:
            yield
        finally:
            self._is_inside = False
            self._of_user = self._flags()
            self._set(self._of_callbacks)

    def set_mode(self, model: torch.nn.Module, mode: str) -> None:
        """Set the mode of the whole model for a step, except where a callback has set another one."""
        model.train() if mode == "train" else model.eval()
        if mode == self._phase:
            usual = mode == "train"
            for module, flag in zip(self._modules, self._of_callbacks, strict=True):
                if flag is not usual:
                    module.training = flag

    def enter_evaluation(self, module: torch.nn.Module, model: torch.nn.Module) -> None:
        """Switch Lightning's module, which contains the model, to eval mode for a validation or test."""
        self._refresh(model)
        self._before_evaluation = [(part, part.training) for part in module.modules()]
        module.eval()
        self._phase = "test"

    def leave_evaluation(self) -> None:
        """Restore the modes before `enter_evaluation`."""
        for part, flag in self._before_evaluation:
            part.training = flag
        self._before_evaluation = []
        self._phase = "train"

    def finish(self, keeps_users: bool) -> None:
        """End a run, with the user's modes as 0.7.6 leaves them, or with those of callbacks."""
        self.leave_evaluation()  # after an exception
        self._of_callbacks = self._flags()
        if keeps_users:
            self._set(self._of_user)

    def _refresh(self, model: torch.nn.Module) -> None:
        """Read the modules of the model again, which may have others now."""
        known = {id(module): flag for module, flag in zip(self._modules, self._of_user, strict=True)}
        self._model, self._modules = model, list(model.modules())
        self._of_user = [known.get(id(module), module.training) for module in self._modules]
        self._of_callbacks = self._flags()

    def _flags(self) -> list[bool]:
        return [module.training for module in self._modules]

    def _set(self, flags: list[bool]) -> None:
        for module, flag in zip(self._modules, flags, strict=True):
            if module.training is not flag:
                module.training = flag
