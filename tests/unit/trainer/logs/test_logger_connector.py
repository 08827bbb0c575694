"""Logger connector: the values that loggers get, when they get them, and what a failing logger causes."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.logger import Logger

from tests.conftest import Classifier
from zae_engine.trainer.logs import epoch_results, logger_connector, value_buffer


@pytest.fixture(params=["here", "elsewhere"], autouse=True)
def place(request, monkeypatch):
    """Values on the CPU; and the path of values on another device, taken by tensors on the CPU all the same."""
    if request.param == "elsewhere":
        for module in (value_buffer, epoch_results):
            monkeypatch.setattr(module, "is_off_cpu", lambda tensor: True)
    return request.param


class Remembering(Logger):
    name = version = "remembering"

    def __init__(self):
        super().__init__()
        self.rows, self.parameters = [], []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, dict(metrics)))

    def log_hyperparams(self, params, *args, **kwargs):
        self.parameters.append(params)


class Failing(Remembering):
    def log_metrics(self, metrics, step=None):
        raise OSError(28, "No space left on device")


class Mixed(Classifier):
    def train_step(self, batch):
        return {**super().train_step(batch), "word": "a", "vector": batch[0], "my_output": 1.0, "number": 3}

    def metric_on_epoch_end(self):
        return {"score": 0.5, "name": "b"}


def test_numbers_are_logged_and_nothing_else(make, loader, valid_loader):
    trainer, logger = make(Mixed), Remembering()
    trainer.loggers.append(logger)
    trainer.run(1, loader, valid_loader)
    assert [sorted(row) for _, row in logger.rows[:3]] == [["acc", "loss", "lr", "my_output", "number"]] * 3
    assert logger.rows[3] == (2, {"train_score": 0.5})
    assert sorted(logger.rows[4][1]) == ["test_loss", "test_score"]
    assert [step for step, _ in logger.rows] == [0, 1, 2, 2, 2]


def test_odd_values_harm_neither_the_run_nor_what_else_is_logged(make, loader, capfd):
    class Odd(Classifier):
        def train_step(self, batch):
            odd = {"z": torch.tensor(1 + 2j), "huge": 10**400, 3: 4.0, "none": None, "list": [1], "n_outputs": 3}
            return {**super().train_step(batch), **odd, "first_output": batch[1][:1]}

    trainer, logger = make(Odd, log_bar=True), Remembering()
    trainer.loggers.append(logger)
    trainer.run(1, loader)
    assert [sorted(row) for _, row in logger.rows] == [["3", "acc", "loss", "lr", "n_outputs"]] * 3


def test_a_lazy_model_is_described_without_being_looked_into(make, loader):
    model = torch.nn.LazyLinear(2)
    trainer, logger = make(model=model), Remembering()
    trainer.loggers.append(logger)
    trainer.run(1, loader)
    assert logger.parameters[0]["parameters"] == 0


def test_values_that_change_in_place_are_logged_as_they_were(make, loader):
    class Changing(Classifier):
        def train_step(self, batch):
            return {**super().train_step(batch), "bias": self.model.bias.detach()[:1]}

    trainer, logger = make(Changing), Remembering()
    trainer.loggers.append(logger)
    trainer.run(1, loader)
    assert len({row["bias"] for _, row in logger.rows}) == 3


def test_batches_outside_a_run_are_logged_at_once(make, loader):
    trainer, logger = make(), Remembering()
    trainer.loggers.append(logger)
    for i, batch in enumerate(loader):
        trainer.run_batch(batch)
        assert len(logger.rows) == i + 1
    assert len(logger.parameters) == 1


def test_steps_on_a_device_are_handed_over_in_groups_and_in_order(make, dataset, monkeypatch):
    monkeypatch.setattr(logger_connector, "WAITING_SECONDS", 1e9)
    monkeypatch.setattr(logger_connector, "MAX_WAITING", 5)
    for module in (value_buffer, epoch_results):
        monkeypatch.setattr(module, "is_off_cpu", lambda tensor: True)

    class Looking(Classifier):
        def train_step(self, batch):
            self.handed_over = [*getattr(self, "handed_over", []), len(logger.rows)]
            return super().train_step(batch)

    trainer, logger = make(Looking), Remembering()
    trainer.loggers.append(logger)
    trainer.run(1, torch.utils.data.DataLoader(dataset, 2))
    assert trainer.handed_over == [0, *[1] * 5, *[6] * 5, 11]  # the first one sets the clock
    assert [step for step, _ in logger.rows] == list(range(12))
    assert [row["loss"] for _, row in logger.rows] == [float(loss) for loss in trainer.get_loss_history()]


def test_the_rate_is_the_one_that_the_step_was_made_with(make, loader):
    trainer, logger = (
        make(scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5), scheduler_step_on_batch=True),
        Remembering(),
    )
    trainer.loggers.append(logger)
    trainer.run(1, loader)
    assert [row["lr"] for _, row in logger.rows] == [0.1, 0.05, 0.025]


def test_an_inference_before_the_run_does_not_describe_it(make, loader, valid_loader):
    trainer, logger = make(), Remembering()
    trainer.loggers.append(logger)
    for _ in range(3):
        trainer.inference(valid_loader)
    trainer.run(1, loader, valid_loader)
    assert [(parameters["mode"], parameters["batch_size"]) for parameters in logger.parameters] == [("train", 8)]
    assert [step for step, row in logger.rows if "test_loss" in row] == [0, 1, 2, 3]


def test_metrics_are_logged_when_they_are_new_and_beside_a_mean_of_their_name(make, loader, valid_loader):
    class Once(Classifier):
        def metric_on_epoch_end(self):
            return {"loss": -1.0, **({"once": 1.0} if self.progress_checker.get_epoch() == 1 else {})}

    trainer, logger = make(Once), Remembering()
    trainer.loggers.append(logger)
    trainer.run(2, loader, valid_loader)
    tests = [row for _, row in logger.rows if "test_loss" in row]
    assert [("test_once" in row, row["test_loss_metric"], row["test_loss"] > 0) for row in tests] == [
        (True, -1.0, True),
        (False, -1.0, True),
    ]


def test_an_own_run_epoch_is_logged_too(make, loader, valid_loader):
    class Own(Classifier):
        def run_epoch(self, loader, **kwargs):
            self.log_reset()
            for batch in loader:
                self.run_batch(batch)

    trainer, logger = make(Own), Remembering()
    trainer.loggers.append(logger)
    trainer.run(2, loader, valid_loader)
    assert len([row for _, row in logger.rows if "test_loss" in row]) == 2


def test_hyperparameters_are_logged_once_to_each_logger(make, loader):
    trainer, first, second = make(), Remembering(), Remembering()
    trainer.loggers.append(first)
    trainer.run(1, loader)
    trainer.loggers.append(second)
    trainer.run(1, loader)
    trainer.run_epoch(loader)
    for logger in (first, second):
        assert len(logger.parameters) == 1
        assert logger.parameters[0]["model"] == "Linear"
    assert [step for step, _ in second.rows] == list(range(3, 9))


def test_what_was_logged_before_an_interrupt_is_handed_over(make, loader):
    class Interrupted(Classifier):
        def train_step(self, batch):
            if self.progress_checker.get_step() == 5:
                raise KeyboardInterrupt
            return super().train_step(batch)

    trainer, logger = make(Interrupted), Remembering()
    trainer.loggers.append(logger)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(2, loader)
    assert [row["loss"] for _, row in logger.rows] == [float(loss) for loss in trainer.get_loss_history()]


def test_a_logger_that_fails_costs_one_warning_and_not_the_run(make, loader):
    trainer, logger = make(), Remembering()
    trainer.loggers += [Failing(), logger]
    with pytest.warns(UserWarning, match=r"Failing.log_metrics failed \(OSError: .*No space left") as caught:
        trainer.run(3, loader)
    assert len(caught) == 1
    assert len(logger.rows) == len(trainer.get_loss_history()) == 9


def test_lightnings_csv_logger_has_all_steps(make, loader, valid_loader, tmp_path):
    trainer = make()
    trainer.loggers.append(CSVLogger(tmp_path, name="n", version="v"))
    trainer.run(2, loader, valid_loader)
    lines = (tmp_path / "n" / "v" / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("loss")
    losses = [float(line.split(",")[column]) for line in lines[1:] if line.split(",")[column]]
    assert losses == pytest.approx([float(loss) for loss in trainer.get_loss_history()])
