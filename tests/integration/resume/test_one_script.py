"""One script starts and continues a run: `until`, the latest state, and no error where there is no state yet."""

from __future__ import annotations

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from tests.conftest import Classifier
from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import MultiGPUAddon, StateManagerAddon


class Worsens(Classifier.add_on(StateManagerAddon)):
    """Has its best epoch first: the test loss grows with the epochs."""

    def test_step(self, batch):
        return {"loss": torch.tensor(float(self.progress_checker.get_epoch()))}


class Killed(Exception):
    pass


class Kills(L.Callback):
    """Ends a run in the middle of an epoch, as a kill does."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if module.hooks.trainer.progress_checker.get_epoch() == self.epoch and batch_idx == 1:
            raise Killed


def build(folder, cls=Worsens, device="cpu", **kwargs):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(10, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    return cls(model, device, "train", optimizer, scheduler, log_bar=False, save_path=str(folder), **kwargs)


def script(folder, loader, valid_loader, until=6, **kwargs):
    trainer = build(folder, **kwargs)
    trainer.load_state(missing_ok=True)
    trainer.run(until=until, loader=loader, valid_loader=valid_loader)
    return trainer


def outcome(trainer):
    records = [{key: value for key, value in record.items() if key != "seconds"} for record in trainer.history]
    return records, [parameter.tolist() for parameter in trainer.model.parameters()], trainer.weight_buffer["epoch"]


def test_a_script_that_is_killed_and_started_again_does_what_one_run_does(tmp_path, loader, valid_loader):
    whole = script(tmp_path / "whole", loader, valid_loader, save_every=1)
    for epoch in (1, 3, 4):
        with pytest.raises(Killed):
            script(tmp_path / "parts", loader, valid_loader, save_every=1, callbacks=[Kills(epoch)])
    resumed = script(tmp_path / "parts", loader, valid_loader, save_every=1)
    assert outcome(resumed) == outcome(whole)
    assert len(resumed.history) == 6
    finished = script(tmp_path / "parts", loader, valid_loader, save_every=1)
    assert outcome(finished) == outcome(whole)


def test_a_callback_continues_with_the_latest_state(tmp_path, loader, valid_loader):
    def stopping():
        return EarlyStopping("val_loss", patience=3)

    whole = script(tmp_path / "whole", loader, valid_loader, save_every=1, callbacks=[stopping()])
    assert len(whole.history) == 4
    with pytest.raises(Killed):
        script(tmp_path / "parts", loader, valid_loader, save_every=1, callbacks=[stopping(), Kills(3)])
    resumed = script(tmp_path / "parts", loader, valid_loader, save_every=1, callbacks=[stopping()])
    assert outcome(resumed) == outcome(whole)


def test_the_best_state_stays_beside_the_latest_and_takes_its_place_when_it_is_later(tmp_path, loader, valid_loader):
    trainer = build(tmp_path, save_every=2)
    trainer.run(5, loader, valid_loader)
    assert (tmp_path / "latest" / "model.ckpt").exists()
    latest = build(tmp_path)
    latest.load_state()
    assert len(latest.history) == 4
    assert latest.weight_buffer["epoch"] == [0]
    best = build(tmp_path / "other")
    best.apply_weights(str(tmp_path / "model.ckpt"))
    assert torch.equal(best.model[0].weight, latest.weight_buffer["weight"][-1]["0.weight"])
    trainer.test_step = lambda batch: {"loss": torch.tensor(0.0)}
    trainer.run(1, loader, valid_loader)
    assert not (tmp_path / "latest").exists()
    again = build(tmp_path)
    again.load_state()
    assert len(again.history) == 6


def test_without_validation_epochs_that_are_not_better_are_saved_too(tmp_path, loader):
    trainer = build(tmp_path, save_every=1)
    trainer.check_better = lambda **_: False
    trainer.run(2, loader)
    loaded = build(tmp_path)
    loaded.load_state()
    assert len(loaded.history) == 2


def test_a_state_that_is_saved_by_hand_or_at_a_stop_is_later_than_the_latest(tmp_path, loader, valid_loader):
    trainer = build(tmp_path, save_every=2)
    trainer.run(3, loader, valid_loader)
    trainer._zae_save_before_stopping()
    stopped = build(tmp_path)
    stopped.load_state()
    assert len(stopped.history) == 3
    trainer.save_state()
    assert not (tmp_path / "latest").exists()
    saved = build(tmp_path)
    saved.load_state()
    assert len(saved.history) == 3


@pytest.mark.parametrize("method", ["run_batch", "run_epoch"])
def test_overridden_methods_make_no_difference(tmp_path, loader, valid_loader, method):
    def override(self, data, **kwargs):
        getattr(Worsens, method)(self, data, **kwargs)

    cls = type("Overrides", (Worsens,), {method: override})
    whole = script(tmp_path / "whole", loader, valid_loader, cls=cls, until=4, save_every=1)
    script(tmp_path / "parts", loader, valid_loader, cls=cls, until=3, save_every=1)
    resumed = script(tmp_path / "parts", loader, valid_loader, cls=cls, until=4, save_every=1)
    assert outcome(resumed) == outcome(whole)


@pytest.mark.timeout(400)  # it starts processes three times
def test_two_processes_continue_with_the_latest_state(tmp_path, loader, valid_loader):
    cls, device = Worsens.add_on(MultiGPUAddon), ["cpu", "cpu"]
    whole = script(tmp_path / "whole", loader, valid_loader, cls=cls, device=device, until=3, save_every=1)
    script(tmp_path / "parts", loader, valid_loader, cls=cls, device=device, until=2, save_every=1)
    resumed = script(tmp_path / "parts", loader, valid_loader, cls=cls, device=device, until=3, save_every=1)
    assert outcome(resumed) == outcome(whole)


def test_a_trial_saves_nothing(tmp_path, loader, valid_loader):
    build(tmp_path, save_every=1, lightning={"fast_dev_run": True}).run(2, loader, valid_loader)
    assert list(tmp_path.iterdir()) == []


def test_until_counts_the_epochs_of_a_checkpoint(tmp_path, loader, make):
    first = make(callbacks=[ModelCheckpoint(tmp_path, save_last=True)])
    first.run(2, loader)
    second = make()
    second.run(until=3, loader=loader, ckpt_path=tmp_path / "last.ckpt")
    assert len(second.history) == 3
    second.run(until=3, loader=loader)
    assert len(second.history) == 3
    second.run(3, loader)
    assert len(second.history) == 6


def test_until_works_with_a_data_module(loader, make):
    class Data(L.LightningDataModule):
        def train_dataloader(self):
            return loader

    trainer = make()
    trainer.run(1, Data())
    trainer.run(until=3, loader=Data())
    assert len(trainer.history) == 3


def test_a_missing_number_of_epochs_is_an_error_before_the_first_step(loader, make):
    for arguments in ({}, {"n_epoch": 1, "until": 2}, {"until": "2"}):
        with pytest.raises(TypeError, match="until"):
            make().run(loader=loader, **arguments)
    with pytest.raises(TypeError, match="no loader"):
        make().run(1)
    with pytest.raises(TypeError, match="Did you mean until"):
        make().run(1, loader, untill=3)


def test_without_a_state_loading_is_an_error_unless_that_is_allowed(tmp_path):
    trainer = build(tmp_path)
    with pytest.raises(FileNotFoundError):
        trainer.load_state()
    trainer.load_state(missing_ok=True)


def test_a_part_of_a_state_is_an_error_all_the_same(tmp_path, loader, valid_loader):
    build(tmp_path).run(1, loader, valid_loader)
    (tmp_path / "model.ckpt").unlink()
    with pytest.raises((FileNotFoundError, ValueError)):
        build(tmp_path).load_state(missing_ok=True)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "1"])
def test_what_is_no_interval_is_an_error(tmp_path, value):
    with pytest.raises(ValueError, match="save_every"):
        build(tmp_path, save_every=value)


def test_the_add_on_alone_has_the_same_settings():
    assert StateManagerAddon("folder", save_every=2).save_every == 2
    assert issubclass(Worsens, Trainer)
