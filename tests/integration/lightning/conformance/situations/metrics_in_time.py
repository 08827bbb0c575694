"""Metrics in time: what `callback_metrics` has at each hook, and what monitors do with it."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
from lightning.pytorch import callbacks as C

from ..observing import files, on, outcome, recorder
from ..players import Player, shared
from ..problem import Classifier, Values, train_loader, valid_loader
from . import situation


def metrics_at(player: Player, *hooks: str, n_epoch: int = 2, **options: Any) -> dict[str, Any]:
    """Return ``callback_metrics`` at some hooks."""
    note = recorder(lambda hook, trainer, module, rest: (hook, shared(trainer.callback_metrics)), hooks)
    subject = player.make(callbacks=[*options.pop("callbacks", ()), note], **options)
    subject.fit(n_epoch, train_loader(), valid_loader())
    return {"seen": note.seen}


@situation
def at_training_batches(player: Player) -> dict[str, Any]:
    """`train_<k>` is the batch's value at the end of every batch."""
    return metrics_at(player, "on_train_batch_end")


@situation
def at_the_end_of_validation(player: Player) -> dict[str, Any]:
    """`val_<k>` is the mean of the validation when it ends."""
    return metrics_at(player, "on_validation_end")


@situation
def at_the_end_of_epochs(player: Player) -> dict[str, Any]:
    """`train_<k>`, `val_<k>` and `test_<k>` are this epoch's means when the epoch and the fit end."""
    return metrics_at(player, "on_train_epoch_end", "on_train_end", "on_fit_end")


@situation
def at_the_start_of_epochs(player: Player) -> dict[str, Any]:
    """When an epoch or a validation starts, metrics are those that Lightning has then."""
    return metrics_at(player, "on_train_epoch_start", "on_validation_start")


@situation
def within_the_epoch(player: Player) -> dict[str, Any]:
    """With `val_check_interval`, monitors of training and of validation have values at each validation."""
    return metrics_at(player, "on_validation_end", arguments={"val_check_interval": 1})


@situation
def epochs_without_validation(player: Player) -> dict[str, Any]:
    """In epochs without validation, the latest validation's results stay."""
    return metrics_at(player, "on_train_epoch_end", n_epoch=4, arguments={"check_val_every_n_epoch": 2})


@situation
def checkpoints_by_step_and_training_loss(player: Player) -> dict[str, Any]:
    """`every_n_train_steps` with a monitor of training keeps the best steps."""
    save = C.ModelCheckpoint(
        player.folder / "saved", "{step}", monitor="train_loss", every_n_train_steps=2, save_top_k=2
    )
    player.make(callbacks=[save]).fit(3, train_loader(batch_size=4))
    return {"files": files("saved"), "score": float(save.best_model_score)}


@situation
def checkpoints_at_each_validation(player: Player) -> dict[str, Any]:
    """`val_check_interval` with a monitor of validation saves within the epoch."""
    save = C.ModelCheckpoint(player.folder / "saved", "{step}-{val_loss:.3f}", monitor="val_loss", save_top_k=3)
    subject = player.make(callbacks=[save], arguments={"val_check_interval": 2})
    subject.fit(2, train_loader(batch_size=4), valid_loader())
    return {"files": files("saved")}


@situation
def checkpoints_by_training_loss_at_each_validation(player: Player) -> dict[str, Any]:
    """`val_check_interval` with a monitor of training saves within the epoch."""
    save = C.ModelCheckpoint(player.folder / "saved", "{step}-{train_loss:.3f}", monitor="train_loss", save_top_k=-1)
    subject = player.make(callbacks=[save], arguments={"val_check_interval": 2})
    subject.fit(2, train_loader(batch_size=4), valid_loader())
    return {"files": files("saved")}


@situation
def checkpoint_names(player: Player) -> dict[str, Any]:
    """Names of checkpoints have epoch, step and metrics."""
    save = C.ModelCheckpoint(player.folder / "saved", "{epoch}-{step}-{train_acc:.2f}-{val_loss:.3f}", save_top_k=-1)
    player.make(callbacks=[save]).fit(3, train_loader(), valid_loader())
    return {"files": files("saved")}


@situation
def checkpoints_at_train_epoch_end(player: Player) -> dict[str, Any]:
    """`save_on_train_epoch_end` with a monitor of training has the epoch's mean."""
    save = C.ModelCheckpoint(
        player.folder / "saved", "{epoch}-{train_loss:.4f}", monitor="train_loss", save_on_train_epoch_end=True
    )
    player.make(callbacks=[save]).fit(3, train_loader(), valid_loader())
    return {"files": files("saved"), "score": float(save.best_model_score)}


@situation
def stopping_on_training_loss(player: Player) -> dict[str, Any]:
    """Early stopping on `train_loss` at the end of training epochs stops where Lightning does."""
    stopping = C.EarlyStopping("train_loss", patience=1, min_delta=0.1, check_on_train_epoch_end=True)
    subject = player.make(callbacks=[stopping]).fit(9, train_loader(), valid_loader())
    return {"best": float(stopping.best_score), "stopped": stopping.stopped_epoch, **subject.counts()}


@situation
def stopping_within_the_epoch(player: Player) -> dict[str, Any]:
    """Early stopping with `val_check_interval` stops within the epoch."""
    stopping = C.EarlyStopping("val_loss", patience=2, min_delta=0.08)
    subject = player.make(callbacks=[stopping], arguments={"val_check_interval": 2})
    subject.fit(9, train_loader(batch_size=4), valid_loader())
    return {"best": float(stopping.best_score), "weights": subject.weights(), **subject.counts()}


@situation
def stopping_by_a_threshold(player: Player) -> dict[str, Any]:
    """Early stopping by a threshold of an accuracy stops there."""
    stopping = C.EarlyStopping("train_acc", mode="max", stopping_threshold=0.9, patience=50)
    subject = player.make(callbacks=[stopping]).fit(9, train_loader())
    return {"stopped": stopping.stopped_epoch, **subject.counts()}


@situation
def monitor_that_is_missing(player: Player) -> dict[str, Any]:
    """A monitor that nobody logs raises Lightning's error."""
    subject = player.make(callbacks=[C.EarlyStopping("val_f1")])
    return {"raised": outcome(subject.fit, 2, train_loader(), valid_loader())}


@situation
def loss_that_is_not_finite(player: Player) -> dict[str, Any]:
    """Early stopping stops on a loss that is not finite."""

    def test(model: Any, batch: Any) -> Values:
        return {"loss": model(batch[0]).mean() / 0}

    stopping = C.EarlyStopping("val_loss", check_finite=True)
    subject = player.make(callbacks=[stopping], test=test).fit(4, train_loader(), valid_loader())
    return {"stopped": stopping.stopped_epoch, **subject.counts()}


@situation
def epoch_metrics_as_monitors(player: Player) -> dict[str, Any]:
    """What `metric_on_epoch_end` gives is a metric for monitors."""
    values = iter([0.2, 0.9, 0.5, 0.4])
    scores: list[float] = []

    def epoch_metrics(mode: str) -> Values:
        if mode == "train":
            return {"f1": 0.1}
        scores.append(next(values))
        return {"f1": scores[-1]}

    save = C.ModelCheckpoint(player.folder / "saved", "{epoch}-{val_f1:.1f}", monitor="val_f1", mode="max")
    subject = player.make(callbacks=[save], epoch_metrics=epoch_metrics).fit(4, train_loader(), valid_loader())
    return {"files": files("saved"), "results": subject.results()}


@situation
def logged_by_a_callback(player: Player) -> dict[str, Any]:
    """`module.log` in callbacks works at every place that Lightning allows, for monitors too."""

    class Logs(C.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
            module.log("train_index", float(index), on_step=False, on_epoch=True, batch_size=1)

        def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:
            module.log("val_epoch", float(trainer.current_epoch))

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            module.log_dict({"train_score": float(trainer.current_epoch) + 1})

    save = C.ModelCheckpoint(player.folder / "saved", "{epoch}", monitor="val_epoch", mode="max")
    note = recorder(lambda h, trainer, m, rest: shared(trainer.callback_metrics), ["on_train_end"])
    player.make(callbacks=[Logs(), save, note]).fit(3, train_loader(), valid_loader())
    return {"files": files("saved"), "seen": note.seen}


@situation
def logged_by_the_steps(player: Player) -> dict[str, Any]:
    """Values of batches of unlike sizes are averaged as the hand-written module's `self.log` is told to."""
    return metrics_at(player, "on_train_epoch_end", "on_validation_end", arguments={"limit_val_batches": 1})


@situation(ways=("own_trainer",))
def what_validate_returns(player: Player) -> dict[str, Any]:
    """`validate` and `test` return the means under Lightning's names."""
    subject = player.make().fit(1, train_loader())
    found = {name: subject.call(name, valid_loader())[0] for name in ("validate", "test")}
    return {name: shared(values).get("test_loss") for name, values in found.items()}


@situation(ways=("own_trainer",))
def metrics_of_validate(player: Player) -> dict[str, Any]:
    """`validate` gives `val_<k>`, `test` gives `test_<k>` in `callback_metrics`."""
    subject = player.make()
    found = {}
    for name in ("validate", "test"):
        subject.trainer = None
        subject.call(name, valid_loader())
        found[name] = sorted(subject.results())
    return found


class OwnEpoch(Classifier):
    """A trainer with an epoch of its own."""

    def run_epoch(self, loader: Any, **kwargs: Any) -> None:
        super().run_epoch(loader, **kwargs)


@situation(ways=("run",))
def stopping_with_an_own_epoch(player: Player) -> dict[str, Any]:
    """A trainer that overrides `run_epoch` has monitors of validation: early stopping stops."""
    stopping = C.EarlyStopping("val_loss", patience=1, min_delta=10.0)
    subject = player.make(callbacks=[stopping], trainer_class=OwnEpoch).fit(5, train_loader(), valid_loader())
    return {"best": float(stopping.best_score), "epochs": _epochs(subject)}


@situation(ways=("run",))
def checkpoints_with_an_own_epoch(player: Player) -> dict[str, Any]:
    """A trainer that overrides `run_epoch` has checkpoints by a monitor of validation."""
    save = C.ModelCheckpoint(player.folder / "saved", "{epoch}", monitor="val_loss")
    player.make(callbacks=[save], trainer_class=OwnEpoch).fit(3, train_loader(), valid_loader())
    return {"files": files("saved"), "score": float(save.best_model_score)}


@situation(ways=("run",), expected={"raised": "passes"})
def an_epoch_by_itself(player: Player) -> dict[str, Any]:
    """`run_epoch` called by itself does not break callbacks that monitor validation."""
    parts = [C.EarlyStopping("val_loss"), C.ModelCheckpoint(player.folder / "saved", monitor="val_loss")]
    subject = player.make(callbacks=parts)
    return {"raised": outcome(subject.facade.run_epoch, train_loader())}


@situation
def seen_by_a_module_hook(player: Player) -> dict[str, Any]:
    """`trainer.should_stop` by a metric at the end of a validation uses this epoch's value."""

    def stop(trainer: L.Trainer, module: Any) -> None:
        trainer.should_stop = float(trainer.callback_metrics["val_loss"]) < 0.6

    subject = player.make(callbacks=[on("on_validation_end", stop)]).fit(6, train_loader(), valid_loader())
    return subject.counts()


def _epochs(subject: Any) -> int:
    facade = getattr(subject, "facade", None)
    return subject.trainer.current_epoch if facade is None else facade.progress_checker.get_epoch() - 1
