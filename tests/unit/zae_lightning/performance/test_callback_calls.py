"""Callback calls: hooks reach those callbacks that implement them, in order, under their name."""

from __future__ import annotations

from types import SimpleNamespace

from lightning.pytorch.callbacks import Callback, LambdaCallback
from zae_lightning.performance.callback_calls import CallbackCalls


class Notes(Callback):
    def __init__(self, name, calls):
        self.name, self.calls = name, calls

    def on_train_batch_end(self, trainer, module, *args):
        self.calls.append((self.name, module._current_fx_name, *args))


def objects(*callbacks):
    return SimpleNamespace(callbacks=list(callbacks)), SimpleNamespace(_current_fx_name="outer")


def test_those_that_implement_a_hook_receive_it_in_order():
    seen = []
    own = LambdaCallback(on_train_batch_end=lambda trainer, module, *args: seen.append(("lambda", *args)))
    trainer, module = objects(Callback(), Notes("first", seen), own, Notes("last", seen))
    calls = CallbackCalls(trainer, module)
    calls("on_train_batch_start", None, 1)
    calls("on_train_batch_end", {}, None, 2)
    end = ({}, None, 2)
    assert seen == [("first", "on_train_batch_end", *end), ("lambda", *end), ("last", "on_train_batch_end", *end)]
    assert module._current_fx_name == "outer"
    assert calls.is_implemented("on_train_batch_end")
    assert not calls.is_implemented("on_train_batch_start")


def test_it_is_current_until_a_callback_is_added_taken_replaced_or_gets_a_hook():
    first, second = Notes("first", []), Notes("second", [])
    trainer, module = objects(first, second)
    calls = CallbackCalls(trainer, module)
    assert calls.is_current()
    first.name = "another"  # no hook
    assert calls.is_current()
    trainer.callbacks.append(Callback())
    assert not calls.is_current()
    trainer.callbacks = [first]
    assert not calls.is_current()
    trainer.callbacks = [first, Notes("second", [])]
    assert not calls.is_current()
    trainer.callbacks = [first, second]
    assert calls.is_current()
    second.on_train_start = lambda *args: None
    assert not calls.is_current()


def test_a_callback_that_joins_is_called_from_then_on():
    seen = []
    trainer, module = objects()
    calls = CallbackCalls(trainer, module)
    calls("on_train_batch_end", 1)
    trainer.callbacks.append(Notes("late", seen))
    calls("on_train_batch_end", 2)
    assert seen == [("late", "on_train_batch_end", 2)]
