"""StateManagerAddon as Lightning sees it: a checkpoint callback."""

from __future__ import annotations

import os
import weakref
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Checkpoint


class StateCheckpoint(Checkpoint):
    """Tells Lightning, and callbacks that ask it, where the best state of a trainer is and how good it is.

    The files are written by the trainer's ``check_better`` and ``save_state``, which users override, at the moment when
    an epoch turns out to be better; Lightning runs this callback right after.

    Parameters
    ----------
    facade : trainer with ``StateManagerAddon``
        Whose state is saved.

    Attributes
    ----------
    best_model_path : str
        The model's file; empty until it has been written.
    best_model_score : torch.Tensor or None
        The loss of the epoch that it is from, a scalar.
    """

    def __init__(self, facade: Any) -> None:
        self._facade = weakref.proxy(facade)  # the trainer holds this callback
        self.best_model_path = ""
        self.best_model_score: torch.Tensor | None = None

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take note of what the trainer has saved."""
        path = self._facade.state_file("model")
        if os.path.exists(path):
            self.best_model_path = os.fspath(path)
            self.best_model_score = torch.tensor(float(self._facade.loss_buffer))

    def state_dict(self) -> dict[str, Any]:
        """Return path and score, for Lightning's own checkpoints."""
        return {"best_model_path": self.best_model_path, "best_model_score": self.best_model_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take path and score back."""
        self.best_model_path = state_dict["best_model_path"]
        self.best_model_score = state_dict["best_model_score"]
