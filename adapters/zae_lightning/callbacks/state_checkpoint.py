"""StateManagerAddon as Lightning sees it: a checkpoint callback."""

from __future__ import annotations

import os
import weakref
from typing import Any

import torch
from lightning.pytorch.callbacks import Checkpoint


class StateCheckpoint(Checkpoint):
    """Tells Lightning, and callbacks that ask it, where the best state of a trainer is and how good it is.

    The files are written by the trainer's ``check_better`` and ``save_state``, which users override, at the moment when
    an epoch turns out to be better.

    Parameters
    ----------
    trainer : trainer with ``StateManagerAddon``
        Whose state is saved.
    """

    is_the_trainers = True  # and goes to no copy of it

    def __init__(self, trainer: Any) -> None:
        self._trainer = weakref.proxy(trainer)  # the trainer holds this callback

    @property
    def best_model_path(self) -> str:
        """The model's file; empty until this trainer has written it."""
        return os.fspath(self._trainer.state_file("model")) if self._trainer.saved_loss is not None else ""

    @property
    def best_model_score(self) -> torch.Tensor | None:
        """The loss of the epoch that the file is from, a scalar; None until it has been written."""
        return torch.tensor(self._trainer.saved_loss) if self._trainer.saved_loss is not None else None

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Complete what was saved in this epoch: Lightning calls this when all other callbacks are done with it."""
        self._trainer._zae_complete_state()

    def state_dict(self) -> dict[str, Any]:
        """Return path and score, for Lightning's own checkpoints."""
        return {"best_model_path": self.best_model_path, "best_model_score": self.best_model_score}
