"""The add-on that saves a trainer's state whenever it gets better, and loads it."""

from __future__ import annotations

import copy
import os
from typing import Any

from .. import ranks
from . import state_files
from .core import AddOnBase, T


class StateManagerAddon(AddOnBase):
    """Save model, optimizer and scheduler on every better loss.

    The trainer takes two more keywords:

    ``save_path`` : str
        The folder for the files; it is made if it is not there.
    ``save_format`` : {"ckpt", "safetensor"}, optional
        The format of the model's file, by default "ckpt".

    Three files are written, by the names and in the formats of zae-engine 0.7.6, which can read them and whose files
    can be read here: ``model.ckpt`` (`torch.save`) or ``model.safetensor``, ``optimizer.zae`` and ``scheduler.zae``
    (pickles). Each is written beside and put in its place at once. What the trainer does not have, a scheduler say, or
    what has no ``state_dict``, is not written.

    The trainer has, and a subclass may override: ``save_state()``, ``load_state()``, ``save_model(filename)``,
    ``save_optimizer()``, ``save_scheduler()`` and ``state_file(part)``, the path of a part's file. ``saved_loss`` is
    the loss of what has been saved.

    Raises
    ------
    ValueError
        On construction of the trainer, if the format is none of the two.

    Examples
    --------
    >>> from zae_engine.trainer import Trainer
    >>> from zae_engine.trainer.addons import StateManagerAddon
    >>> MyTrainer = Trainer.add_on(StateManagerAddon)
    >>> trainer = MyTrainer(
    ...     model=my_model,
    ...     device='cuda',
    ...     optimizer=my_optimizer,
    ...     scheduler=my_scheduler,
    ...     save_path='./checkpoints'
    ... )  # doctest: +SKIP
    """

    def __init__(self, save_path: str, save_format: str = "ckpt") -> None:
        self.save_path = save_path
        self.save_format = save_format

    @classmethod
    def apply(cls, base_cls: type[T]) -> type[T]:
        """Return ``base_cls`` with saving and loading."""

        class TrainerWithStateManager(base_cls):  # type: ignore[misc, valid-type]
            def __init__(self, *args: Any, save_path: str, save_format: str = "ckpt", **kwargs: Any) -> None:
                if save_format not in state_files.FORMATS:
                    raise ValueError(f'save_format={save_format!r} is unknown: accepted are "ckpt" and "safetensor".')
                self.save_path = save_path
                self.save_format = save_format
                self.saved_loss: float | None = None
                super().__init__(*args, **kwargs)
                os.makedirs(self.save_path, exist_ok=True)
                self._zae_state.callback_makers.append(_checkpoint_callback)

            def check_better(self, cur_epoch: int, cur_loss: float) -> bool:
                """As `Trainer.check_better`, and save the state if it is better."""
                better = super().check_better(cur_epoch, cur_loss)
                if better:
                    if ranks.is_first(self):
                        self.save_state()
                    self.saved_loss = float(cur_loss)
                return bool(better)

            def state_file(self, part: str) -> str:
                """Return the path of the file of ``"model"``, ``"optimizer"`` or ``"scheduler"``."""
                return os.path.join(self.save_path, f"{part}.{self.save_format if part == 'model' else 'zae'}")

            def save_state(self) -> None:
                """Save model, optimizer and scheduler, as far as the trainer has them."""
                self.save_model(self.state_file("model"))
                self.save_optimizer()
                self.save_scheduler()

            def save_model(self, filename: str) -> None:
                """Save the model's weights to a file, in the trainer's format."""
                state_files.write_model(filename, self.model.state_dict(), self.save_format)

            def save_optimizer(self) -> None:
                """Save the optimizer's state, if there is an optimizer that can give it."""
                if hasattr(self.optimizer, "state_dict"):
                    state_files.write_zae(self.state_file("optimizer"), self.optimizer.state_dict())

            def save_scheduler(self) -> None:
                """Save the scheduler's state, if there is a scheduler that can give it."""
                if hasattr(self.scheduler, "state_dict"):
                    state_files.write_zae(self.state_file("scheduler"), self.scheduler.state_dict())

            def load_state(self) -> None:
                """Load model, optimizer and scheduler, as far as the trainer has them, onto its device.

                All or nothing: where one part does not fit, the others are as before. Reading runs no code from files.

                Raises
                ------
                FileNotFoundError
                    If a file is missing.
                ValueError
                    If a file cannot be read.
                """
                parts = [
                    part for part in ("model", "optimizer", "scheduler") if hasattr(getattr(self, part), "state_dict")
                ]
                states = {part: self._read_state(part) for part in parts}
                before = {part: copy.deepcopy(getattr(self, part).state_dict()) for part in parts}
                try:
                    for part, state in states.items():
                        getattr(self, part).load_state_dict(state)
                except Exception:
                    for part, state in before.items():
                        getattr(self, part).load_state_dict(state)
                    raise

            def __getstate__(self) -> dict[str, Any]:
                """Leave the callback behind: it is of this very trainer, and a copy makes its own."""
                state = super().__getstate__()
                inner = copy.copy(state["_zae_state"])
                inner.callback_makers = [_checkpoint_callback]
                own = [callback for callback in state["callbacks"] if not getattr(callback, "is_the_trainers", False)]
                return {**state, "_zae_state": inner, "callbacks": own}

            def _read_state(self, part: str) -> Any:
                file = self.state_file(part)
                if not os.path.exists(file):
                    there = sorted(os.listdir(self.save_path))
                    raise FileNotFoundError(
                        f"The {part}'s file {os.path.basename(file)!r} is missing in {self.save_path!r} (there are "
                        f"{there}). save_state() writes it; apply_weights(file) loads a model alone."
                    )
                return state_files.read_model(file, self.save_format) if part == "model" else state_files.read_zae(file)

        return TrainerWithStateManager


def _checkpoint_callback(trainer: Any) -> Any:
    from zae_lightning.callbacks import StateCheckpoint

    return StateCheckpoint(trainer)
