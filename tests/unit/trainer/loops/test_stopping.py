"""Stopping: the line that a run leaves where a callback ends it early."""

from __future__ import annotations

import warnings

import pytest
from lightning.pytorch.callbacks import Callback, EarlyStopping

from tests.conftest import Classifier


class Falling(Classifier):
    """Test losses fall for three epochs, and rise then."""

    def test_step(self, batch):
        epoch = self.progress_checker.get_epoch()
        return {"loss": 1.0 / epoch if epoch <= 3 else float(epoch)}


class Impatient(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = True


def lines(capsys):
    return [line[9:] for line in capsys.readouterr().err.splitlines()]


def test_it_says_which_callback_and_why_and_the_best_epoch(make, loader, valid_loader, capsys):
    trainer = make(Falling, callbacks=[EarlyStopping("val_loss", patience=2)])
    trainer.run(20, loader, valid_loader)
    shown = lines(capsys)
    assert len(shown) == 6
    assert shown[-1] == "stopped by EarlyStopping: val_loss has not improved for 2 epochs; best 0.3333 in epoch 3"


class Constant(Classifier):
    def test_step(self, batch):
        return {"loss": 0.5}


def test_of_several_epochs_with_the_best_value_the_callbacks_own_is_named(make, loader, valid_loader, capsys):
    trainer = make(Constant, callbacks=[EarlyStopping("val_loss", patience=2)])
    trainer.run(9, loader, valid_loader)
    assert lines(capsys)[-1].endswith("for 2 epochs; best 0.5000 in epoch 1")
    trainer.callbacks = [EarlyStopping("val_loss", patience=3)]
    trainer.run(9, loader, valid_loader)
    assert lines(capsys)[-1].endswith("for 3 epochs; best 0.5000 in epoch 4")


def test_a_run_that_ends_by_itself_says_nothing(make, loader, valid_loader, capsys):
    make(Falling, callbacks=[EarlyStopping("val_loss", patience=2)]).run(5, loader, valid_loader)
    assert len(lines(capsys)) == 5


def test_an_overridden_run_epoch_and_an_own_callback_are_told_too(make, loader, valid_loader, capsys):
    class Own(Falling):
        def run_epoch(self, loader, **kwargs):
            return super().run_epoch(loader, **kwargs)

    make(Own, callbacks=[EarlyStopping("val_loss", patience=1)]).run(9, loader, valid_loader)
    assert lines(capsys)[-1].startswith("stopped by EarlyStopping: val_loss has not improved for 1 epoch; best 0.3333")
    make(callbacks=[Impatient()]).run(9, loader)
    assert lines(capsys)[-1] == "stopped by Impatient"


def test_a_step_that_stops_the_run_is_named(make, loader, capsys):
    class Enough(Classifier):
        def train_step(self, batch):
            self.lightning_trainer.should_stop = True
            return super().train_step(batch)

    make(Enough).run(9, loader)
    assert lines(capsys)[-1] == "stopped by Enough.train_step"


def test_a_patience_that_was_used_up_before_is_warned_of(make, loader, valid_loader):
    trainer = make(Falling, callbacks=[EarlyStopping("val_loss", patience=2)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.run(20, loader, valid_loader)
    with pytest.warns(
        UserWarning, match="EarlyStopping had used up its patience before this run: val_loss .*wait_count"
    ):
        trainer.run(20, loader, valid_loader)
    trainer.callbacks[0].wait_count = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.run(20, loader, valid_loader)
    assert len(trainer.history) == 5 + 1 + 2
