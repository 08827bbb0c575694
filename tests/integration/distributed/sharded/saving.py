"""Cases of weights, states and checkpoints."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from zae_engine.trainer.addons import StateManagerAddon
from zae_engine.trainer.utilities.sharded_tensors import gathered

from .common import EPOCHS, SIZE, Sharded, case, loaders, observe, run, trainer_of


@case
def weights_and_best_weights(folder: Path) -> dict[str, Any]:
    trainer = run(trainer_of(lr=0.3))
    trainer.save_model(folder / "model.pt")
    saved = dict(torch.load(folder / "model.pt", weights_only=True)) if os.environ.get("RANK", "0") == "0" else None
    trainer.apply_weights()
    best = dict(gathered(trainer.model.state_dict()))
    trainer.apply_weights(folder / "model.pt")
    return observe(trainer, saved=saved, applied=best)


@case
def state_saved_and_loaded(folder: Path) -> dict[str, Any]:
    """Save after every epoch; another trainer, of a whole model, loads and continues; and this one goes back."""
    Stateful = Sharded.add_on(StateManagerAddon)
    trainer = run(trainer_of(Stateful, save_path=folder / "state", save_every=1), epochs=2)
    trainer.save_state()
    trainer.save_model(folder / "alone.pt")
    continued = trainer_of(Stateful, save_path=folder / "state")
    continued.load_state()
    continued.save_path = folder / "other"
    first = observe(run(continued, epochs=2))
    trainer.load_state()  # after the model is sharded
    run(trainer, epochs=2)
    trainer.save_path = folder / "final"
    trainer.save_state()
    return observe(trainer, first=first)


@case
def saves_that_fail(folder: Path) -> dict[str, Any]:
    """Go on without a state, since the folder is a file, and save the next epoch that is better in another folder."""
    trainer = trainer_of(Sharded.add_on(StateManagerAddon), save_path=folder / "state", save_every=1)
    (folder / "file").touch()
    trainer.save_path = folder / "file" / "state"
    run(trainer, epochs=2)
    trainer.save_path = folder / "state"
    run(trainer, epochs=2)
    return observe(trainer, saved=trainer.saved_loss if os.environ.get("RANK", "0") == "0" else None)


@case
def stopped_by_sigterm(folder: Path) -> dict[str, Any]:
    """Send SIGTERM to one of the processes in the last step of an epoch: both save, end, and go on from there."""

    class Stopped(Sharded.add_on(StateManagerAddon)):
        def train_step(self, batch: Any) -> dict[str, Any]:
            is_last = int(os.environ.get("RANK", "0")) == SIZE - 1
            if self.progress_checker.get_step() == 10 and is_last and not (folder / "stopped").exists():
                (folder / "stopped").touch()
                os.kill(os.getpid(), signal.SIGTERM)
            return super().train_step(batch)

    trainer = trainer_of(Stopped, save_path=folder / "state")
    with pytest.raises(SystemExit, match=str(128 + signal.SIGTERM)):
        run(trainer)
    other = trainer_of(Stopped, save_path=folder / "state")
    other.load_state()
    other.run(None, *loaders(), until=EPOCHS)
    return observe(other)


@case
def checkpoints_of_lightning(folder: Path) -> dict[str, Any]:
    """Continue from a checkpoint of ModelCheckpoint in another trainer, before its model is sharded, and after."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    def make() -> Any:
        callback = ModelCheckpoint(folder, filename="last", monitor="val_loss", enable_version_counter=False)
        return trainer_of(callbacks=[callback], save_distributed_checkpoint=False)

    trainer = make()
    trainer.run(2, *loaders())
    other = make()
    other.run(2, *loaders(), ckpt_path=folder / "last.ckpt")
    first = observe(other)
    other.run(2, *loaders(), ckpt_path=folder / "last.ckpt")
    return {"first": first, "again": observe(other)}


def continued(folder: Path, state: str) -> dict[str, Any]:
    """Load a state, and train two more epochs."""
    trainer = trainer_of(Sharded.add_on(StateManagerAddon), save_path=state)
    trainer.load_state()
    trainer.save_path = folder / "state"
    return observe(run(trainer, epochs=2))
