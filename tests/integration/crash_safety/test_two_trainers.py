"""Two trainers that save into one folder: at once one is refused, one after the other both save."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import warnings

import pytest
import torch

from zae_engine.trainer.addons import StateManagerAddon

from .flip_bits import Saving, make, train

FILES = ["model.ckpt", "optimizer.zae", "scheduler.zae", "trainer.zae"]
BATCHES = [torch.ones(5, 4)] * 2


class Held(Saving):
    """Saves until it is released."""

    def save_model(self, filename):
        super().save_model(filename)
        self.is_saving.set()
        assert self.may_end.wait(60)


@pytest.fixture
def held(tmp_path):
    """A trainer of another thread, in the middle of a save."""
    trainer = make(str(tmp_path))
    trainer.__class__ = Held
    trainer.is_saving, trainer.may_end = threading.Event(), threading.Event()
    thread = threading.Thread(target=trainer.save_state)
    thread.start()
    assert trainer.is_saving.wait(60)
    yield trainer
    trainer.may_end.set()
    thread.join()


def test_a_second_save_at_once_is_refused_by_name_and_changes_nothing(tmp_path, held):
    other = make(str(tmp_path), seed=1)
    with pytest.raises(
        OSError, match=rf"Another trainer saves into .*{os.getpid()} on .*Give each trainer a save_path"
    ):
        other.save_state()
    held.may_end.set()


def test_a_run_goes_on_with_a_warning_and_saves_when_it_can(tmp_path, held):
    other = make(str(tmp_path), seed=1)
    with pytest.warns(UserWarning, match=r"after epoch 1 could not be saved .*Another trainer saves.*Training goes on"):
        other.run(1, BATCHES)
    held.may_end.set()
    assert other.saved_loss is None
    assert len(other.history) == 1


CHILD = """
import sys, time, torch, warnings
from tests.integration.crash_safety.flip_bits import Saving, make
warnings.simplefilter("ignore")

class Slow(Saving):
    def save_model(self, filename):
        super().save_model(filename)
        if "slow" in sys.argv:
            print("saving", flush=True)
            time.sleep(600)

trainer = make(sys.argv[1])
trainer.__class__ = Slow
trainer.save_state()
print("saved", flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def process(folder, *arguments):
    command = [sys.executable, "-c", CHILD, str(folder), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline().strip() == ("saving" if "slow" in arguments else "saved")
        yield child
        child.kill()


def test_a_process_that_saves_is_named_and_after_its_kill_nothing_is_left_to_clean(tmp_path):
    trainer = make(str(tmp_path))
    with process(tmp_path, "slow") as child:
        with pytest.raises(OSError, match=rf"in process \({child.pid} on"):
            trainer.save_state()
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            trainer.save_state()
    assert sorted(os.listdir(tmp_path)) == FILES


def test_the_state_of_a_living_process_is_replaced_with_a_warning_and_continued_without(tmp_path):
    with process(tmp_path) as child:
        resumed = make(str(tmp_path))
        resumed.load_state()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            resumed.save_state()
        train(make(str(tmp_path / "other")))
    with process(tmp_path) as child:
        other = make(str(tmp_path))
        with pytest.warns(UserWarning, match=rf"state of another trainer, of process \({child.pid} on .* load_state"):
            other.save_state()


def test_one_after_the_other_save_while_the_first_object_still_exists(tmp_path):
    first = train(make(str(tmp_path)), 1)
    second = make(str(tmp_path), seed=1)
    with pytest.warns(UserWarning, match="another trainer, of this process") as caught:
        train(second, 2)
    assert len([warning for warning in caught if "another trainer" in str(warning.message)]) == 1
    loaded = make(str(tmp_path), seed=2)
    loaded.load_state()
    assert torch.equal(loaded.model[0].weight, second.model[0].weight)
    assert first.saved_loss is not None


def test_a_new_trainer_in_the_name_of_the_old_one_saves_without_a_word(tmp_path):
    trainer = train(make(str(tmp_path)), 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module=r"(torch|lightning)\.")
        trainer = make(str(tmp_path), seed=1)
        trainer.save_state()


def test_a_run_in_another_thread_keeps_its_folder(tmp_path):
    other = make(str(tmp_path), seed=1)
    found = []

    class Watched(Saving):
        def check_better(self, cur_epoch, cur_loss):
            better = super().check_better(cur_epoch, cur_loss)
            try:
                other.save_state()
            except OSError as error:
                found.append(str(error))
            return better

    trainer = make(str(tmp_path))
    trainer.__class__ = Watched
    trainer.run(1, BATCHES)
    assert len(found) == 1
    assert "which is in a run" in found[0]
    expected = trainer.model[0].weight.clone()
    other.load_state()
    assert torch.equal(other.model[0].weight, expected)
    other.save_state()


def test_many_trainers_in_threads_leave_one_state_that_is_whole(tmp_path):
    trainers = [make(str(tmp_path), seed=seed) for seed in range(4)]
    outcomes = []

    def work(trainer):
        for _ in range(15):
            try:
                trainer.save_state()
                outcomes.append("saved")
            except OSError as error:
                assert "Another trainer saves" in str(error)  # noqa: PT017
                outcomes.append("refused")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threads = [threading.Thread(target=work, args=(trainer,)) for trainer in trainers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(outcomes) == 60
    assert "saved" in outcomes
    assert sorted(os.listdir(tmp_path)) == FILES
    loaded = make(str(tmp_path), seed=9)
    loaded.load_state()
    weight = loaded.model[0].weight
    assert sum(torch.equal(weight, trainer.model[0].weight) for trainer in trainers) == 1


def test_the_end_of_an_epoch_does_not_touch_the_state_that_another_trainer_has_saved_since(tmp_path):
    class Late(Saving):
        def check_better(self, cur_epoch, cur_loss):
            better = super().check_better(cur_epoch, cur_loss)
            with process(tmp_path):  # another process saves between the save of the epoch and the epoch's end
                return better

    from lightning.pytorch.callbacks import Timer

    trainer = make(str(tmp_path))
    trainer.callbacks.append(Timer())
    trainer.__class__ = Late
    trainer.run(1, BATCHES)
    make(str(tmp_path), seed=3).load_state()  # files of one save


def test_the_addon_says_what_is_refused():
    assert "refused" in StateManagerAddon.__doc__
