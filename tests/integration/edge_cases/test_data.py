"""Data and steps that are not as in the examples, and numbers that are none."""

from __future__ import annotations

import gc
import math
import weakref

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import StateManagerAddon


class Mean(Trainer):
    def train_step(self, batch):
        return {"loss": self.model(batch[0] if isinstance(batch, tuple) else batch).mean(), **self.more(batch)}

    def test_step(self, batch):
        return self.train_step(batch)

    def more(self, batch):
        return {}


def make(cls=Mean, **kwargs):
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    return cls(model, "cpu", optimizer=torch.optim.SGD(model.parameters(), lr=0.1), log_bar=False, **kwargs)


def test_a_loader_without_batches_trains_nothing_and_one_that_has_some_goes_on():
    trainer = make()
    before = trainer.model.weight.clone()
    trainer.run(2, DataLoader(TensorDataset(torch.zeros(0, 2)), 4), [])
    assert torch.equal(trainer.model.weight, before)
    assert trainer.progress_checker.get_epoch() == 3
    assert trainer.loss_buffer == math.inf
    trainer.run(1, [torch.ones(3, 2).unbind()])
    assert trainer.history[-1]["epoch"] == 3
    assert math.isfinite(trainer.loss_buffer)


def test_a_stream_without_length_runs_to_its_end_in_every_epoch():
    class Stream(IterableDataset):
        def __iter__(self):
            yield from torch.ones(7, 2)

    trainer = make()
    trainer.run(2, DataLoader(Stream(), batch_size=2), DataLoader(Stream(), batch_size=3))
    assert [record["steps"] for record in trainer.history] == [4, 8]
    assert len(trainer.log_test["loss"]) == 3


def test_a_last_batch_that_is_smaller_counts_as_a_batch():
    trainer = make()
    trainer.run(1, DataLoader(TensorDataset(torch.ones(10, 2)), 4))
    assert len(trainer.log_train["loss"]) == 3
    assert trainer.history[-1]["train_loss"] == pytest.approx(sum(map(float, trainer.log_train["loss"])) / 3)


def test_batches_may_have_other_keys_each_time():
    class Reads(Trainer):
        def train_step(self, batch):
            (name, x), *_ = batch.items()
            return {"loss": self.model(x).mean(), f"size_{name}": len(x)}

        test_step = train_step

    trainer = make(Reads)
    trainer.run(1, [{"a": torch.ones(2, 2)}, {"b": torch.ones(3, 2)}, {"a": torch.ones(4, 2)}])
    assert trainer.log_train["size_a"] == [2, 4]
    assert trainer.log_train["size_b"] == [3]


def test_steps_may_return_other_keys_each_time(tmp_path):
    class Varies(Mean):
        def more(self, batch):
            step = self.progress_checker.get_step()
            return {"odd": torch.tensor(float(step))} if step % 2 else {f"only_{step}": step}

    trainer = make(Varies, loggers=[CSVLogger(tmp_path)])
    trainer.run(1, [(torch.ones(3, 2),)] * 4)
    assert [value.item() for value in trainer.log_train["odd"]] == [1.0, 3.0]
    assert (trainer.log_train["only_2"], trainer.log_train["only_4"]) == ([2], [4])
    assert trainer.history[-1]["train_odd"] == 2.0
    assert set(trainer.print_log(1, 1)) == {"Batch", "LR", "loss", "odd", "only_2", "only_4"}


def test_what_is_no_single_number_is_kept_and_has_no_mean_of_its_own_kind(tmp_path):
    class Rich(Mean):
        def more(self, batch):
            return {"vector": torch.arange(3.0), "text": "abc", "nothing": None, "nested": {"a": [torch.ones(2)]}}

    trainer = make(Rich, loggers=[CSVLogger(tmp_path)])
    trainer.run(1, [(torch.ones(3, 2),)] * 2)
    assert trainer.log_train["text"] == ["abc", "abc"]
    assert trainer.log_train["nothing"] == [None, None]
    assert torch.equal(trainer.log_train["vector"][1], torch.arange(3.0))
    assert "train_text" not in trainer.history[-1]
    assert "train_nested" not in trainer.history[-1]


def test_large_outputs_are_let_go_with_their_epoch():
    held = []

    class Large(Mean):
        def more(self, batch):
            output = torch.zeros(200_000)
            held.append(weakref.ref(output.untyped_storage()))
            return {"output": output}

        def log_reset(self, *args, **kwargs):
            super().log_reset(*args, **kwargs)
            gc.collect()
            self.alive = [len([ref for ref in held if ref() is not None]), *getattr(self, "alive", [])]

    trainer = make(Large)
    trainer.run(3, [(torch.ones(3, 2),)] * 4)
    assert len(trainer.log_train["output"]) == 4
    assert max(trainer.alive) == 0  # whenever the logs are cleared, nothing of the epoch before is left


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["train", "test"])
def test_a_loss_that_is_no_number_is_never_the_best_and_overwrites_nothing(tmp_path, bad, where):
    class Bad(Mean.add_on(StateManagerAddon)):
        value = None

        def train_step(self, batch):
            loss = super().train_step(batch)["loss"]
            return {"loss": loss if self.value is None else loss * 0 + self.value}

    trainer = make(Bad, save_path=str(tmp_path))
    loader = [(torch.ones(3, 2),)]
    valid = loader if where == "test" else None
    trainer.run(1, loader, valid)
    best = trainer.loss_buffer, trainer.saved_loss, (tmp_path / "model.ckpt").read_bytes()
    trainer.value = bad
    trainer.run(1, loader, valid)
    assert (trainer.loss_buffer, trainer.saved_loss, (tmp_path / "model.ckpt").read_bytes()) == best
    assert trainer.history[-1]["best"] is False
    trainer.apply_weights()
    assert torch.isfinite(trainer.model.weight).all()
    trainer.value = None
    trainer.run(1, loader, valid)
    assert trainer.history[-1]["best"] is True


def test_lightning_tells_where_a_number_went_wrong():
    class Root(Trainer):
        def train_step(self, batch):
            return {"loss": torch.sqrt(self.model(batch[0]) * 0 - 1).mean()}

        test_step = train_step

    with pytest.raises(RuntimeError, match=r"SqrtBackward0.*nan"):
        make(Root, lightning={"detect_anomaly": True}).run(1, [(torch.ones(3, 2),)])


class Broken(CSVLogger):
    """A service that goes away: after some values, every call fails."""

    left = 3

    def log_metrics(self, metrics, step=None):
        self.left -= 1
        if self.left < 0:
            raise OSError(28, "No space left on device")
        super().log_metrics(metrics, step)

    def save(self):
        if self.left < 0:
            raise ConnectionError("the service is gone")
        super().save()


def test_a_logger_that_fails_in_mid_run_costs_one_warning_and_the_others_go_on(tmp_path):
    other = CSVLogger(tmp_path / "other")
    trainer = make(loggers=[Broken(tmp_path / "broken"), other])
    with pytest.warns(UserWarning, match="failed") as caught:
        trainer.run(2, [(torch.ones(3, 2),)] * 5, [(torch.ones(3, 2),)])
    told = [warning for warning in caught if "Broken" in str(warning.message)]
    assert len(told) == 1
    assert len(trainer.history) == 2
    lines = (tmp_path / "other" / "lightning_logs" / "version_0" / "metrics.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * (5 + 1)
    assert "save" not in vars(other)
