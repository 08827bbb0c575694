"""Saving on every better loss, and loading, through the trainer."""

from __future__ import annotations

import copy
import io
import os
import pickle

import pytest
import torch
from torch import nn

from tests.conftest import Classifier
from zae_engine.schedulers import CosineAnnealingScheduler, SchedulerChain, WarmUpScheduler
from zae_engine.trainer.addons import StateManagerAddon

Saving = Classifier.add_on(StateManagerAddon)


def test_a_missing_folder_is_an_error_of_the_add_on(make):
    with pytest.raises(TypeError, match=r"^StateManagerAddon needs save_path, .*save_path=\"checkpoints\"\)\.$"):
        make(Saving)


def chain(optimizer):
    return SchedulerChain(WarmUpScheduler(optimizer, 2), CosineAnnealingScheduler(optimizer, 20))


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


@pytest.fixture(params=["ckpt", "safetensor"])
def saved(request, make, loader, tmp_path):
    trainer = make(
        Saving,
        optimizer=torch.optim.Adam,
        scheduler=chain,
        save_path=str(tmp_path / "a" / "b"),
        save_format=request.param,
    )
    trainer.run(2, loader)
    return trainer


def test_files_have_the_names_of_0_7_6_and_nothing_is_left_beside(saved):
    assert sorted(os.listdir(saved.save_path)) == [
        f"model.{saved.save_format}",
        "optimizer.zae",
        "scheduler.zae",
        "trainer.zae",
    ]


def test_a_new_trainer_loads_what_was_saved(saved, make, loader):
    saved.save_state()
    twin = make(
        Saving, optimizer=torch.optim.Adam, scheduler=chain, save_path=saved.save_path, save_format=saved.save_format
    )
    twin.load_state()
    for part in ("model", "optimizer", "scheduler"):
        assert equal(getattr(twin, part).state_dict(), getattr(saved, part).state_dict()), part
    for trainer in (saved, twin):
        torch.manual_seed(3)
        trainer.run(1, loader)
    assert equal(twin.model.state_dict(), saved.model.state_dict())
    assert twin.optimizer.param_groups[0]["lr"] == saved.optimizer.param_groups[0]["lr"]


def test_only_a_better_epoch_is_saved(make, loader, tmp_path):
    class Watching(Saving):
        saves = 0

        def save_state(self):
            self.saves += 1
            super().save_state()

    trainer = make(Watching, save_path=str(tmp_path))
    assert trainer.check_better(0, 0.5)
    assert not trainer.check_better(1, 0.6)
    assert not trainer.check_better(2, float("nan"))
    assert trainer.check_better(3, 0.4)
    assert trainer.saves == 2


def test_overridden_methods_are_honoured_in_a_subclass_and_in_a_further_add_on(make, loader, tmp_path):
    class Picky(Saving):
        def check_better(self, cur_epoch, cur_loss):
            better = super().check_better(cur_epoch, cur_loss)
            assert not better or os.path.exists(self.state_file("model"))  # written by now
            return better

    class Naming:
        @classmethod
        def apply(cls, base_cls):
            class NamingTrainer(base_cls):
                def save_model(self, filename):
                    super().save_model(filename)
                    torch.save({}, filename + ".extra")

            return NamingTrainer

    trainer = make(Picky.add_on(Naming), save_path=str(tmp_path))
    trainer.run(1, loader)
    assert (tmp_path / "model.ckpt.extra").exists()


def test_what_a_trainer_does_not_have_is_neither_saved_nor_wanted(make, loader, tmp_path):
    trainer = make(Saving, save_path=str(tmp_path))
    trainer.run(1, loader)
    assert sorted(os.listdir(tmp_path)) == ["model.ckpt", "optimizer.zae", "trainer.zae"]
    trainer.load_state()
    tester = make(Saving, optimizer=None, mode="test", save_path=str(tmp_path))
    tester.load_state()
    assert equal(tester.model.state_dict(), trainer.model.state_dict())


def test_a_missing_file_is_named_with_its_place_and_nothing_is_loaded(saved, make):
    twin = make(
        Saving, optimizer=torch.optim.Adam, scheduler=chain, save_path=saved.save_path, save_format=saved.save_format
    )
    before = copy.deepcopy(twin.model.state_dict())
    os.remove(saved.state_file("scheduler"))
    with pytest.raises(FileNotFoundError, match=r"scheduler's file 'scheduler.zae' is missing in .*a/b.*optimizer.zae"):
        twin.load_state()
    assert equal(before, twin.model.state_dict())


@pytest.mark.parametrize("scheduler", [
    lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [1, 2]),
    torch.optim.lr_scheduler.ReduceLROnPlateau,
    lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=20),
    lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 0.5),
    lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    lambda o: torch.optim.lr_scheduler.SequentialLR(
        o, [torch.optim.lr_scheduler.ConstantLR(o), torch.optim.lr_scheduler.StepLR(o, 1)], [1]),
])  # fmt: skip
def test_schedulers_of_torch_go_on_where_they_were_saved(make, loader, tmp_path, scheduler):
    trainer, twin = (make(Saving, scheduler=scheduler, save_path=str(tmp_path)) for _ in range(2))
    trainer.run(2, loader)
    trainer.save_state()
    twin.load_state()
    for one in (trainer, twin):
        torch.manual_seed(1)
        one.run(2, loader)
    assert trainer.optimizer.param_groups[0]["lr"] == twin.optimizer.param_groups[0]["lr"]
    assert equal(trainer.model.state_dict(), twin.model.state_dict())


def test_a_part_that_does_not_fit_leaves_all_as_it_was(make, tmp_path):
    make(Saving, optimizer=torch.optim.Adam, save_path=str(tmp_path)).save_state()
    model = nn.Linear(10, 2)
    optimizer = torch.optim.SGD([{"params": [model.weight]}, {"params": [model.bias]}], lr=0.1)
    other = make(Saving, model=model, optimizer=optimizer, save_path=str(tmp_path))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="different number of parameter groups"):
        other.load_state()
    assert equal(before, model.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_bad_keywords(make, tmp_path):
    with pytest.raises(ValueError, match=r"save_format='pickle'.*\"ckpt\" and \"safetensor\""):
        make(Saving, save_path=str(tmp_path), save_format="pickle")
    with pytest.raises(TypeError, match="save_path"):
        make(Saving)


def test_weights_that_share_memory_can_be_saved_as_safetensors(make, tmp_path):
    model = nn.Sequential(nn.Linear(10, 10, bias=False), nn.Linear(10, 10, bias=False))
    model[1].weight = model[0].weight
    trainer = make(Saving, model=model, save_path=str(tmp_path), save_format="safetensor")
    trainer.save_state()
    expected = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        model[0].weight.zero_()
    trainer.load_state()
    assert equal(model.state_dict(), expected)
    assert model[0].weight is model[1].weight


def test_a_failed_write_leaves_the_old_file(make, tmp_path, monkeypatch):
    trainer = make(Saving, save_path=str(tmp_path))
    trainer.save_state()
    before = (tmp_path / "model.ckpt").read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        trainer.save_state()
    assert (tmp_path / "model.ckpt").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["model.ckpt", "optimizer.zae", "trainer.zae"]


def test_a_relative_folder_is_resolved_when_it_is_set(make, loader, tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir(), second.mkdir()
    monkeypatch.chdir(first)
    trainer = make(Saving, save_path="state")
    monkeypatch.chdir(second)
    trainer.run(2, loader)
    trainer._zae_save_before_stopping()
    assert trainer.save_path == "state"
    assert trainer.state_file("model") == str(first / "state" / "model.ckpt")
    assert sorted(os.listdir(first / "state")) == ["model.ckpt", "optimizer.zae", "stopped", "trainer.zae"]
    monkeypatch.chdir(tmp_path)
    trainer.load_state()
    assert os.listdir(second) == []
    trainer.save_path = "third"
    monkeypatch.chdir(first)
    trainer.save_state()
    assert trainer.save_path == "third"
    assert sorted(os.listdir(tmp_path / "third")) == ["model.ckpt", "optimizer.zae", "trainer.zae"]


def test_a_folder_may_be_a_path_object(make, tmp_path):
    trainer = make(Saving, save_path=tmp_path / "state")
    trainer.save_state()
    assert trainer.save_path == tmp_path / "state"
    assert (tmp_path / "state" / "trainer.zae").exists()


def test_a_copy_has_the_same_folder(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer = make(Saving, save_path="state")
    monkeypatch.chdir("/")
    other = pickle.loads(pickle.dumps(trainer))
    assert (other.save_path, other.state_file("model")) == ("state", str(tmp_path / "state" / "model.ckpt"))


@pytest.mark.parametrize("kind", ["buffer", "open file", "path"])
@pytest.mark.parametrize(
    ("cls", "options"),
    [(Classifier, {}), (Saving, {"save_format": "ckpt"}), (Saving, {"save_format": "safetensor"})],
    ids=["plain", "ckpt", "safetensor"],
)
def test_weights_are_saved_to_and_applied_from_paths_and_open_files(make, tmp_path, cls, options, kind):
    if options:
        options = {**options, "save_path": str(tmp_path / "state")}
    trainer = make(cls, **options)
    expected = copy.deepcopy(trainer.model.state_dict())
    name = tmp_path / ("weights.safetensors" if options.get("save_format") == "safetensor" else "weights.pt")
    file = {"buffer": io.BytesIO, "open file": lambda: name.open("w+b"), "path": lambda: name}[kind]()
    trainer.save_model(file)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.zero_()
    if kind != "path":
        file.seek(0)
    trainer.apply_weights(file)
    assert equal(dict(trainer.model.state_dict()), dict(expected))
    if kind != "path":
        assert not file.closed
        file.close()


def test_a_damaged_open_file_changes_nothing(make, tmp_path):
    trainer = make(Classifier)
    file = io.BytesIO()
    trainer.save_model(file)
    expected = copy.deepcopy(trainer.model.state_dict())
    weights = next(iter(expected.values())).numpy().tobytes()
    data = bytearray(file.getvalue())
    data[data.index(weights) + 3] ^= 1
    with pytest.raises(ValueError, match=r"BytesIO.*is damaged.*Nothing has been loaded"):
        trainer.apply_weights(io.BytesIO(bytes(data)))
    assert equal(dict(trainer.model.state_dict()), dict(expected))
    with pytest.raises(ValueError, match="is no ckpt file"):
        trainer.apply_weights(io.BytesIO())
