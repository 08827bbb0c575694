"""Checkpoints: what is written, and what reading one changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch import callbacks as C
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ..observing import files, on, outcome, recorder
from ..players import Player, tensors_of
from ..problem import HandWrittenModule, WithNorm, train_loader, valid_loader
from . import situation


def saving(folder: Any, **options: Any) -> C.ModelCheckpoint:
    return C.ModelCheckpoint(folder, **{"filename": "saved", **options})


def steps(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)


def resumed(player: Player, make_parts: Any = lambda: [], n_epoch: int = 2, **options: Any) -> tuple[Any, Any]:
    """Return a subject that is resumed after some epochs, and its parts."""
    save = saving(player.folder / "saved")
    player.make(callbacks=[*make_parts(), save], seed=1, **options).fit(n_epoch, train_loader(), valid_loader())
    parts = make_parts()
    subject = player.make(callbacks=parts, seed=2, **options)
    subject.fit(2, train_loader(), valid_loader(), ckpt_path=save.best_model_path, after=n_epoch)
    return subject, parts


@situation
def contents(player: Player) -> dict[str, Any]:
    """A checkpoint has Lightning's entries: epoch, step, state, optimizer, scheduler, callbacks."""
    save = saving(player.folder / "saved")
    subject = player.make(callbacks=[save], optimizer=torch.optim.Adam, scheduler=steps)
    subject.fit(2, train_loader(), valid_loader())
    saved = torch.load(save.best_model_path, weights_only=False)
    return {
        "epoch": saved["epoch"],
        "step": saved["global_step"],
        "state": dict(saved["state_dict"]),
        "rate": saved["optimizer_states"][0]["param_groups"][0]["lr"],
        "moments": [state["exp_avg"] for state in saved["optimizer_states"][0]["state"].values()],
        "scheduler": saved["lr_schedulers"][0]["last_epoch"],
        "callbacks": [name.partition("{")[0] for name in saved["callbacks"]],
        "loops": sorted(saved["loops"]),
    }


@situation
def weights_only(player: Player) -> dict[str, Any]:
    """`save_weights_only` writes no optimizer."""
    save = saving(player.folder / "saved", save_weights_only=True)
    player.make(callbacks=[save]).fit(1, train_loader())
    saved = torch.load(save.best_model_path, weights_only=False)
    return {"optimizer": "optimizer_states" in saved, "state": dict(saved["state_dict"])}


@situation
def resuming(player: Player) -> dict[str, Any]:
    """A run that is resumed ends with the weights, rates and counts of Lightning's."""
    subject, _ = resumed(player, optimizer=torch.optim.Adam, scheduler=steps)
    return {"weights": subject.weights(), "rates": subject.rates(), "results": subject.results(), **subject.counts()}


@situation
def resuming_with_a_plateau(player: Player) -> dict[str, Any]:
    """`ReduceLROnPlateau` goes on where it was: rates are those of a run that was never broken off."""
    plateaus = lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=1, threshold=0.5)  # noqa: E731
    if player.is_reference:  # Lightning leaves out the step that is due when it resumes
        subject = player.make(scheduler=plateaus, seed=1).fit(4, train_loader(), valid_loader())
    else:
        subject, _ = resumed(player, scheduler=plateaus)
    scheduler = subject.scheduler
    return {"best": float(scheduler.best), "bad": scheduler.num_bad_epochs, "rates": subject.rates()}


@situation
def resuming_early_stopping(player: Player) -> dict[str, Any]:
    """Early stopping goes on where it was: its patience is not new."""
    subject, [stopping] = resumed(player, lambda: [C.EarlyStopping("val_loss", patience=3, min_delta=10.0)])
    return {"waited": stopping.wait_count, "best": float(stopping.best_score), **subject.counts()}


@situation
def resuming_a_best_checkpoint(player: Player) -> dict[str, Any]:
    """`ModelCheckpoint` knows its best ones after it is resumed."""
    make = lambda: C.ModelCheckpoint(  # noqa: E731
        player.folder / "saved", "{epoch}", monitor="val_loss", save_last=True, save_top_k=2
    )
    player.make(callbacks=[make()]).fit(2, train_loader(), valid_loader())
    again = make()
    subject = player.make(callbacks=[again], seed=4)
    subject.fit(2, train_loader(), valid_loader(), ckpt_path=player.folder / "saved" / "last.ckpt", after=2)
    names = sorted(Path(name).name for name in again.best_k_models)
    return {"files": files("saved"), "best": names, "score": float(again.best_model_score)}


class Remembers(C.Callback):
    """A callback with a state, which notes what it is asked for."""

    def __init__(self) -> None:
        self.batches, self.calls = 0, []

    def on_train_batch_end(self, *_: Any) -> None:
        self.batches += 1

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self.batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.batches = state["batches"]

    def on_save_checkpoint(self, trainer: Any, module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["mine"] = self.batches

    def on_load_checkpoint(self, trainer: Any, module: Any, checkpoint: dict[str, Any]) -> None:
        self.calls.append(("load", checkpoint["mine"]))


@situation
def state_of_a_callback(player: Player) -> dict[str, Any]:
    """A callback's state is saved and given back; `on_save_checkpoint` and `on_load_checkpoint` are called."""
    _, [callback] = resumed(player, lambda: [Remembers()])
    return {"batches": callback.batches, "calls": callback.calls}


@situation
def order_of_loading(player: Player) -> dict[str, Any]:
    """Hooks come in Lightning's order where a run is resumed."""
    _, [note] = resumed(player, lambda: [recorder()], n_epoch=1)
    return {"order": note.seen}


class FineTunes(C.BaseFinetuning):
    """Trains the head alone, and the backbone from the second epoch on."""

    def freeze_before_training(self, module: Any) -> None:
        self.freeze(module.model.backbone)

    def finetune_function(self, module: Any, epoch: int, optimizer: Any) -> None:
        if epoch == 1:
            self.unfreeze_and_add_param_group(module.model.backbone, optimizer, lr=0.01)


@situation
def resuming_fine_tuning(player: Player) -> dict[str, Any]:
    """A callback that adds parameters to the optimizer can be resumed behind that."""
    head = lambda parameters: torch.optim.SGD(list(parameters)[-2:], lr=0.1, momentum=0.5)  # noqa: E731
    subject, _ = resumed(player, lambda: [FineTunes()], n_epoch=2, model=WithNorm, optimizer=head)
    return {"groups": len(subject.optimizer.param_groups), "rates": subject.rates(), "weights": subject.weights()}


@situation(ways=("own_trainer",))  # run() counts whole epochs, and begins this one anew with such a loader
def resuming_in_the_middle(player: Player) -> dict[str, Any]:
    """A checkpoint from the middle of an epoch resumes the epoch there."""
    save = C.ModelCheckpoint(player.folder / "saved", "{step}", every_n_train_steps=4, save_top_k=-1)
    player.make(callbacks=[save], seed=1, optimizer=torch.optim.Adam).fit(2, train_loader(batch_size=4))
    seen: list[Any] = []
    note = on("on_train_batch_start", lambda trainer, module, batch, i: seen.append((i, float(batch[0].sum()))))
    subject = player.make(callbacks=[note], seed=2, optimizer=torch.optim.Adam)
    path = player.folder / "saved" / "step=8.ckpt"
    subject.fit(1, train_loader(batch_size=4), ckpt_path=path, after=1)
    return {"seen": seen, "weights": subject.weights(), **subject.counts()}


def with_last(player: Player, seed: int = 0) -> Any:
    save = C.ModelCheckpoint(player.folder / "saved", "{epoch}", save_last=True)
    return player.make(callbacks=[save], seed=seed)


@situation
def last_in_a_new_process(player: Player) -> dict[str, Any]:
    """`ckpt_path="last"` finds the file that an earlier process wrote."""
    with_last(player, seed=1).fit(2, train_loader(), valid_loader())
    subject = with_last(player, seed=2).fit(1, train_loader(), valid_loader(), ckpt_path="last", after=2)
    return {"weights": subject.weights(), **subject.counts()}


@situation
def last_that_is_not_there(player: Player) -> dict[str, Any]:
    """`ckpt_path="last"` begins anew where there is no file."""
    subject = with_last(player)
    raised = outcome(subject.fit, 1, train_loader(), valid_loader(), ckpt_path="last")
    return {"raised": raised, "weights": subject.weights()}


def untouched(subject: Any) -> list[Any]:
    """Return what a test must leave alone: the optimizer's state, and what zae-engine has recorded."""
    states = subject.optimizer.state.values()
    found = [float(state.get("momentum_buffer", state.get("exp_avg")).sum()) for state in states]
    facade = getattr(subject, "facade", None)
    if facade is not None:
        found += [facade.progress_checker.get_epoch(), facade.loss_buffer, len(facade.get_loss_history("train"))]
    return found


@situation(ways=("own_trainer",))
def testing_the_best(player: Player) -> dict[str, Any]:
    """`test(ckpt_path="best")` tests the best weights, and changes weights and nothing else."""
    save = C.ModelCheckpoint(player.folder / "saved", "{epoch}", monitor="val_loss")
    subject = player.make(callbacks=[save], optimizer=lambda p: torch.optim.SGD(p, lr=12.0, momentum=0.5))
    subject.fit(4, train_loader(), valid_loader())
    before = untouched(subject)
    tested = subject.call("test", valid_loader(), ckpt_path="best")[0]["test_loss"]
    return {"tested": tested, "weights": subject.weights(), "same": untouched(subject) == before}


@situation(ways=("own_trainer",))
def validating_a_file(player: Player) -> dict[str, Any]:
    """`validate(ckpt_path=…)` changes weights and nothing else."""
    save = C.ModelCheckpoint(player.folder / "saved", "{epoch}", save_top_k=-1)
    subject = player.make(callbacks=[save], optimizer=torch.optim.Adam)
    subject.fit(2, train_loader(), valid_loader())
    before = untouched(subject)
    path = str(player.folder / "saved" / "epoch=0.ckpt")
    validated = subject.call("validate", valid_loader(), ckpt_path=path)[0]["test_loss"]
    return {"validated": validated, "weights": subject.weights(), "same": untouched(subject) == before}


class Wraps(TorchCheckpointIO):
    """A plugin whose files only it can read."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        self.calls.append("save")
        super().save_checkpoint({"wrapped": checkpoint}, path, storage_options)

    def load_checkpoint(self, path: Any, *args: Any, **options: Any) -> Any:
        self.calls.append("load")
        return super().load_checkpoint(path, *args, **options)["wrapped"]


@situation
def plugin_for_reading(player: Player) -> dict[str, Any]:
    """A `CheckpointIO` plugin writes and reads."""
    save = saving(player.folder / "saved")
    player.make(callbacks=[save], arguments={"plugins": [Wraps()]}, seed=1).fit(1, train_loader())
    plugin = Wraps()
    subject = player.make(callbacks=[C.Callback()], arguments={"plugins": [plugin]}, seed=2)
    subject.fit(1, train_loader(), ckpt_path=save.best_model_path, after=1)
    return {"calls": plugin.calls, "weights": subject.weights(), **subject.counts()}


@situation
def remote_paths(player: Player) -> dict[str, Any]:
    """Checkpoints on a remote file system are written and read."""
    folder = f"memory://conformance-{player.way}"
    player.make(callbacks=[saving(folder)], seed=1).fit(1, train_loader())
    subject = player.make(callbacks=[C.Callback()], seed=2)
    subject.fit(1, train_loader(), ckpt_path=f"{folder}/saved.ckpt", after=1)
    return {"weights": subject.weights(), **subject.counts()}


def in_lightning(n_epoch: int, callbacks: Any = (), **fit: Any) -> torch.nn.Module:
    """Train the hand-written module in whatever way this is, and return its model."""
    torch.manual_seed(7)
    model = torch.nn.Linear(10, 2)
    module = HandWrittenModule(model, torch.optim.Adam(model.parameters()))
    silent = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    trainer = L.Trainer(max_epochs=n_epoch, enable_checkpointing=bool(callbacks), callbacks=list(callbacks), **silent)
    trainer.fit(module, train_loader(), valid_loader(), **fit)
    return model


@situation
def checkpoint_of_a_hand_written_module(player: Player) -> dict[str, Any]:
    """A hand-written module's checkpoint is resumed, its epoch included."""
    save = saving(player.folder / "theirs")
    in_lightning(2, [save])
    note = recorder(lambda hook, trainer, *_: (trainer.current_epoch, trainer.global_step), ["on_train_epoch_start"])
    subject = player.make(callbacks=[note], optimizer=torch.optim.Adam)
    subject.fit(1, train_loader(), valid_loader(), ckpt_path=save.best_model_path, after=2)
    return {"seen": note.seen, "weights": subject.weights(), "results": subject.results(), **subject.counts()}


@situation
def given_to_the_hand_written_module(player: Player) -> dict[str, Any]:
    """A checkpoint of a zae-engine trainer is resumed by the hand-written module."""
    save = saving(player.folder / "saved")
    player.make(callbacks=[save], optimizer=torch.optim.Adam).fit(2, train_loader(), valid_loader())
    return {"weights": tensors_of(in_lightning(3, ckpt_path=save.best_model_path, weights_only=False))}


@situation
def file_that_is_not_there(player: Player) -> dict[str, Any]:
    """A path without a file raises `FileNotFoundError`."""
    subject = player.make(callbacks=[C.Callback()])
    return {"raised": outcome(subject.fit, 1, train_loader(), ckpt_path="nowhere.ckpt")}


@situation
def written_by_a_callback(player: Player) -> dict[str, Any]:
    """`trainer.save_checkpoint` in a callback writes what can be resumed."""
    write = on("on_train_epoch_end", lambda trainer, module: trainer.save_checkpoint("by-hand.ckpt"))
    player.make(callbacks=[write], optimizer=torch.optim.Adam, seed=1).fit(1, train_loader(), valid_loader())
    subject = player.make(callbacks=[C.Callback()], optimizer=torch.optim.Adam, seed=2)
    subject.fit(1, train_loader(), valid_loader(), ckpt_path="by-hand.ckpt", after=1)
    return {"weights": subject.weights(), **subject.counts()}
