"""Whose Lightning: parts of ``pytorch_lightning`` work as those of ``lightning.pytorch`` do."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import torch

from ..observing import files, on, recorder, refusal, rows
from ..players import FOREIGN, HOME, Player
from ..problem import HandWrittenForeignModule, dataset, train_loader, valid_loader
from . import situation


def make(player: Player, **options: Any) -> Any:
    """Return a subject of one package: the generated module is trained by ``pytorch_lightning.Trainer``."""
    return player.make(package=HOME if player.is_reference else FOREIGN, **options)


@situation
def early_stopping(player: Player) -> dict[str, Any]:
    """`pytorch_lightning`'s early stopping stops; the caller's own object has the score."""
    stopping = player.package().callbacks.EarlyStopping("val_loss", patience=1, min_delta=10.0)
    subject = make(player, callbacks=[stopping]).fit(6, train_loader(), valid_loader())
    return {"stopped": stopping.stopped_epoch, "best": float(stopping.best_score), **subject.counts()}


@situation
def checkpoints(player: Player) -> dict[str, Any]:
    """`pytorch_lightning`'s checkpoints are written, and the object names the best."""
    package = player.package()
    save = package.callbacks.ModelCheckpoint(
        player.folder / "saved", "{epoch}", monitor="val_loss", save_last=True, save_top_k=2
    )
    subject = make(player, callbacks=[save]).fit(3, train_loader(), valid_loader())
    saved = torch.load(player.folder / "saved" / "last.ckpt", weights_only=False)["state_dict"]
    best = save.best_model_path.rpartition("/")[2]
    same = torch.equal(saved["model.weight"], subject.model.weight)
    return {"files": files("saved"), "best": best, "score": float(save.best_model_score), "same": same}


@situation
def hooks(player: Player) -> dict[str, Any]:
    """A callback of `pytorch_lightning` hears every hook, in order."""
    note = recorder(base=player.package().Callback)
    make(player, callbacks=[note]).fit(2, train_loader(), valid_loader())
    return {"order": note.seen}


@situation
def gradients_in_a_hook(player: Player) -> dict[str, Any]:
    """What a callback of `pytorch_lightning` does to gradients is trained with."""

    def halve(trainer: Any, module: Any, *_: Any) -> None:
        for parameter in module.parameters():
            parameter.grad *= 0.5

    act = on("on_before_optimizer_step", halve, base=player.package().Callback)
    return {"weights": make(player, callbacks=[act]).fit(2, train_loader()).weights()}


@situation
def csv_logger(player: Player) -> dict[str, Any]:
    """`pytorch_lightning`'s `CSVLogger` gets the rows."""
    logger = player.package().loggers.CSVLogger(player.folder, "logs")
    make(player, loggers=[logger]).fit(2, train_loader(), valid_loader())
    found = rows(logger)
    return {name: found.get(name) for name in ("loss", "acc", "test_loss")}


@situation
def learning_rate_monitor(player: Player) -> dict[str, Any]:
    """`pytorch_lightning`'s learning rate monitor logs to its logger."""
    package = player.package()
    logger = package.loggers.CSVLogger(player.folder, "logs")
    monitor = package.callbacks.LearningRateMonitor("epoch")
    decays = lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)  # noqa: E731
    make(player, callbacks=[monitor], loggers=[logger], scheduler=decays).fit(3, train_loader())
    return {"rates": [value for _, value in rows(logger).get("lr-SGD", [])]}


@situation
def weight_averaging(player: Player) -> dict[str, Any]:
    """`pytorch_lightning`'s stochastic weight averaging averages."""
    averaging = player.package().callbacks.StochasticWeightAveraging(0.05, swa_epoch_start=1, annealing_epochs=1)
    subject = make(player, callbacks=[averaging]).fit(4, train_loader())
    return {"weights": subject.weights()}


@situation
def accumulation_scheduler(player: Player) -> dict[str, Any]:
    """`pytorch_lightning`'s schedule of accumulation holds."""
    schedule = player.package().callbacks.GradientAccumulationScheduler({0: 1, 1: 3})
    subject = make(player, callbacks=[schedule]).fit(2, train_loader())
    return {"weights": subject.weights(), **subject.counts()}


@situation
def profiler(player: Player) -> dict[str, Any]:
    """`pytorch_lightning`'s profiler records."""
    profiler = player.package().profilers.SimpleProfiler(player.folder, "profile")
    make(player, arguments={"profiler": profiler}).fit(2, train_loader())
    return {"batches": len(profiler.recorded_durations["run_training_batch"])}


@situation
def progress_bar(player: Player) -> dict[str, Any]:
    """`pytorch_lightning`'s progress bar is the bar."""
    bar = player.package().callbacks.TQDMProgressBar(refresh_rate=1)
    subject = make(player, callbacks=[bar]).fit(1, train_loader())
    return {"is_the_bar": subject.trainer.progress_bar_callback is bar, "batches": bar.total_train_batches}


@situation
def data_module(player: Player) -> dict[str, Any]:
    """A data module of `pytorch_lightning` is used, and knows the trainer while it runs."""
    seen: list[Any] = []

    class Data(player.package().LightningDataModule):
        def train_dataloader(self) -> Any:
            seen.append(self.trainer is not None)
            return train_loader()

        def val_dataloader(self) -> Any:
            return valid_loader()

    subject = make(player).fit(1, datamodule=Data())
    return {"weights": subject.weights(), "knew": seen, "val_loss": subject.results()["val_loss"]}


@situation
def precision_plugin(player: Player) -> dict[str, Any]:
    """A precision plugin of `pytorch_lightning` holds, or is refused by name."""
    plugin = player.package().plugins.MixedPrecision("bf16-mixed", "cpu")
    said = refusal(lambda: make(player, arguments={"plugins": [plugin]}).fit(1, train_loader()))
    return {"holds_or_is_refused": not said or "MixedPrecision" in said}


@situation(ways=("run",), expected={"named": True})
def strategy_is_refused(player: Player) -> dict[str, Any]:
    """A strategy of `pytorch_lightning` in `run` is refused by name."""
    strategy = player.package().strategies.SingleDeviceStrategy("cpu")
    said = refusal(lambda: player.make(arguments={"strategy": strategy}).fit(1, train_loader()))
    return {"named": "SingleDeviceStrategy" in said and FOREIGN in said}


@situation(ways=("run",))
def mixed_in_one_trainer(player: Player) -> dict[str, Any]:
    """Callbacks and loggers of both packages work in one trainer."""
    package = player.package()
    stopping = package.callbacks.EarlyStopping("val_loss", patience=1, min_delta=10.0)
    save = L.callbacks.ModelCheckpoint(player.folder / "saved", "{epoch}", monitor="val_loss")
    loggers = [package.loggers.CSVLogger(player.folder, "a"), L.loggers.CSVLogger(player.folder, "b")]
    subject = player.make(callbacks=[stopping, save], loggers=loggers).fit(5, train_loader(), valid_loader())
    return {
        "stopped": stopping.stopped_epoch,
        "files": files("saved"),
        "rows": [rows(logger).get("loss") for logger in loggers],
        **subject.counts(),
    }


@situation(ways=("own_trainer",))
def trainer_of_pytorch_lightning(player: Player) -> dict[str, Any]:
    """`pytorch_lightning.Trainer().fit(trainer.lightning_module, …)` trains, validates, tests and predicts."""
    module_class = HandWrittenForeignModule if player.is_reference else None
    subject = player.make(package=FOREIGN, module_class=module_class).fit(2, train_loader(), valid_loader())
    tested = subject.call("test", valid_loader())[0]["test_loss"]
    outputs = subject.call("predict", valid_loader())
    return {"weights": subject.weights(), "tested": tested, "outputs": outputs, **subject.counts()}


@situation(ways=("own_trainer",))
def checkpoint_of_pytorch_lightning(player: Player) -> dict[str, Any]:
    """A checkpoint that `pytorch_lightning.Trainer` wrote is resumed by it."""
    module_class = HandWrittenForeignModule if player.is_reference else None
    options = {"package": FOREIGN, "module_class": module_class, "optimizer": torch.optim.Adam}
    first = player.make(**options).fit(2, train_loader())
    first.trainer.save_checkpoint("half.ckpt")
    second = player.make(**options, seed=9).fit(1, train_loader(), ckpt_path="half.ckpt", after=2)
    return {"weights": second.weights(), **second.counts()}


@situation
def lightning_mirror_of_tensors(player: Player) -> dict[str, Any]:
    """A callback of `pytorch_lightning` reads metrics and sets `should_stop`."""
    seen: list[float] = []

    def look(trainer: Any, module: Any) -> None:
        seen.append(float(trainer.callback_metrics["val_loss"]))
        trainer.should_stop = len(seen) == 2

    act = on("on_validation_end", look, base=player.package().Callback)
    subject = make(player, callbacks=[act]).fit(5, train_loader(data=dataset()), valid_loader())
    return {"seen": seen, **subject.counts()}
