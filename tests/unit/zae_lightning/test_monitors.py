from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from zae_lightning.monitors import check_monitors, deferred_monitors, is_monitor


class Stopping(EarlyStopping):
    def __init__(self):
        super().__init__("val_loss")
        self.seen = []

    def on_validation_end(self, trainer, pl_module):
        pass

    def on_train_epoch_end(self, trainer, pl_module):
        self.seen.append((trainer.fit_loop.epoch_progress.current.completed, dict(trainer.callback_metrics)))


def lightning_trainer(**metrics):
    progress = SimpleNamespace(current=SimpleNamespace(completed=1))
    loop = SimpleNamespace(epoch_progress=progress)
    return SimpleNamespace(callback_metrics=metrics, fit_loop=loop, lightning_module=None)


def test_monitors_are_checkpoints_and_early_stopping_with_a_metric(tmp_path):
    assert is_monitor(EarlyStopping("val_loss"))
    assert is_monitor(ModelCheckpoint(tmp_path, monitor="val_loss"))
    assert not is_monitor(ModelCheckpoint(tmp_path))
    assert not is_monitor(Callback())


@pytest.mark.parametrize(
    ("deferral", "metrics", "runs"),
    [("none", {}, 1), ("missing", {}, 0), ("missing", {"val_loss": 1.0}, 1), ("all", {"val_loss": 1.0}, 0)],
)
def test_monitors_wait_for_their_metric(deferral, metrics, runs):
    stopping = Stopping()
    with deferred_monitors([stopping], deferral):
        stopping.on_train_epoch_end(lightning_trainer(**metrics), None)
    assert len(stopping.seen) == runs
    stopping.on_train_epoch_end(lightning_trainer(), None)
    assert len(stopping.seen) == runs + 1


def test_monitors_are_checked_with_the_results_of_the_epoch():
    stopping, fitted = Stopping(), lightning_trainer(train_loss=1.0)
    check_monitors(SimpleNamespace(lightning_trainer=fitted, callbacks=[stopping]), {"val_loss": 2.0})
    assert stopping.seen == [(0, {"train_loss": 1.0, "val_loss": 2.0})]
    assert fitted.fit_loop.epoch_progress.current.completed == 1


def test_without_an_epoch_of_lightnings_nothing_is_checked():
    check_monitors(SimpleNamespace(lightning_trainer=None, callbacks=[Stopping()]), {})
