"""Stop recorder: who sets ``should_stop``."""

from __future__ import annotations

import gc
import weakref

from lightning.pytorch.callbacks import Callback, LambdaCallback
from zae_lightning.stop_recorder import StopRecorder


class Helper:
    def stop(self, trainer):
        trainer.should_stop = True


class Stopping(Callback):
    def on_train_end(self, trainer, pl_module):
        trainer.should_stop = trainer.should_stop or True

    def on_train_start(self, trainer, pl_module):
        Helper().stop(trainer)


class Recording(StopRecorder):
    def __init__(self, *callbacks):
        self.callbacks = list(callbacks)
        self.should_stop = False


def test_it_is_the_callback_that_sets_it_first_or_calls_what_sets_it():
    first, second = Stopping(), Stopping()
    trainer = Recording(first, second)
    assert (trainer.should_stop, trainer.stopped_by) == (False, None)
    second.on_train_start(trainer, None)
    first.on_train_end(trainer, None)
    assert trainer.should_stop
    assert trainer.stopped_by is second
    trainer.should_stop = False
    assert trainer.stopped_by is None


def test_a_function_of_a_lambda_callback_belongs_to_the_callback():
    def stop(trainer, pl_module):
        trainer.should_stop = True

    callback = LambdaCallback(on_train_start=stop)
    trainer = Recording(callback)

    def call_hook(callback):
        callback.on_train_start(trainer, None)

    call_hook(callback)
    assert trainer.stopped_by is callback


def test_other_code_is_named_and_not_kept_alive():
    trainer = Recording()

    def stop():
        helper = Helper()
        helper.stop(trainer)
        return weakref.ref(helper)

    reference = stop()
    assert trainer.stopped_by == "Helper.stop"
    gc.collect()
    assert reference() is None
