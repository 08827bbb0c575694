"""The state of a better epoch is written while the next epoch trains, and where this could be noticed, at once."""

from __future__ import annotations

import collections
import os
import threading

import pytest
import torch
from lightning.pytorch import Callback

from tests.conftest import Classifier
from zae_engine.trainer.addons import StateManagerAddon


class Gate:
    """A value in the state of a scheduler that lets nobody write it until the gate is opened."""

    def __init__(self):
        self.event = threading.Event()
        self.is_written = False

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        self.is_written = self.event.wait(60)
        return collections.OrderedDict, ()


class Scheduler(torch.optim.lr_scheduler.LRScheduler):
    def __init__(self, optimizer, gate=None):
        self.gate = gate
        super().__init__(optimizer)

    def get_lr(self):
        return self.base_lrs

    def load_state_dict(self, state):
        super().load_state_dict({**state, "gate": self.gate})


class Rising(Classifier):
    """The first epoch is the best: `loss` is the number of the epoch."""

    def test_step(self, batch):
        return {"loss": float(self.progress_checker.get_epoch())}


class Opening(Rising):
    """Opens the gate in the last step of the second epoch."""

    gate: Gate

    def train_step(self, batch):
        if self.progress_checker.get_epoch() == 2 and len(self.log_train.get("loss", [])) == 2:
            assert not self.gate.is_written
            self.gate.event.set()
        return super().train_step(batch)


def with_gate(make, cls, path, **kwargs):
    gate = Gate()
    trainer = make(cls.add_on(StateManagerAddon), save_path=str(path), scheduler=lambda o: Scheduler(o, gate), **kwargs)
    trainer.gate = gate
    return trainer


def test_a_better_epoch_is_written_while_the_next_one_trains_with_its_own_weights(make, loader, valid_loader, tmp_path):
    trainer = with_gate(make, Opening, tmp_path)
    trainer.run(3, loader, valid_loader)
    assert trainer.gate.is_written
    assert sorted(os.listdir(tmp_path)) == ["model.ckpt", "optimizer.zae", "scheduler.zae", "trainer.zae"]
    other = make(Rising.add_on(StateManagerAddon), save_path=str(tmp_path), scheduler=Scheduler)
    other.load_state()
    assert other.progress_checker.get_epoch() == 2
    assert len(other.history) == 1
    best = trainer.weight_buffer["weight"][-1]
    assert all(torch.equal(value, best[name]) for name, value in other.model.state_dict().items())
    assert any(not torch.equal(value, best[name]) for name, value in trainer.model.state_dict().items())


def resumed(cls, make, loader, valid_loader, folder):
    torch.manual_seed(3)
    trainer = make(cls, optimizer=torch.optim.Adam, save_path=folder)
    trainer.model.load_state_dict({"weight": torch.ones(2, 10), "bias": torch.zeros(2)})
    trainer.run(3, loader, valid_loader)
    other = make(cls, optimizer=torch.optim.Adam, save_path=folder)
    other.load_state()
    other.run(2, loader, valid_loader)
    return other.history.steps("train"), other.model.state_dict(), torch.get_rng_state().tolist()


def test_the_state_that_is_resumed_is_that_of_a_save_at_once(make, loader, valid_loader, tmp_path):
    class AtOnce(Rising.add_on(StateManagerAddon)):
        def save_model(self, filename):
            return super().save_model(filename)

    saved_at_once = resumed(AtOnce, make, loader, valid_loader, str(tmp_path / "a"))
    assert repr(resumed(AtOnce.__base__, make, loader, valid_loader, str(tmp_path / "b"))) == repr(saved_at_once)


def test_the_end_of_a_run_waits_for_what_is_being_written(make, loader, valid_loader, tmp_path):
    class Failing(Opening):
        def train_step(self, batch):
            output = super().train_step(batch)
            if self.gate.event.is_set():
                raise KeyboardInterrupt
            return output

    trainer = with_gate(make, Failing, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(3, loader, valid_loader)
    assert "trainer.zae" in os.listdir(tmp_path)
    assert trainer.gate.is_written


@pytest.mark.parametrize("name", ["check_better", "save_state", "save_model", "save_optimizer", "save_scheduler"])
def test_an_override_finds_the_files_of_the_save_before(name, make, loader, tmp_path):
    seen = []
    cls = Classifier.add_on(StateManagerAddon)

    def override(self, *args, **kwargs):
        result = getattr(cls, name)(self, *args, **kwargs)
        seen.append(sorted(file for file in os.listdir(tmp_path) if not file.startswith(".")))
        return result

    trainer = make(type("Own", (cls,), {name: override}), save_path=str(tmp_path))
    trainer.run(1, loader)
    trainer.loss_buffer = float("inf")
    trainer.run(1, loader)
    assert seen[1] == ["model.ckpt", "optimizer.zae", "trainer.zae"]


def test_the_path_of_a_file_and_that_of_the_checkpoint_callback_are_of_complete_files(make, loader, tmp_path):
    sizes = []

    class Reading(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if path := trainer.checkpoint_callback.best_model_path:
                sizes.append(os.path.getsize(path))
                sizes.append(os.path.getsize(made.state_file("model")))

    made = make(Classifier.add_on(StateManagerAddon), save_path=str(tmp_path), callbacks=[Reading()])
    made.run(3, loader)
    assert len(sizes) == 4
    assert set(sizes) == {os.path.getsize(tmp_path / "model.ckpt")}


def test_the_states_of_callbacks_at_the_end_of_the_epoch_are_saved(make, loader, valid_loader, tmp_path):
    class Counting(Callback):
        count = 0

        def on_train_epoch_end(self, trainer, pl_module):
            self.count += 1

        def state_dict(self):
            return {"count": self.count}

        def load_state_dict(self, state):
            self.count = state["count"]

    trainer = make(Rising.add_on(StateManagerAddon), save_path=str(tmp_path), callbacks=[Counting()])
    trainer.run(3, loader, valid_loader)
    other = make(Rising.add_on(StateManagerAddon), save_path=str(tmp_path), callbacks=[Counting()])
    other.load_state()
    other.run(1, loader, valid_loader)
    assert next(c for c in other.callbacks if isinstance(c, Counting)).count == 2


def test_an_epoch_that_cannot_be_written_is_warned_of_and_the_next_better_one_is_saved(make, loader, tmp_path):
    class Broken(Scheduler):
        fails = True

        def state_dict(self):
            return {"state": Refusing()} if self.fails else {}

        def load_state_dict(self, state):
            pass

    class Refusing:
        def __deepcopy__(self, memo):
            return self

        def __reduce__(self):
            raise OSError(28, "No space left on device")

    class Falling(Classifier):
        def train_step(self, batch):
            self.scheduler.fails = self.progress_checker.get_epoch() < 3
            return {**super().train_step(batch), "loss": self.model.weight.sum()}

    trainer = make(Falling.add_on(StateManagerAddon), save_path=str(tmp_path), scheduler=Broken)
    with pytest.warns(UserWarning, match=r"state after epoch [12] could not be saved .*No space left") as caught:
        trainer.run(2, loader)
    assert len([w for w in caught if "could not be saved" in str(w.message)]) == 2
    assert trainer.saved_loss is None
    assert os.listdir(tmp_path) == []
    trainer.run(1, loader)
    assert trainer.saved_loss == trainer.loss_buffer
    assert "model.ckpt" in os.listdir(tmp_path)


def test_an_error_that_is_not_of_the_system_is_raised(make, loader, tmp_path):
    class Unpicklable(Scheduler):
        def state_dict(self):
            return {"function": _Unpicklable()}

    class _Unpicklable:
        def __deepcopy__(self, memo):
            return self

        def __reduce__(self):
            raise TypeError("cannot be pickled")

    trainer = make(Classifier.add_on(StateManagerAddon), save_path=str(tmp_path), scheduler=Unpicklable)
    with pytest.raises(TypeError, match="cannot be pickled"):
        trainer.run(2, loader)
    assert os.listdir(tmp_path) == []


def test_saving_without_a_run_is_at_once(make, tmp_path):
    trainer = make(Classifier.add_on(StateManagerAddon), save_path=str(tmp_path))
    trainer.save_state()
    assert sorted(os.listdir(tmp_path)) == ["model.ckpt", "optimizer.zae", "trainer.zae"]
