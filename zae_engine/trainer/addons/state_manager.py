"""StateManagerAddon: saving the state of a trainer in every better epoch, and loading it."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from ..checkpoint.best import compared_value
from ..checkpoint.loading import load
from ..checkpoint.storage import formats, manifest
from ..checkpoint.storage.atomic_folder import AtomicFolder
from ..checkpoint.storage.latest import earlier_saves, latest_state
from ..checkpoint.storage.writers import WriterIdentity
from ..distributed.world import is_rank_zero
from ..utilities.import_guard import guarded_import
from .compose import with_mixin
from .core import AddOnBase, T
from .state_saving import StateSavingMixin, as_trainer, warn_or_raise


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

    `run` copies the state of a better epoch, and writes and flushes the files in a thread while it trains the next
    epoch. They are complete when ``run`` ends, by an exception or an interrupt too, and when ``save_state``,
    ``load_state`` or ``state_file`` returns. A subclass that overrides one of these methods, ``check_better`` or
    ``save_model``, … finds them complete at once, since its saves are written before training continues. The copy takes
    as much memory as the model and the optimizer's state.

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


class StateManagerMixin(StateSavingMixin):
    """The part of a trainer that `StateManagerAddon` adds."""

    _zae_add_on = "StateManagerAddon"

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

    def check_better(self, cur_epoch: int, cur_loss: float) -> bool:
        """Compare as `Trainer.check_better` does, and save the state of a better epoch.

        `run` writes the files while it trains the next epoch, unless a subclass overrides a method of saving. A full
        disk, or another error of the system, costs a warning: the run continues, the files stay unchanged, and the next
        epoch that is better than the saved one is saved.
        """
        parent: Any = super()
        better, value = bool(parent.check_better(cur_epoch, cur_loss)), compared_value(as_trainer(self), cur_loss)
        if (summary := self._zae_state.run.epoch_summary) is not None:
            summary.better = better
        self._zae_state.process.saves.report()
        if self._zae_agreed(better or self._zae_is_overdue(value)) and not self._zae_state.run.is_trial:
            self._zae_state.process.saves.wait()
            status, saved_loss, self.saved_loss = self._zae_save_status, self.saved_loss, float(value)

            def on_failure(error: BaseException) -> None:
                status.has_failed, status.saved_epoch, self.saved_loss = True, None, saved_loss
                warn_or_raise(f"The state after epoch {cur_epoch + 1} could not be saved in {self.save_path!r}", error)

            if self._zae_save(on_failure):
                status.has_failed, status.saved_epoch = False, cur_epoch
        return better

    def _zae_is_overdue(self, value: float) -> bool:
        """Whether the best state could not be saved, and this one is better than the saved one."""
        monitor = self._zae_state.config.monitor
        saved = monitor.worst if self.saved_loss is None else self.saved_loss
        return self._zae_save_status.has_failed and monitor.is_better(value, saved)

    def _zae_save_before_stopping(self) -> None:
        """Save the current state: beside the best state, or in its place if there is none."""
        self._zae_state.process.saves.wait()
        existing = AtomicFolder(self._zae_folder).names()
        is_beside = any(name in existing for name in (*self._zae_file_names().values(), "latest"))
        with self._zae_folder_beside("stopped" if is_beside else ""):
            try:
                os.makedirs(self._zae_folder, exist_ok=True)
                self.save_state()
            except Exception as error:
                warn_or_raise(f"The state could not be saved in {self.save_path!r} before stopping", error)
            else:
                self._zae_save_status.is_stopped = True

    def _zae_save_latest(self, cur_epoch: int) -> None:
        """Save the state of an epoch that ends, if it is due and not that of a better epoch, which is saved already."""
        is_due = self.save_every is not None and (cur_epoch + 1) % self.save_every == 0
        if (
            not is_due
            or self._zae_state.run.is_trial
            or self._zae_agreed(self._zae_save_status.saved_epoch == cur_epoch)
        ):
            return
        with self._zae_folder_beside("latest"):
            what = f"The state could not be saved in {self.save_path!r} after epoch {cur_epoch + 1}"
            if not self._zae_save(partial(warn_or_raise, what)):
                return
        stopped = os.path.join(self._zae_folder, "stopped")
        if is_rank_zero(self._zae_state.process.world) and os.path.isdir(stopped):
            self._zae_state.process.saves.submit(partial(shutil.rmtree, stopped), partial(warn_or_raise, stopped))
        self._zae_save_status.is_stopped = False

    @contextmanager
    def _zae_folder_beside(self, name: str) -> Iterator[None]:
        """Save into a folder beside the best state within the block."""
        self._zae_state.process.saves.wait()
        own = (self._zae_save_path, self._zae_folder)
        if name:
            self._zae_save_status.note = {"later_than": earlier_saves(self._zae_folder, name)}
            self.save_path = os.path.join(self._zae_folder, name)
        try:
            yield
        finally:
            self._zae_save_path, self._zae_folder = own
            self._zae_save_status.note = {}

    def _zae_run_is_complete(self) -> None:
        if self._zae_save_status.is_stopped:
            self._zae_forget_stop()

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
        self._zae_state.process.saves.wait()
        folder = latest_state(self._zae_folder)
        if missing_ok and not any(name in folder.names() for name in (*names.values(), manifest.REST)):
            return
        saved = manifest.read(folder, names, self.save_format)
        load(as_trainer(self), saved.parts, saved.rest, saved.files)
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


def _checkpoint_callback(trainer: Any) -> Any:
    with guarded_import("zae_lightning"):
        from zae_lightning.callbacks import StateCheckpoint

    return StateCheckpoint(trainer)
