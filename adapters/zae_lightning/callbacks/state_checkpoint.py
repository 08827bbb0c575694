"""State checkpoint: the checkpoint callback of ``StateManagerAddon``."""

from __future__ import annotations

import os
import weakref
from typing import Any

import torch
from lightning.pytorch.callbacks import Checkpoint

from ..protocol import SavingTrainer


class StateCheckpoint(Checkpoint):
    """Provides the path and score of a trainer's best state to Lightning and to other callbacks.

    The trainer writes the files in ``check_better`` and ``save_state``, which users may override, when an epoch is
    better than all before.

    Parameters
    ----------
    trainer : SavingTrainer
        The trainer with ``StateManagerAddon``.
    """

    is_the_trainers = True  # copies of the trainer get a new callback

    def __init__(self, trainer: SavingTrainer) -> None:
        self._trainer: SavingTrainer = weakref.proxy(trainer)  # the trainer holds this callback

    @property
    def best_model_path(self) -> str:
        """The path of the model's file; empty until this trainer has written it."""
        return os.fspath(self._trainer.state_file("model")) if self._trainer.saved_loss is not None else ""

    @property
    def best_model_score(self) -> torch.Tensor | None:
        """The loss of the saved epoch, a scalar; None until the file is written."""
        return torch.tensor(self._trainer.saved_loss) if self._trainer.saved_loss is not None else None

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Complete the state of this epoch: Lightning calls checkpoint callbacks after all others."""
        self._trainer._zae_complete_state()

    def state_dict(self) -> dict[str, Any]:
        """Return path and score for Lightning's checkpoints."""
        path = self._trainer._zae_path("model") if self._trainer.saved_loss is not None else ""
        return {"best_model_path": path, "best_model_score": self.best_model_score}
