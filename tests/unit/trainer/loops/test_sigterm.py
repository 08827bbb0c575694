"""SIGTERM: which runs handle it, and how they end. (Whole processes: tests/integration/crash_safety.)"""

from __future__ import annotations

import os
import signal
import threading

import pytest

from tests.conftest import Classifier
from zae_engine.trainer.addons import StateManagerAddon
from zae_engine.trainer.loops.sigterm import SigtermHandler, Terminated, handled_sigterm

Saving = Classifier.add_on(StateManagerAddon)


@pytest.fixture
def trainer(make, tmp_path):
    return make(Saving, save_path=str(tmp_path))


def test_a_request_saves_and_stops_between_two_steps(trainer, tmp_path):
    handler = SigtermHandler(trainer)
    handler.step_done()
    handler.request(signal.SIGTERM, None)
    assert handler.is_requested
    with pytest.raises(Terminated):
        handler.step_done()
    assert (tmp_path / "model.ckpt").exists()


def test_the_signal_ends_the_run_as_it_asks(trainer, tmp_path):
    def run():
        with handled_sigterm(trainer):
            os.kill(os.getpid(), signal.SIGTERM)
            trainer._zae_state.run.sigterm.step_done()

    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 128 + signal.SIGTERM
    assert (tmp_path / "model.ckpt").exists()


def test_a_handler_of_the_user_is_called_once_the_state_is_saved(trainer, tmp_path):
    calls = []
    previous = signal.signal(signal.SIGTERM, lambda *_: calls.append((tmp_path / "model.ckpt").exists()))
    try:
        with handled_sigterm(trainer):
            os.kill(os.getpid(), signal.SIGTERM)
            trainer._zae_state.run.sigterm.epoch_done()
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert calls == [True]


def test_a_trainer_that_cannot_save_a_test_run_and_a_thread_handle_nothing(make, trainer):
    def handles(trainer) -> bool:
        with handled_sigterm(trainer):
            return trainer._zae_state.run.sigterm is not None

    assert handles(trainer)
    assert not handles(make())
    found = []
    thread = threading.Thread(target=lambda: found.append(handles(trainer)))
    thread.start()
    thread.join()
    assert found == [False]
    trainer.toggle("test")
    assert not handles(trainer)
