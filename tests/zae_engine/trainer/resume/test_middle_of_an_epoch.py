"""A checkpoint from the middle of an epoch, and a loader that can say where it is: the epoch goes on, to the bit."""

from __future__ import annotations

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


def make(cls, folder, every=None):
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
    )


def outcome(trainer):
    records = [{k: v for k, v in record.items() if k != "seconds"} for record in trainer.history]
    weights = [parameter.tolist() for parameter in trainer.model.parameters()]
    return records, weights, trainer.history.steps(), repr(trainer.progress_checker), torch.rand(1).item()


@pytest.mark.parametrize("has_length", [True, False])
@pytest.mark.parametrize("cls", [Steps, OwnBatches])
@pytest.mark.parametrize("validates", [True, False])
@pytest.mark.parametrize("step", [3, 9])  # 6 steps an epoch: in the middle of the first, and of the second
def test_a_checkpoint_of_lightning_goes_on_in_the_middle(tmp_path, has_length, cls, validates, step):
    def loaders():
        return Stateful(6, has_length), *([Stateful(2, has_length)] if validates else [])

    whole = make(cls, tmp_path, every=3)
    whole.run(3, *loaders())
    expected = outcome(whole)
    resumed = make(cls, tmp_path)
    resumed.run(3 - step // 6, *loaders(), ckpt_path=tmp_path / f"step={step}.ckpt")
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


def test_a_loader_without_a_place_begins_its_epoch_anew(tmp_path):
    batches = Stateful(6).batches
    whole = make(Steps, tmp_path, every=3)
    whole.run(2, batches)
    resumed = make(Steps, tmp_path)
    resumed.run(1, batches, ckpt_path=tmp_path / "step=9.ckpt")
    assert resumed.progress_checker.get_epoch() == 3
    assert resumed.history[-1]["steps"] == 9 + 6
    assert len(resumed.log_train["n"]) == 6
