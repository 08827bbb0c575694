"""Error guard: exceptions of loggers are reported, and the loggers stay what they are."""

from __future__ import annotations

import pytest
from lightning.pytorch.loggers.logger import DummyLogger
from zae_lightning.loggers.error_guard import suppress_logger_errors


class Failing(DummyLogger):
    """Fails in one method, and counts the values of another."""

    def __init__(self):
        super().__init__()
        self.saved = 0

    def log_metrics(self, *args, **kwargs):
        raise OSError("disk full")

    def save(self):
        self.saved += 1
        return "saved"


def test_exceptions_are_reported_with_logger_and_method():
    logger, reports = Failing(), []
    with suppress_logger_errors([logger], lambda *report: reports.append(report)):
        assert logger.log_metrics({"loss": 1.0}, step=0) is None
    [(reported, method, error)] = reports
    assert reported is logger
    assert method == "log_metrics"
    assert str(error) == "disk full"


def test_methods_that_work_return_their_values():
    logger = Failing()
    with suppress_logger_errors([logger], lambda *_: pytest.fail("no error")):
        assert logger.save() == "saved"
        assert type(logger) is Failing
    assert logger.saved == 1


def test_after_it_the_methods_raise():
    logger = Failing()
    with suppress_logger_errors([logger], lambda *_: None):
        pass
    with pytest.raises(OSError, match="disk full"):
        logger.log_metrics({})
    assert "log_metrics" not in vars(logger)


def test_a_method_that_the_user_has_set_on_the_logger_stays():
    logger = Failing()
    logger.log_metrics = lambda *args: "own"
    with suppress_logger_errors([logger], lambda *_: None):
        assert logger.log_metrics() == "own"
    assert logger.log_metrics() == "own"


def test_an_interrupt_passes():
    class Interrupting(DummyLogger):
        def save(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), suppress_logger_errors([logger := Interrupting()], lambda *_: None):
        logger.save()
    assert "save" not in vars(logger)


def test_a_run_goes_on_with_a_logger_that_fails(make, loader):
    trainer = make(loggers=Failing())
    with pytest.warns(UserWarning, match="disk full"):
        trainer.run(1, loader)
    assert len(trainer.history) == 1
