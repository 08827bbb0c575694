"""StateManagerAddon: saving the state of a trainer in every better epoch, and loading it."""

from __future__ import annotations

import copy
import os
import shutil
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from .._protocol import TrainerProtocol
from .._state import TrainerState
from ..checkpoint.best import compared_value
from ..checkpoint.loading import load
from ..checkpoint.pruning import without_pruning
from ..checkpoint.storage import formats, manifest
from ..checkpoint.storage.atomic_folder import AtomicFolder
from ..checkpoint.storage.latest import earlier_saves, latest_state
from ..checkpoint.storage.writers import WriterIdentity, check_other_writer, record_writer
from ..checkpoint.trainer_state import callback_states, trainer_state_dict
from ..checkpoint.validated_weights import weights_to_continue
from ..checkpoint.weights import WeightsFile, plain_state_dict
from ..distributed.world import is_rank_zero
from ..optim import has_modes, set_optimizer_mode
from ..utilities.atomic_io import os_error_cause
from ..utilities.import_guard import guarded_import
from .compose import with_mixin
from .core import AddOnBase, T

if TYPE_CHECKING:
    from zae_lightning.kinds import Callback


class StateManagerAddon(AddOnBase):
    """Save model, optimizer and scheduler on every better loss, or value of the trainer's ``monitor``.

    The trainer takes three more keywords:

    ``save_path`` : path
        The folder for the files; it is created if it does not exist. A relative path is resolved when it is set, so
        that a later ``os.chdir`` does not change the folder.
    ``save_format`` : {"ckpt", "safetensor"}, optional
        The format of the model's file, by default "ckpt".
    ``save_every`` : int, optional
        The number of epochs after which the latest state is saved too, into the folder ``latest`` beside the files of
        the best one; None, the default, for never.

    The folder has these files. All replace the previous ones together; the first three have the names and formats of
    zae-engine 0.7.6, so that each version reads the files of the other. A part that the trainer does not have, such as
    a scheduler, or that has no ``state_dict``, is not written.

    ``model.ckpt`` or ``model.safetensor``
        The model's weights, by `torch.save` or safetensors.
    ``optimizer.zae``, ``scheduler.zae``
        Their states, as pickles.
    ``trainer.zae``
        All else that exact resume needs: progress, best weights, history, random states, scaler, callbacks.
    ``latest/``
        The same files of the latest epoch, with ``save_every``, if it is not the best one.
    ``stopped/``
        The same files of the moment of a SIGTERM, until a run has continued.
    ``.saving/``, ``.saved/``
        The new files while a save replaces the old ones.

    Each trainer needs a folder of its own. If another trainer saves into the folder at the same moment, or has saved
    there and is in a run in this process, a save is refused. If a save replaces the state of another trainer that
    still exists, in this process or in another one of this machine, and that was not loaded, it warns once.

    The trainer has these methods, which a subclass may override: ``save_state()``, ``load_state()``,
    ``save_model(filename)``, ``save_optimizer()``, ``save_scheduler()`` and ``state_file(part)``, the path of a part's
    file. ``saved_loss`` is the loss of the saved state, or the value of the trainer's ``monitor`` there.

    Raises
    ------
    ValueError
        On construction of the trainer, if the format is neither of the two, or ``save_every`` is no number of epochs.

    Examples
    --------
    >>> import os, tempfile, torch
    >>> from zae_engine.trainer import Trainer
    >>> from zae_engine.trainer.addons import StateManagerAddon
    >>> class MyTrainer(Trainer.add_on(StateManagerAddon)):
    ...     def train_step(self, batch):
    ...         x, y = batch
    ...         return {"loss": torch.nn.functional.mse_loss(self.model(x), y)}
    ...     test_step = train_step
    >>> model, folder = torch.nn.Linear(3, 1), tempfile.TemporaryDirectory()
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> trainer = MyTrainer(model, "cpu", "train", optimizer, log_bar=False, save_path=folder.name)
    >>> trainer.run(1, [(torch.ones(4, 3), torch.zeros(4, 1))])  # the first epoch is better than none, and is saved
    >>> sorted(os.listdir(folder.name))
    ['model.ckpt', 'optimizer.zae', 'trainer.zae']
    >>> trainer.load_state()  # or in a new process
    """

    def __init__(self, save_path: str, save_format: str = "ckpt", save_every: int | None = None) -> None:
        self.save_path = save_path
        self.save_format = save_format
        self.save_every = save_every

    @classmethod
    def apply(cls, base_cls: type[T]) -> type[T]:
        """Return ``base_cls`` with saving and loading."""
        return with_mixin(base_cls, StateManagerMixin, "TrainerWithStateManager")


class StateManagerMixin:
    """The part of a trainer that `StateManagerAddon` adds."""

    _zae_add_on = "StateManagerAddon"
    model: Any
    optimizer: Any
    scheduler: Any
    callbacks: list[Callback]
    _zae_state: TrainerState

    def __init__(
        self,
        *args: Any,
        save_path: str | os.PathLike[str] | None = None,
        save_format: Literal["ckpt", "safetensor"] = "ckpt",
        save_every: int | None = None,
        **kwargs: Any,
    ) -> None:
        if save_path is None:
            raise TypeError(
                f"StateManagerAddon needs save_path, the folder for the files of the trainer: "
                f'{type(self).__name__}(..., save_path="checkpoints").'
            )
        if save_format not in formats.FORMATS:
            raise ValueError(f'save_format={save_format!r} is unknown: accepted are "ckpt" and "safetensor".')
        if save_every is not None and (type(save_every) is not int or save_every < 1):
            raise ValueError(f"save_every={save_every!r} is no number of epochs: give 1 or more, or None for never.")
        self.save_path = save_path
        self.save_format: Literal["ckpt", "safetensor"] = save_format
        self.save_every = save_every
        self.saved_loss: float | None = None
        self._zae_weights_to_continue: Mapping[str, Any] | None = None
        self._zae_save_status = manifest.SaveStatus()
        self._zae_writer = WriterIdentity()
        super().__init__(*args, **kwargs)
        os.makedirs(self._zae_folder, exist_ok=True)
        self._zae_state.config.callback_factories.append(_checkpoint_callback)

    @property
    def save_path(self) -> str | os.PathLike[str]:
        """The folder for the files, as it was given."""
        return self._zae_save_path

    @save_path.setter
    def save_path(self, path: str | os.PathLike[str]) -> None:
        self._zae_save_path, self._zae_folder = path, os.path.abspath(path)

    def check_better(self, cur_epoch: int, cur_loss: float) -> bool:
        """Compare as `Trainer.check_better` does, and save the state of a better epoch.

        A full disk, or another error of the system, costs a warning: the run continues, the files stay unchanged, and
        the next epoch that is better than the saved one is saved.
        """
        parent: Any = super()
        better, value = bool(parent.check_better(cur_epoch, cur_loss)), compared_value(_as_trainer(self), cur_loss)
        if (summary := self._zae_state.run.epoch_summary) is not None:
            summary.better = better
        if (better or self._zae_is_overdue(value)) and not self._zae_state.run.is_trial:
            saved_loss, self.saved_loss = self.saved_loss, float(value)
            try:
                self.save_state()
                self._zae_save_status.has_failed, self._zae_save_status.saved_epoch = False, cur_epoch
            except Exception as error:
                self._zae_save_status.has_failed, self.saved_loss = True, saved_loss
                if os_error_cause(error) is None:
                    raise
                warnings.warn(
                    f"The state after epoch {cur_epoch + 1} could not be saved in {self.save_path!r} "
                    f"({type(error).__name__}: {error}). Training goes on; the files there are those of the "
                    f"save before.",
                    stacklevel=2,
                )
        return better

    def _zae_is_overdue(self, value: float) -> bool:
        """Whether the best state could not be saved, and this one is better than the saved one."""
        monitor = self._zae_state.config.monitor
        saved = monitor.worst if self.saved_loss is None else self.saved_loss
        return self._zae_save_status.has_failed and monitor.is_better(value, saved)

    def state_file(self, part: str) -> str:
        """Return the path of the file of ``"model"``, ``"optimizer"`` or ``"scheduler"``.

        During `save_state` this is the path of the new file.
        """
        return os.path.join(self._zae_save_status.staged or self._zae_folder, self._zae_file_names()[part])

    def _zae_file_names(self) -> dict[str, str]:
        return {
            "model": f"model.{self.save_format}",
            "optimizer": "optimizer.zae",
            "scheduler": "scheduler.zae",
        }

    def save_state(self) -> None:
        """Save model, optimizer and scheduler, as far as the trainer has them, and all else.

        The files replace the old ones together: a process that is killed meanwhile leaves the old state or the new
        one, complete. Of several processes, only rank 0 saves.

        Raises
        ------
        OSError
            If the system refuses, for instance because the disk is full, or if another trainer saves into the folder
            at this moment or has saved there and is in a run. The files stay unchanged.
        """
        set_optimizer_mode(self.optimizer, "test")  # weights and state are those to evaluate
        try:
            if is_rank_zero(self._zae_state.process.world):
                self._zae_save_state()
        finally:
            if self._zae_state.run.depth:
                set_optimizer_mode(self.optimizer, _as_trainer(self).mode)

    def _zae_save_state(self) -> None:
        trainer = _as_trainer(self)
        self._zae_weights_to_continue = None if has_modes(self.optimizer) else weights_to_continue(trainer)
        rest = {
            **trainer_state_dict(trainer),
            "checkpoint": callback_states(trainer, self._zae_weights_to_continue),
        }
        saving, folder = self._zae_save_status, AtomicFolder(self._zae_folder)
        with folder.saving(outdated=self._zae_file_names().values()) as staged:
            check_other_writer(folder, self, self._zae_writer)
            saving.staged = staged
            try:
                self.save_model(self.state_file("model"))
                self.save_optimizer()
                self.save_scheduler()
            finally:
                saving.staged = None
            content = manifest.write_manifest(folder, staged, rest, {**self._zae_writer.note(), **saving.note})
        record_writer(folder, self)
        self._zae_forget_stop()
        self._zae_remove("latest")  # of a time before
        in_epoch = self._zae_state.run.epoch_summary is not None
        saving.to_complete = (self._zae_folder, content) if in_epoch else None
        if saving.to_complete is None:
            self._zae_weights_to_continue = None

    def _zae_save_before_stopping(self) -> None:
        """Save the current state: beside the best state, or in its place if there is none."""
        existing = AtomicFolder(self._zae_folder).names()
        is_beside = any(name in existing for name in (*self._zae_file_names().values(), "latest"))
        if self._zae_save_into("stopped" if is_beside else "", "before stopping"):
            self._zae_save_status.is_stopped = True

    def _zae_save_latest(self, cur_epoch: int) -> None:
        """Save the state of an epoch that ends, if it is due and not that of a better epoch, which is saved already."""
        is_due = self.save_every is not None and (cur_epoch + 1) % self.save_every == 0
        if not is_due or self._zae_save_status.saved_epoch == cur_epoch or self._zae_state.run.is_trial:
            return
        if self._zae_save_into("latest", f"after epoch {cur_epoch + 1}"):
            self._zae_forget_stop()

    def _zae_save_into(self, name: str, when: str) -> bool:
        """Save the current state into a folder beside the best state; return whether the system has let it."""
        own = (self._zae_save_path, self._zae_folder)
        if name:
            self._zae_save_status.note = {"later_than": earlier_saves(self._zae_folder, name)}
            self.save_path = os.path.join(self._zae_folder, name)
        try:
            os.makedirs(self._zae_folder, exist_ok=True)
            self.save_state()
        except Exception as error:
            if os_error_cause(error) is None:
                raise
            warnings.warn(
                f"The state could not be saved in {self.save_path!r} {when} ({type(error).__name__}: "
                f"{error}). The files there are those of the save before.",
                stacklevel=3,
            )
            return False
        finally:
            self._zae_save_path, self._zae_folder = own
            self._zae_save_status.note = {}
        return True

    def _zae_remove(self, name: str) -> None:
        if is_rank_zero(self._zae_state.process.world):
            shutil.rmtree(os.path.join(self._zae_folder, name), ignore_errors=True)

    def _zae_forget_stop(self) -> None:
        """Remove the state of a stopped run: a later state exists, or the run is complete."""
        self._zae_save_status.is_stopped = False
        self._zae_remove("stopped")

    def _zae_run_is_complete(self) -> None:
        if self._zae_save_status.is_stopped:
            self._zae_forget_stop()

    def _zae_complete_state(self) -> None:
        """Save the callbacks' states again: some read an epoch after `check_better`."""
        saved, self._zae_save_status.to_complete = self._zae_save_status.to_complete, None
        current, self._zae_weights_to_continue = self._zae_weights_to_continue, None
        if saved is not None and self.callbacks[1:]:
            with suppress(OSError):  # the saved state is valid, except for these
                manifest.complete(AtomicFolder(saved[0]), saved[1], callback_states(_as_trainer(self), current))

    def save_model(self, filename: WeightsFile) -> None:
        """Save the model's weights to a file or an open binary file, in the trainer's format."""
        validated = None if has_modes(self.optimizer) else self._zae_state.run.validated_weights
        state = without_pruning(dict(plain_state_dict(self.model))) if validated is None else validated
        formats.write_model(filename, state, self.save_format)

    def save_optimizer(self) -> None:
        """Save the optimizer's state, if it has a ``state_dict``."""
        if hasattr(self.optimizer, "state_dict"):
            formats.write_zae(self.state_file("optimizer"), self.optimizer.state_dict())

    def save_scheduler(self) -> None:
        """Save the scheduler's state, if it has a ``state_dict``."""
        if hasattr(self.scheduler, "state_dict"):
            formats.write_zae(self.state_file("scheduler"), self.scheduler.state_dict())

    def load_state(self, missing_ok: bool = False) -> None:
        """Load model, optimizer and scheduler, as far as the trainer has them, and all else, onto its device.

        The next run continues bit for bit from what `save_state` or a better epoch has written: progress, best loss and
        weights, history, random states, callbacks. Files of zae-engine 0.7.6 hold only the three parts. If SIGTERM has
        stopped a run and no run has continued since, this loads the state in which it stopped; otherwise the latest
        one, if ``save_every`` has saved one since the best.

        It loads all or nothing: every file is verified first, and if one part does not fit, the others stay unchanged.
        Reading runs no code from files.

        Parameters
        ----------
        missing_ok : bool, optional
            Whether to return without an error, by default False, if there is no state. So one script starts a run and
            continues it: ``trainer.load_state(missing_ok=True)`` before ``trainer.run(until=20, ...)``.

        Raises
        ------
        FileNotFoundError
            If a file is missing.
        ValueError
            If a file is damaged, cannot be read, does not fit, or is of another save than the others.
        """
        names = self._zae_file_names()
        names = {part: name for part, name in names.items() if hasattr(getattr(self, part), "state_dict")}
        folder = latest_state(self._zae_folder)
        if missing_ok and not any(name in folder.names() for name in (*names.values(), manifest.REST)):
            return
        saved = manifest.read(folder, names, self.save_format)
        load(_as_trainer(self), saved.parts, saved.rest, saved.files)
        self._zae_save_status.is_stopped = folder.path == os.path.join(self._zae_folder, "stopped")
        self._zae_save_status.saved_epoch = None
        self._zae_writer.has_loaded(folder)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the callback of this trainer; a copy makes its own."""
        parent: Any = super()
        state: dict[str, Any] = parent.__getstate__()
        inner = copy.copy(state["_zae_state"])
        inner.config = replace(inner.config, callback_factories=[_checkpoint_callback])
        own = [callback for callback in state["callbacks"] if not getattr(callback, "is_the_trainers", False)]
        return {**state, "_zae_state": inner, "callbacks": own}


def _as_trainer(mixin: Any) -> TrainerProtocol:
    """Return the trainer that a mixin is part of."""
    trainer: TrainerProtocol = mixin
    return trainer


def _checkpoint_callback(trainer: Any) -> Any:
    with guarded_import("zae_lightning"):
        from zae_lightning.callbacks import StateCheckpoint

    return StateCheckpoint(trainer)
