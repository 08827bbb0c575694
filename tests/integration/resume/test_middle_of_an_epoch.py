"""A checkpoint from the middle of an epoch, and a loader that can say where it is: the epoch goes on, to the bit."""

from __future__ import annotations

import lightning.pytorch as L
import pytest
import torch
import torchmetrics
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import StateManagerAddon


class Stateful:
    """Gives batches in a random order of every epoch, and remembers order and place."""

    def __init__(self, n_batches, has_length=True):
        generator = torch.Generator().manual_seed(3)
        self.batches = [
            (torch.randn(4, 3, generator=generator), torch.randint(0, 2, (4,), generator=generator))
            for _ in range(n_batches)
        ]
        self.order, self.place, self.has_length = [], 0, has_length

    def __iter__(self):
        if not self.order:
            self.order, self.place = torch.randperm(len(self.batches)).tolist(), 0
        while self.place < len(self.order):
            self.place += 1
            yield self.batches[self.order[self.place - 1]]
        self.order = []

    def __len__(self):
        if not self.has_length:
            raise TypeError("no length")
        return len(self.batches)

    def state_dict(self):
        return {"order": list(self.order), "place": self.place}

    def load_state_dict(self, state):
        self.order, self.place = list(state["order"]), state["place"]


class Steps(Trainer.add_on(StateManagerAddon)):
    def train_step(self, batch):
        x, y = batch
        scores = self.model(x)
        return {"loss": torch.nn.functional.cross_entropy(scores, y), "preds": scores.argmax(1), "target": y, "n": 1}

    test_step = train_step


class OwnBatches(Steps):
    def run_batch(self, batch, **kwargs):
        super().run_batch(batch, **kwargs)


def make(cls, folder, every=None, **kwargs):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    callbacks = [] if every is None else [ModelCheckpoint(folder, "{step}", every_n_train_steps=every, save_top_k=-1)]
    return cls(
        model,
        "cpu",
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5),
        metrics={"acc": torchmetrics.Accuracy(task="multiclass", num_classes=2)},
        callbacks=callbacks,
        save_path=folder / "saved",
        log_bar=False,
        **kwargs,
    )


def outcome(trainer):
    records = [{k: v for k, v in record.items() if k != "seconds"} for record in trainer.history]
    weights = [parameter.tolist() for parameter in trainer.model.parameters()]
    return records, weights, trainer.history.steps(), repr(trainer.progress_checker), torch.rand(1).item()


@pytest.mark.parametrize("has_length", [True, False])
@pytest.mark.parametrize("cls", [Steps, OwnBatches])
@pytest.mark.parametrize("validates", [True, False])
@pytest.mark.parametrize("step", [3, 6, 9, 12])  # 6 steps an epoch: in the middle of the first two, and at their end
def test_a_checkpoint_of_lightning_goes_on_in_the_middle(tmp_path, has_length, cls, validates, step):
    def loaders():
        return Stateful(6, has_length), *([Stateful(2, has_length)] if validates else [])

    whole = make(cls, tmp_path, every=3)
    whole.run(3, *loaders())
    expected = outcome(whole)
    resumed = make(cls, tmp_path)
    resumed.run(3 - (step - 1) // 6, *loaders(), ckpt_path=tmp_path / f"step={step}.ckpt")
    assert resumed.lightning_trainer.global_step == whole.lightning_trainer.global_step == 18
    assert outcome(resumed) == expected


def test_a_state_that_is_saved_in_a_step_goes_on_behind_that_step(tmp_path):
    class AfterBatch(Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            if trainer.global_step == 8:
                facade.save_state()

    whole = facade = make(Steps, tmp_path)
    whole.callbacks.append(AfterBatch())
    whole.check_better = lambda **_: False
    whole.run(3, Stateful(6))
    expected = outcome(whole)
    resumed = make(Steps, tmp_path)
    resumed.check_better = lambda **_: False
    resumed.load_state()
    resumed.run(2, Stateful(6))
    assert outcome(resumed) == expected


@pytest.mark.parametrize("step", [3, 6, 9])
def test_a_validation_that_was_due_is_made_up_for(tmp_path, step):
    halves = {"lightning": {"val_check_interval": 0.5}}
    whole = make(Steps, tmp_path, every=3, **halves)
    whole.run(2, Stateful(6), Stateful(2))
    expected = outcome(whole)
    resumed = make(Steps, tmp_path, **halves)
    resumed.run(2 - (step - 1) // 6, Stateful(6), Stateful(2), ckpt_path=tmp_path / f"step={step}.ckpt")
    assert len(resumed.history.steps("test")) == 8
    assert outcome(resumed) == expected


@pytest.mark.parametrize("validates", [True, False])
def test_at_the_last_batch_of_an_epoch_any_loader_will_do(tmp_path, validates):
    batches = Stateful(6).batches
    valid = [batches[:2]] if validates else []
    whole = make(Steps, tmp_path, every=6)
    whole.run(3, batches, *valid)
    expected = outcome(whole)
    resumed = make(Steps, tmp_path)
    resumed.run(3, batches, *valid, ckpt_path=tmp_path / "step=6.ckpt")
    assert outcome(resumed) == expected


def test_what_was_loaded_waits_for_the_run_that_trains(tmp_path):
    class Counts(Callback):
        batches = 0

        def on_train_batch_end(self, *_):
            self.batches += 1
            if self.batches == 9 and facade is not None:
                facade.save_state()

        def state_dict(self):
            return {"batches": self.batches}

        def load_state_dict(self, state):
            self.batches = state["batches"]

    def breaks():
        raise OSError("the disk is away")
        yield

    whole = facade = make(Steps, tmp_path)
    whole.check_better = lambda **_: False
    whole.callbacks.append(Counts())
    whole.run(2, Stateful(6))
    expected, facade = outcome(whole), None
    resumed = make(Steps, tmp_path)
    resumed.check_better = lambda **_: False
    resumed.callbacks.append(Counts())
    resumed.load_state()
    resumed.save_state()
    resumed.load_state()
    before = torch.get_rng_state(), resumed.progress_checker.state_dict(), len(resumed.history.steps("test"))
    resumed.toggle("test")
    resumed.run(1, Stateful(2))
    resumed.toggle("train")
    with pytest.raises(OSError, match="the disk is away"):
        resumed.run(1, breaks())
    torch.set_rng_state(before[0])
    resumed.progress_checker.load_state_dict(before[1])
    resumed.history.losses["test"].truncate(before[2])
    resumed.run(1, Stateful(6))
    assert outcome(resumed) == expected
    assert resumed.callbacks[0].batches == 12


@pytest.mark.parametrize("every", [3, 5])
def test_an_l_trainer_of_the_users_own_goes_on(tmp_path, every):
    def fit(trainer, epochs, **kwargs):
        parts = [ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=every, save_top_k=-1)]
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        lightning_trainer = L.Trainer(max_epochs=epochs, callbacks=parts, **quiet)
        lightning_trainer.fit(trainer.lightning_module, Stateful(6), **kwargs)

    whole = make(Steps, tmp_path)
    fit(whole, 2)
    assert whole.history["epoch"] == [1, 2]
    resumed = make(Steps, tmp_path)
    fit(resumed, 2, ckpt_path=tmp_path / f"step={every}.ckpt")
    assert resumed.history["epoch"][-1] == 2
    assert resumed.progress_checker.get_epoch() == 3


def test_a_checkpoint_of_weights_alone_is_refused(tmp_path):
    trainer = make(Steps, tmp_path)
    trainer.callbacks.append(ModelCheckpoint(tmp_path, "weights", save_weights_only=True))
    trainer.run(1, Stateful(2))
    with pytest.raises(ValueError, match=r"weights\.ckpt' has no state of the optimizer \(save_weights_only"):
        make(Steps, tmp_path).run(1, Stateful(2), ckpt_path=tmp_path / "weights.ckpt")


def test_a_loader_without_a_place_begins_its_epoch_anew(tmp_path):
    batches = Stateful(6).batches
    whole = make(Steps, tmp_path, every=3)
    whole.run(2, batches)
    resumed = make(Steps, tmp_path)
    resumed.run(1, batches, ckpt_path=tmp_path / "step=9.ckpt")
    assert resumed.progress_checker.get_epoch() == 3
    assert resumed.history[-1]["steps"] == 9 + 6
    assert len(resumed.log_train["n"]) == 6
