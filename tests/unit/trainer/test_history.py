"""History: a record for each epoch over all runs, and the loss of every step."""

import copy
import json
import math
import pickle
import random

import pytest
import torch

from tests.conftest import Classifier
from zae_engine.trainer import History, Trainer


class Scored(Classifier):
    def metric_on_epoch_end(self):
        return {"score": 1.0 if self.mode == "train" else 0.5, "word": "no number"}


def test_a_record_has_means_metrics_rate_and_time(make, loader, valid_loader):
    trainer = make(Scored, scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5))
    trainer.run(2, loader, valid_loader)
    trainer.run(1, loader)
    first, second, third = trainer.history
    assert list(first) == [
        *(
            "epoch",
            "steps",
            "train_loss",
            "train_acc",
            "train_score",
            "test_loss",
            "test_score",
            "lr",
            "seconds",
            "best",
        )
    ]
    assert [record["epoch"] for record in trainer.history] == [1, 2, 3]
    assert [record["steps"] for record in trainer.history] == [3, 6, 9]
    assert [record["lr"] for record in trainer.history] == [0.1, 0.05, 0.025]
    assert second["test_loss"] == pytest.approx(torch.stack(trainer.get_loss_history("test")[-2:]).mean().item())
    assert "test_loss" not in third
    assert trainer.history["test_score"] == [0.5, 0.5, None]
    assert third["train_loss"] == pytest.approx(sum(trainer.history.steps()[6:]) / 3)
    assert all(record["seconds"] > 0 for record in trainer.history)
    assert first["best"] is True


def test_steps_are_the_losses_of_all_runs(make, loader, valid_loader):
    trainer = make()
    trainer.run(2, loader, valid_loader)
    trainer.run_epoch(loader)
    assert trainer.history.steps("train") == [float(loss) for loss in trainer.get_loss_history("train")]
    assert trainer.history.steps("test") == [float(loss) for loss in trainer.get_loss_history("test")]
    assert len(trainer.history) == 2
    with pytest.raises(ValueError, match="accepted are"):
        trainer.history.steps("valid")


def test_an_epoch_that_was_broken_off_has_losses_and_no_record(make, loader):
    class Interrupted(Classifier):
        def train_step(self, batch):
            if self.progress_checker.get_step() == 5:
                raise KeyboardInterrupt
            return super().train_step(batch)

    trainer = make(Interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(3, loader)
    assert len(trainer.history) == 1
    assert len(trainer.history.steps()) == 4
    trainer.progress_checker.update_step()
    trainer.run(1, loader)
    assert trainer.history["steps"] == [3, 7]


def test_an_own_run_epoch_and_an_own_lightning_trainer_leave_records(make, loader, valid_loader):
    import lightning.pytorch as L

    class Own(Classifier):
        def run_epoch(self, loader, **kwargs):
            super().run_epoch(loader, **kwargs)

    trainer = make(Own)
    trainer.run(2, loader, valid_loader)
    assert trainer.history["epoch"] == [1, 2]
    assert all(value > 0 for value in trainer.history["test_loss"])
    trainer = make()
    L.Trainer(max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu").fit(
        trainer.lightning_module, loader, valid_loader
    )
    assert trainer.history["epoch"] == [1, 2]
    assert all(value > 0 for value in trainer.history["test_loss"])


def test_test_mode_and_inference_leave_no_record(make, loader):
    trainer = make(mode="test")
    trainer.run(2, loader)
    trainer.inference(loader)
    assert len(trainer.history) == 0
    assert len(trainer.history.steps("test")) == 9


def test_read_like_a_list_and_like_a_table(make, loader, valid_loader):
    trainer = make()
    trainer.run(3, loader, valid_loader)
    history = trainer.history
    assert history[-1] is list(history)[2]
    assert len(history[1:]) == 2
    assert history[0] in history
    with pytest.raises(KeyError, match="there are epoch, steps, train_loss"):
        history["nothing"]
    with pytest.raises(IndexError):
        history[3]
    best = history.best("test_loss")
    assert best["test_loss"] == min(history["test_loss"])
    assert history.best()["epoch"] == trainer.weight_buffer["epoch"][0] + 1
    assert "3 epochs, 9 steps" in repr(history)


def test_an_empty_history_says_so():
    history = History()
    assert repr(history) == "History(no epochs, 0 steps)"
    assert history.keys() == history.steps() == []
    with pytest.raises(ValueError, match="No epoch has been better"):
        history.best()
    with pytest.raises(KeyError, match="there are no epochs"):
        history["train_loss"]


def test_nan_is_never_the_best():
    history = History()
    for loss in (math.nan, 2.0, 1.0, math.nan):
        history.add({"train_loss": loss})
    assert history.best("train_loss") is history[2]
    assert history.best("train_loss", mode="max") is history[1]


def test_the_first_of_equal_values_is_the_best_and_an_unknown_mode_is_an_error():
    history = History()
    for value in (1.0, 2.0, 1.0, 2.0):
        history.add({"test_acc": value})
    assert history.best("test_acc") is history[0]
    assert history.best("test_acc", mode="max") is history[1]
    with pytest.raises(ValueError, match=r'"min" and "max"'):
        history.best("test_acc", mode="maximum")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_it_survives_copying_the_trainer(make, loader, valid_loader, copied):
    trainer = make()
    trainer.run(2, loader, valid_loader)
    twin = copied(trainer)
    assert twin.history == trainer.history
    assert twin.history is not trainer.history
    twin.run(1, loader)
    assert (len(twin.history), len(trainer.history)) == (3, 2)


def test_saved_and_loaded_as_json(make, loader, valid_loader, tmp_path):
    trainer = make(Scored)
    trainer.run(2, loader, valid_loader)
    trainer.history.add({"epoch": 3, "train_loss": math.inf, "matrix": torch.eye(2)})
    trainer.history.save(tmp_path / "history.json")
    loaded = History.load(tmp_path / "history.json")
    assert loaded[:2] == trainer.history[:2]
    assert loaded[2] == {"epoch": 3, "train_loss": math.inf, "matrix": [[1.0, 0.0], [0.0, 1.0]]}
    assert loaded.steps("test") == trainer.history.steps("test")
    assert [path.name for path in tmp_path.iterdir()] == ["history.json"]


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\x80\x04K\x01.", b"[]", b"{}", b"null", b'{"format": 2, "epochs": [], "losses": {}}', b"[" * 100_000),
        *(b'{"format": 1, "epochs": [1], "losses": {"train": [], "test": []}}', b'{"format": 1, "epochs": []}'),
        *(
            b'{"format": 1, "epochs": [], "losses": {"train": ["x"], "test": []}}',
            b"\xff\xfe",
            b'{"format": 1, "epochs"',
        ),
    ],
)
def test_a_file_that_is_no_history_is_named(tmp_path, content):
    (tmp_path / "history.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"history\.json is no history that was written by History\.save"):
        History.load(tmp_path / "history.json")


def test_as_a_frame(make, loader, valid_loader):
    trainer = make()
    trainer.run(2, loader, valid_loader)
    frame = trainer.history.to_frame()
    assert list(frame.index) == [1, 2]
    assert frame.loc[2, "test_loss"] == trainer.history[1]["test_loss"]
    assert History().to_frame().empty


def test_a_subclass_may_have_a_history_of_its_own(make, loader):
    class Own(Classifier):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.history = {"loss": []}
            self.plot = "a file"

        def train_step(self, batch):
            step = super().train_step(batch)
            self.history["loss"].append(step["loss"].item())
            return step

    trainer = make(Own)
    trainer.run(2, loader)
    assert len(trainer.history["loss"]) == 6
    assert trainer.plot == "a file"
    assert len(Trainer.plot(trainer, "loss").axes) == 1
    assert json.dumps(trainer.history)


def test_a_loss_of_several_numbers_is_its_mean_and_one_that_is_none_is_said_to_be_so(make, loader, valid_loader):
    class Several(Classifier):
        def test_step(self, batch):
            return {"loss": self.value}

    trainer = make(Several)
    trainer.value = torch.tensor([1.0, 3.0])
    trainer.run(1, loader, valid_loader)
    assert trainer.history.steps("test") == [2.0, 2.0]
    for value in ("a", None, 1 + 2j):
        trainer.value = value
        with pytest.raises(TypeError, match=r'test_step returned .* under "loss", so the epoch has no mean loss'):
            trainer.run(1, loader, valid_loader)
    assert trainer.mode == "train"


def test_a_metric_named_like_a_mean_hides_it_nowhere(make, loader, capsys):
    class Named(Classifier):
        def metric_on_epoch_end(self):
            return {"loss": 123.0}

    trainer = make(Named)
    trainer.run(1, loader)
    assert trainer.history[0]["train_loss_metric"] == 123
    line = capsys.readouterr().err
    assert f"train_loss: {trainer.history[0]['train_loss']:.4f}" in line
    assert ", loss_metric: 123.0000" in line


def test_no_flipped_bit_of_a_file_is_loaded(make, loader, valid_loader, tmp_path):
    trainer, file = make(), tmp_path / "history.json"
    trainer.run(3, loader, valid_loader)
    trainer.history.save(file)
    whole, luck = file.read_bytes(), random.Random(0)
    for place in [*luck.sample(range(len(whole) * 8), 2000), *range((len(whole) - 90) * 8, len(whole) * 8)]:
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        file.write_bytes(bytes(changed))
        with pytest.raises(ValueError, match=r"history\.json is no history"):
            History.load(file)
    for changed in (whole[:-1], whole + b"\n", whole + b"x", b""):
        file.write_bytes(changed)
        with pytest.raises(ValueError, match="is no history"):
            History.load(file)


def test_a_file_without_a_checksum_is_loaded(make, loader, tmp_path):
    trainer, file = make(), tmp_path / "history.json"
    trainer.run(1, loader)
    trainer.history.save(file)
    content = json.loads(file.read_bytes())
    del content["sha256"]
    file.write_text(json.dumps(content, indent=1))  # as an earlier version wrote it, or edited by hand
    assert History.load(file) == trainer.history


def test_a_notebook_shows_a_table_with_the_best_epoch_in_bold():
    history = History()
    for epoch in range(1, 4):
        history.add({"epoch": epoch, "train_<a>": 0.123456, "best": epoch == 2})
    shown = history._repr_html_()
    assert shown.count("<tr>") == 4
    assert "<td style='font-weight: bold'>2</td>" in shown
    assert "<th>train_&lt;a&gt;</th>" in shown
    assert "0.1235" in shown
    assert History()._repr_html_() == "History(no epochs, 0 steps)"


def test_a_long_table_has_the_first_the_best_and_the_latest_epochs():
    history = History()
    for epoch in range(1, 101):
        history.add({"epoch": epoch, "best": epoch == 50})
    shown = history._repr_html_()
    assert shown.count("<tr>") == 22
    assert ">50<" in shown
    assert "79 more epochs" in shown
