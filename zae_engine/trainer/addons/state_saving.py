"""State saving: writing the state of a trainer with `StateManagerAddon`, at once or in the background."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from .._protocol import TrainerProtocol
from .._state import TrainerState
from ..checkpoint.background_save import BackgroundSave, file_writers
from ..checkpoint.pruning import without_pruning
from ..checkpoint.storage import formats, manifest
from ..checkpoint.storage.atomic_folder import AtomicFolder
from ..checkpoint.storage.writers import WriterIdentity, check_other_writer, record_writer
from ..checkpoint.trainer_state import callback_states, trainer_state_dict
from ..checkpoint.validated_weights import weights_to_continue
from ..checkpoint.weights import WeightsFile, plain_state_dict
from ..distributed.world import is_rank_zero
from ..optim import has_modes, set_optimizer_mode
from ..utilities.atomic_io import os_error_cause
from ..utilities.sharded_tensors import gathered, is_sharded_module

if TYPE_CHECKING:
    from zae_lightning.kinds import Callback


class StateSavingMixin:
    """The part of `StateManagerMixin` that writes files."""

    model: Any
    optimizer: Any
    scheduler: Any
    callbacks: list[Callback]
    save_format: Literal["ckpt", "safetensor"]
    _zae_save_path: str | os.PathLike[str]
    _zae_folder: str
    _zae_state: TrainerState
    _zae_weights_to_continue: Mapping[str, Any] | None
    _zae_save_status: manifest.SaveStatus
    _zae_writer: WriterIdentity
    _zae_gathered: Mapping[str, Any] | None = None

    @property
    def save_path(self) -> str | os.PathLike[str]:
        """The folder for the files, as it was given."""
        return self._zae_save_path

    @save_path.setter
    def save_path(self, path: str | os.PathLike[str]) -> None:
        self._zae_save_path, self._zae_folder = path, os.path.abspath(path)

    def state_file(self, part: str) -> str:
        """Return the path of the file of ``"model"``, ``"optimizer"`` or ``"scheduler"``.

        During `save_state` this is the path of the new file. Otherwise the file is complete: a save that is being
        written is awaited.
        """
        if self._zae_save_status.staged is None:
            self._zae_state.process.saves.wait()
        return self._zae_path(part)

    def _zae_path(self, part: str) -> str:
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
        one, complete. Of several processes, only rank 0 saves; it gathers a sharded model and its optimizer's state in
        its memory, so that all processes must call this.

        Raises
        ------
        OSError
            If the system refuses, for instance because the disk is full, or if another trainer saves into the folder
            at this moment or has saved there and is in a run. The files stay unchanged.
        """
        self._zae_state.process.saves.wait()
        with self._zae_evaluated_optimizer(), self._zae_whole_parts():
            if is_rank_zero(self._zae_state.process.world):
                self._zae_save_state()

    @contextmanager
    def _zae_evaluated_optimizer(self) -> Iterator[None]:
        """Let weights and state of an optimizer with modes be those to evaluate."""
        set_optimizer_mode(self.optimizer, "test")
        try:
            yield
        finally:
            if self._zae_state.run.depth:
                set_optimizer_mode(self.optimizer, as_trainer(self).mode)

    @contextmanager
    def _zae_whole_parts(self) -> Iterator[None]:
        """Gather the parts of a sharded trainer on rank 0 for the block; an error in it then leaves no rank waiting."""
        if not is_sharded_module(self.model):
            yield
            return
        keep = is_rank_zero(self._zae_state.process.world)
        parts = {"model": self._zae_model_state, "rest": self._zae_rest}
        if hasattr(self.optimizer, "state_dict"):
            parts["optimizer"] = self.optimizer.state_dict
        self._zae_gathered = {part: gathered(state(), keep) for part, state in parts.items()}
        self._zae_weights_to_continue = gathered(self._zae_weights_to_continue, keep)
        try:
            yield
        finally:
            self._zae_gathered = None

    def _zae_state_of(self, part: str) -> dict[str, Any]:
        """Return the state of the optimizer or the scheduler, whole."""
        gathered_parts = self._zae_gathered or {}
        return dict(gathered_parts[part]) if part in gathered_parts else getattr(self, part).state_dict()

    def _zae_agreed(self, value: bool) -> bool:
        """Return rank 0's answer for a sharded model, which all ranks save together; else the own answer."""
        world = self._zae_state.process.world
        return bool(world.broadcast(value)) if world is not None and is_sharded_module(self.model) else value

    def _zae_save_state(self) -> None:
        rest, saving, folder = self._zae_rest(), self._zae_save_status, AtomicFolder(self._zae_folder)
        with folder.saving(outdated=self._zae_file_names().values()) as staged:
            check_other_writer(folder, self, self._zae_writer)
            saving.staged = staged
            try:
                self.save_model(self.state_file("model"))
                self.save_optimizer()
                self.save_scheduler()
            finally:
                saving.staged = None
            content = manifest.write_manifest(folder, staged, rest, self._zae_note())
        record_writer(folder, self)
        self._zae_forget_stop()
        self._zae_remove("latest")  # of a time before
        self._zae_complete_later(partial(manifest.complete, folder, content))

    def _zae_save(self, on_failure: Callable[[BaseException], None]) -> bool:
        """Save the state, in the background if possible; return False if ``on_failure`` received an exception."""
        try:
            if not self._zae_save_in_background(on_failure):
                os.makedirs(self._zae_folder, exist_ok=True)  # for a save_state of the user's own
                self.save_state()
        except Exception as error:
            on_failure(error)
            return False
        return True

    def _zae_save_in_background(self, on_failure: Callable[[BaseException], None]) -> bool:
        """Begin to save the state; return False if this is not possible, so that `save_state` has to do it."""
        saves = self._zae_state.process.saves
        if not self._zae_state.run.waits_for_saves or any(_is_overridden(self, name) for name in _METHODS_OF_SAVING):
            return False
        saves.wait()
        with self._zae_evaluated_optimizer(), self._zae_whole_parts():
            if not is_rank_zero(self._zae_state.process.world):
                return True
            save = BackgroundSave(AtomicFolder(self._zae_folder), self._zae_file_names().values())
            with save.prepared():
                check_other_writer(save.folder, self, self._zae_writer)
                others = {part: getattr(self, part) for part in ("optimizer", "scheduler")}
                states = {part: self._zae_state_of(part) for part in others if hasattr(others[part], "state_dict")}
                files = file_writers(self._zae_model_state(), states, self._zae_file_names(), self.save_format)
                rest = formats.fixed_copy(self._zae_rest())
            superseded = [os.path.join(self._zae_folder, name) for name in ("latest", "stopped")]
        saves.submit(partial(save.write, files, rest, self._zae_note(), superseded), on_failure)
        record_writer(save.folder, self)
        self._zae_save_status.is_stopped = False
        what = f"The state in {self.save_path!r} lacks what callbacks have learned at the end of the epoch"
        failed = partial(warn_or_raise, what)
        self._zae_complete_later(
            lambda states: saves.submit(partial(save.complete, formats.fixed_copy(states)), failed)
        )
        return True

    def _zae_note(self) -> dict[str, Any]:
        return {**self._zae_writer.note(), **self._zae_save_status.note}

    def _zae_rest(self) -> dict[str, Any]:
        """Return all of the state beside model, optimizer and scheduler."""
        if self._zae_gathered is not None:
            return dict(self._zae_gathered["rest"])
        trainer = as_trainer(self)
        self._zae_weights_to_continue = None if has_modes(self.optimizer) else weights_to_continue(trainer)
        return {
            **trainer_state_dict(trainer),
            "checkpoint": callback_states(trainer, self._zae_weights_to_continue),
        }

    def _zae_complete_later(self, complete: Callable[[Mapping[str, Any]], None]) -> None:
        """Keep what completes the state at the end of the epoch, if an epoch ends."""
        in_epoch = self._zae_state.run.epoch_summary is not None
        self._zae_save_status.to_complete = complete if in_epoch else None
        if not in_epoch:
            self._zae_weights_to_continue = None

    def _zae_remove(self, name: str) -> None:
        if is_rank_zero(self._zae_state.process.world):
            shutil.rmtree(os.path.join(self._zae_folder, name), ignore_errors=True)

    def _zae_forget_stop(self) -> None:
        """Remove the state of a stopped run: a later state exists, or the run is complete."""
        self._zae_save_status.is_stopped = False
        self._zae_remove("stopped")

    def _zae_complete_state(self) -> None:
        """Save the callbacks' states again: some read an epoch after `check_better`."""
        complete, self._zae_save_status.to_complete = self._zae_save_status.to_complete, None
        current, self._zae_weights_to_continue = self._zae_weights_to_continue, None
        if complete is not None and self.callbacks[1:]:
            with suppress(OSError):  # the saved state is valid, except for these
                complete(callback_states(as_trainer(self), current))

    def save_model(self, filename: WeightsFile) -> None:
        """Save the model's weights to a file or an open binary file, in the trainer's format."""
        state, is_writer = self._zae_model_state(), True
        if self._zae_gathered is None and is_sharded_module(self.model):
            is_writer = is_rank_zero(self._zae_state.process.world)
            state = gathered(state, keep=is_writer)
        if is_writer:
            formats.write_model(filename, state, self.save_format)

    def _zae_model_state(self) -> dict[str, Any]:
        if self._zae_gathered is not None:
            return dict(self._zae_gathered["model"])
        validated = None if has_modes(self.optimizer) else self._zae_state.run.validated_weights
        return without_pruning(dict(plain_state_dict(self.model))) if validated is None else validated

    def save_optimizer(self) -> None:
        """Save the optimizer's state, if it has a ``state_dict``."""
        if hasattr(self.optimizer, "state_dict"):
            formats.write_zae(self.state_file("optimizer"), self._zae_state_of("optimizer"))

    def save_scheduler(self) -> None:
        """Save the scheduler's state, if it has a ``state_dict``."""
        if hasattr(self.scheduler, "state_dict"):
            formats.write_zae(self.state_file("scheduler"), self.scheduler.state_dict())


_METHODS_OF_SAVING = ("check_better", "save_state", "save_model", "save_optimizer", "save_scheduler", "state_file")
"""Where one of them is overridden, it finds the files complete."""


def _is_overridden(trainer: Any, name: str) -> bool:
    return not str(getattr(getattr(trainer, name), "__module__", "")).startswith(f"{__package__}.state_")


def warn_or_raise(what: str, error: BaseException) -> None:
    """Warn of an error of the system, which has kept the files from being replaced, and raise any other error."""
    if os_error_cause(error) is None:
        raise error
    warnings.warn(
        f"{what} ({type(error).__name__}: {error}). Training goes on; the files there are those of the save before.",
        stacklevel=3,
    )


def as_trainer(mixin: Any) -> TrainerProtocol:
    """Return the trainer that a mixin is part of."""
    trainer: TrainerProtocol = mixin
    return trainer
