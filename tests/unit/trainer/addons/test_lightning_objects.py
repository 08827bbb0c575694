"""Lightning objects as add-ons: each trainer has a copy."""

from __future__ import annotations

import threading

import pytest
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy

from tests.conftest import Classifier


def test_every_trainer_has_a_copy_of_a_callback_and_a_logger(make, tmp_path):
    stopping, logger = EarlyStopping("val_loss"), CSVLogger(tmp_path)
    cls = Classifier.add_on(stopping, logger)
    first, second = make(cls), make(cls)
    for trainer in (first, second):
        assert [type(callback) for callback in trainer.callbacks] == [EarlyStopping]
        assert [type(logger) for logger in trainer.loggers] == [CSVLogger]
        assert trainer.callbacks[0] is not stopping
    assert first.callbacks[0] is not second.callbacks[0]


def test_several_are_in_the_order_given(make):
    class First(Callback): ...

    class Second(Callback): ...

    trainer = make(Classifier.add_on(First()).add_on(Second()), callbacks=[EarlyStopping("loss")])
    assert [type(callback) for callback in trainer.callbacks] == [EarlyStopping, First, Second]


def test_what_cannot_be_copied_is_used_itself(make):
    class Connected(Callback):
        def __init__(self):
            self.lock = threading.Lock()

    callback = Connected()
    assert make(Classifier.add_on(callback)).callbacks == [callback]


def test_a_strategy_is_the_class_default():
    strategy = DDPStrategy()
    assert Classifier.add_on(strategy)._zae_strategy is strategy


def test_a_class_of_lightnings_in_place_of_an_instance_is_an_error():
    with pytest.raises(TypeError, match="add_on got"):
        Classifier.add_on(EarlyStopping)
