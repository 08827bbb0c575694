"""Leave no trace: trials write to no logger and to no records."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import callbacks as C
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.tuner import Tuner

from zae_engine.trainer.addons import StateManagerAddon

from ..observing import Keeps, files, rows
from ..players import Player
from ..problem import Classifier, train_loader, valid_loader
from . import situation


def history_of(subject: Any) -> list[int]:
    """Return how many losses of training and testing zae-engine has recorded."""
    return [len(subject.facade.get_loss_history(mode)) for mode in ("train", "test")]


@situation
def fast_dev_run(player: Player) -> dict[str, Any]:
    """`fast_dev_run` writes to no logger and saves no checkpoint."""
    logger, save = Keeps(), C.ModelCheckpoint(player.folder / "saved", "{epoch}")
    subject = player.make(loggers=[logger], callbacks=[save], arguments={"fast_dev_run": True})
    subject.fit(1, train_loader(), valid_loader())
    return {"logged": logger.logged, "files": files(player.folder), "steps": subject.trainer.global_step}


@situation(ways=("run",), expected={"files": []})
def fast_dev_run_saves_no_state(player: Player) -> dict[str, Any]:
    """`fast_dev_run` makes `StateManagerAddon` save nothing."""
    folder = player.folder / "state"
    cls = Classifier.add_on(StateManagerAddon)
    subject = player.make(trainer_class=cls, given={"save_path": str(folder)}, arguments={"fast_dev_run": True})
    subject.fit(1, train_loader(), valid_loader())
    return {"files": files(folder)}


def rate_finder() -> C.LearningRateFinder:
    return C.LearningRateFinder(min_lr=1e-4, max_lr=1.0, num_training_steps=20, early_stop_threshold=None)


@situation
def learning_rate_finder(player: Player) -> dict[str, Any]:
    """The trial steps of a learning rate finder reach no logger, and weights are as before them."""
    logger, finder = Keeps(), rate_finder()
    subject = player.make(loggers=[logger], callbacks=[finder]).fit(2, train_loader(batch_size=4), valid_loader())
    return {
        "loss": logger.of("loss"),
        "test_loss": logger.of("test_loss"),
        "suggested": finder.optimal_lr.suggestion(),
        "weights": subject.weights(),
        "files": files(player.folder),
        **subject.counts(),
    }


@situation(expected={"history": [12, 4]})
def learning_rate_finder_and_history(player: Player) -> dict[str, Any]:
    """The trial steps of a learning rate finder are not in the history."""
    return {
        "history": history_of(player.make(callbacks=[rate_finder()]).fit(2, train_loader(batch_size=4), valid_loader()))
    }


@situation
def batch_size_finder(player: Player) -> dict[str, Any]:
    """The trial steps of a batch size finder reach no logger."""
    logger = Keeps()
    finder = C.BatchSizeFinder(mode="power", steps_per_trial=2, init_val=2, max_trials=2)
    subject = player.make(loggers=[logger], callbacks=[finder])
    if player.way == "run":
        subject.fit(1, train_loader(batch_size=2), valid_loader())
    else:
        module = subject.module
        if player.is_reference:
            module.batch_size = 2
            module.train_dataloader = lambda: train_loader(batch_size=module.batch_size)
        else:
            subject.facade.loader = train_loader(batch_size=2)
        subject.lightning_trainer(max_epochs=1).fit(module, val_dataloaders=valid_loader())
    return {"loss": logger.of("loss"), "found": finder.optimal_batch_size, "weights": subject.weights()}


@situation(ways=("own_trainer",))
def tuner_before_the_fit(player: Player) -> dict[str, Any]:
    """`Tuner.lr_find` before a fit leaves no trace but the rate."""
    logger = Keeps()
    subject = player.make(loggers=[logger])
    trainer = subject.lightning_trainer(max_epochs=1)
    options = {"num_training": 20, "early_stop_threshold": None}
    found = Tuner(trainer).lr_find(subject.module, train_loader(batch_size=4), **options)
    trial = list(logger.logged)
    trainer.fit(subject.module, train_loader(), valid_loader())
    return {
        "trial": trial,
        "suggested": found.suggestion(),
        "loss": logger.of("loss"),
        "weights": subject.weights(),
        "history": [3, 2] if player.is_reference else history_of(subject),
    }


@situation
def sanity_check(player: Player) -> dict[str, Any]:
    """A sanity check reaches no logger, no metrics and no weights."""
    logger = Keeps()
    subject = player.make(loggers=[logger], arguments={"num_sanity_val_steps": 2})
    subject.fit(1, train_loader(), valid_loader())
    return {"test_loss": logger.of("test_loss"), "loss": logger.of("loss"), "results": subject.results()}


@situation
def nothing_is_logged_twice(player: Player) -> dict[str, Any]:
    """No value is logged twice at one step."""
    logger = Keeps()
    player.make(loggers=[logger], callbacks=[C.Callback()]).fit(3, train_loader(), valid_loader())
    logged = [(name, step) for step, metrics in logger.logged for name in metrics if name != "epoch"]
    return {"twice": sorted({key for key in logged if logged.count(key) > 1})}


@situation
def results_of_epochs(player: Player) -> dict[str, Any]:
    """Results of validations are logged once an epoch, at Lightning's steps."""
    logger = Keeps()
    player.make(loggers=[logger], callbacks=[C.Callback()]).fit(3, train_loader(), valid_loader())
    return {"test_loss": logger.of("test_loss")}


@situation
def files_of_a_run(player: Player) -> dict[str, Any]:
    """A run without loggers and checkpoints writes no file."""
    player.make(callbacks=[C.Callback()]).fit(2, train_loader(), valid_loader())
    return {"files": files(player.folder)}


@situation
def files_of_a_logger(player: Player) -> dict[str, Any]:
    """A logger's folder has Lightning's files, beside the hyperparameters."""
    logger = CSVLogger(player.folder, "logs")
    player.make(loggers=[logger], callbacks=[C.Callback()]).fit(1, train_loader())
    found = files(player.folder)
    return {"files": [name for name in found if "hparams" not in name], "rows": len(rows(logger)["loss"])}


@situation
def state_of_torch(player: Player) -> dict[str, Any]:
    """Flags of torch are afterwards what they are after Lightning's fit."""
    player.make(callbacks=[C.Callback()]).fit(1, train_loader(), valid_loader())
    return {
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
