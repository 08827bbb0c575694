"""Mode hooks: who sets train and eval mode during a run, the steps alone or Lightning with its callbacks too."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from .._protocol import TrainerProtocol
from .module_modes import ModuleModes


class ModeHooks:
    """The hooks of modes. A trainer alone sets the mode of the whole model for every batch, as 0.7.6 does."""

    trainer: TrainerProtocol
    _modes: ModuleModes | None = None
    _outer_modes: Any = None

    @property
    def follows_lightning(self) -> bool:
        """Whether a Lightning part is in play."""
        return False

    def enter_loop(self) -> None:
        """Let callbacks set the modes of the model's modules until the run ends, where a Lightning part is in play."""
        state, model = self.trainer._zae_state, self.trainer.model
        if self._modes is None and self.follows_lightning and isinstance(model, torch.nn.Module):
            self._outer_modes = state.run.modes
            if self._outer_modes is None:
                state.process.module_modes = state.process.module_modes or ModuleModes()
            self._modes = state.process.module_modes if self._outer_modes is None else ModuleModes()
            self._modes.start(model, self.trainer.mode)
            state.run.modes = self._modes

    def _leave_loop(self, keeps_users: bool) -> None:
        """Let the steps alone set the modes again; see `ModuleModes.finish`."""
        if self._modes is not None:
            self._modes.finish(keeps_users)
            self.trainer._zae_state.run.modes = self._outer_modes
            self._modes = self._outer_modes = None

    def enter_evaluation(self, module: torch.nn.Module) -> None:
        """Switch Lightning's module to eval mode."""
        if self._modes is not None:
            self._modes.enter_evaluation(module, self.trainer.model)

    def leave_evaluation(self) -> None:
        """Restore the modes before `enter_evaluation`."""
        if self._modes is not None:
            self._modes.leave_evaluation()

    def user_code(self) -> AbstractContextManager[None]:
        """Return a context for the user's methods, with the modes that they would have in 0.7.6."""
        return nullcontext() if self._modes is None else self._modes.user_code(self.trainer.model)
