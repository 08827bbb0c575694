"""Errors at the end of a run: what fails there never hides the exception that has ended the run."""

from __future__ import annotations

import sys
import threading
import warnings

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger

from tests.conftest import Classifier


class Failing(Classifier):
    """Fails in its second step."""

    error = ZeroDivisionError("the user's own")

    def train_step(self, batch):
        if self.progress_checker.get_step() == 2:
            raise self.error
        return super().train_step(batch)


class FailingBatchwise(Failing):
    def run_batch(self, batch, **kwargs):
        super().run_batch(batch, **kwargs)


class FailingEpochwise(Failing):
    def run_epoch(self, loader, **kwargs):
        for batch in loader:
            self.run_batch(batch)


CLASSES = [Failing, FailingBatchwise, FailingEpochwise]


class BrokenState(dict):
    """The state of an optimizer on a device that has failed."""

    def values(self):
        raise RuntimeError("device lost")


def of_display(trainer, monkeypatch):
    from zae_engine.trainer.display.progress_display import ProgressDisplay

    monkeypatch.setattr(ProgressDisplay, "close", fail)


def of_loggers(trainer, monkeypatch):
    from zae_engine.trainer.logs.logger_connector import LoggerConnector

    monkeypatch.setattr(LoggerConnector, "save", fail)


def of_progress(trainer, monkeypatch):
    monkeypatch.setattr("zae_lightning.runner.read_progress", fail)


def of_device(trainer, monkeypatch):
    monkeypatch.setattr("zae_lightning.runner._restore_device", fail)


def of_lightning(trainer, monkeypatch):
    """The optimizer's state cannot be moved, as Lightning does after an exception."""
    trainer.optimizer.state = BrokenState()


def of_loader(trainer, monkeypatch):
    monkeypatch.setattr("zae_lightning.dataloader.DataLoaderWrapper.close", fail)


def fail(*args, **kwargs):
    raise OSError("at the end")


FAILURES = [of_display, of_loggers, of_progress, of_device, of_lightning, of_loader]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize(
    "error", [ZeroDivisionError("mine"), StopIteration("mine"), KeyboardInterrupt("mine"), SystemExit(3)]
)
def test_the_users_exception_stays_whatever_fails_at_the_end(make, loader, monkeypatch, failure, cls, error):
    make().run(1, loader)  # imports the adapter
    trainer = make(cls)
    trainer.error = error
    failure(trainer, monkeypatch)
    with pytest.raises(type(error)) as caught:
        trainer.run(1, loader)
    assert caught.value is error
    assert trainer._zae_state.run.depth == 0
    monkeypatch.undo()
    trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=0.1)
    trainer.error = ZeroDivisionError("again")
    with pytest.raises(ZeroDivisionError, match="again"):  # the trainer can be used
        trainer.run(1, loader)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes")
def test_what_failed_at_the_end_is_a_note(make, loader, monkeypatch):
    trainer = make(Failing)
    of_display(trainer, monkeypatch)
    trainer.error = ZeroDivisionError("mine")
    with pytest.raises(ZeroDivisionError) as caught:
        trainer.run(1, loader)
    assert caught.value.__notes__[1:] == ["The end of the run failed too (OSError: at the end)."]


@pytest.mark.parametrize("failure", [of_display, of_loggers, of_progress, of_device, of_loader])
def test_without_an_exception_of_the_user_what_fails_is_raised_and_all_else_is_ended(
    make, loader, monkeypatch, failure
):
    make().run(1, loader)
    trainer = make()
    failure(trainer, monkeypatch)
    with pytest.raises(OSError, match="at the end"):
        trainer.run(1, loader)
    assert trainer._zae_state.run.depth == 0
    monkeypatch.undo()
    trainer.run(1, loader)


def test_in_a_test_epoch_too(make, loader, monkeypatch):
    class FailingTest(Classifier):
        def test_step(self, batch):
            raise ZeroDivisionError("mine")

    trainer = make(FailingTest)
    of_loader(trainer, monkeypatch)
    with pytest.raises(ZeroDivisionError, match="mine"):
        trainer.inference(loader)
    assert trainer.mode == "train"


def test_in_a_thread_too(make, loader, monkeypatch):
    trainer, caught = make(Failing), []
    trainer.error = KeyboardInterrupt("mine")
    of_display(trainer, monkeypatch)

    def run():
        try:
            trainer.run(1, loader)
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert caught == [trainer.error]


def test_in_the_users_own_trainer_too(make, loader, monkeypatch):
    trainer = make(Failing)
    of_display(trainer, monkeypatch)
    own = L.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    with pytest.raises(ZeroDivisionError, match="the user's own"):
        own.fit(trainer.lightning_module, loader)


def test_a_failing_loader_is_the_users_own_exception(make, loader, monkeypatch):
    def batches():
        yield next(iter(loader))
        raise ZeroDivisionError("in the loader")

    trainer = make()
    of_lightning(trainer, monkeypatch)
    with pytest.raises(ZeroDivisionError, match="in the loader"):
        trainer.run(1, batches())


def test_a_logger_that_fails_where_warnings_are_errors(make, loader):
    class Broken(Logger):
        name, version = "broken", 0

        def log_hyperparams(self, *args):
            pass

        def log_metrics(self, *args, **kwargs):
            pass

        def save(self):
            if trainer.progress_checker.get_step() > 1:
                raise OSError("disk full")

    trainer = make(Failing, loggers=[Broken()])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ZeroDivisionError):
            trainer.run(1, loader)


def test_an_exception_that_a_callback_raises_in_place_of_the_users_is_the_callbacks(make, loader):
    class Translating(Callback):
        def on_exception(self, trainer, module, exception):
            raise LookupError("translated") from exception

    with pytest.raises(LookupError, match="translated") as caught:
        make(Failing, callbacks=[Translating()]).run(1, loader)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_an_exception_of_a_run_within_a_step_is_the_steps(make, loader):
    class Outer(Classifier):
        def train_step(self, batch):
            try:
                make(Failing).run(1, loader)
            except ZeroDivisionError:
                raise LookupError("of the outer run") from None

    with pytest.raises(LookupError, match="of the outer run"):
        make(Outer).run(1, loader)
