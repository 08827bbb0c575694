"""Base module: callbacks find the attributes of the user's model, optimizer and loader."""

from __future__ import annotations

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from zae_lightning.base_module import ScalarTensors, tensors

from tests.conftest import Classifier


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self._private = nn.Linear(10, 2), "private"

    def forward(self, x):
        return self.backbone(x)


def test_attributes_that_the_module_lacks_are_the_models(make):
    module = make(model=Backbone()).lightning_module
    assert module.backbone is module.model.backbone
    with pytest.raises(AttributeError):
        _ = module._private
    with pytest.raises(AttributeError):
        _ = module.head


def test_forward_calls_the_model(make):
    module = make().lightning_module
    x = torch.ones(3, 10)
    assert torch.equal(module(x), module.model(x))


@pytest.mark.parametrize("name", ["lr", "learning_rate"])
def test_the_learning_rate_is_read_from_the_first_group_and_set_in_all(make, name):
    model = nn.Linear(10, 2)
    optimizer = torch.optim.SGD([{"params": [model.weight], "lr": 0.1}, {"params": [model.bias], "lr": 0.2}])
    module = make(model=model, optimizer=optimizer).lightning_module
    assert getattr(module, name) == 0.1
    setattr(module, name, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]


def test_without_a_torch_optimizer_there_is_no_learning_rate(make):
    module = make(optimizer=None).lightning_module
    assert not hasattr(module, "lr")
    module.lr = 0.5  # no error


def test_the_batch_size_is_the_loaders(make, loader):
    trainer = make()
    trainer.run(1, loader)
    module = trainer.lightning_module
    assert module.batch_size == 8
    module.batch_size = 12
    assert len(next(iter(module.train_dataloader()))[0]) == 12


def test_a_module_without_a_loader_says_how_to_give_one(make):
    with pytest.raises(ValueError, match=r"No loader: give one to fit\(module, loader\)"):
        make().lightning_module.train_dataloader()


def test_predictions_are_those_of_the_trainers_predict(make, valid_loader):
    class Labels(Classifier):
        def predict_step(self, batch):
            return {"label": self.model(batch[0]).argmax(1), "n": len(batch[0])}

    class OwnBatches(Labels):
        def run_batch(self, batch, **kwargs):
            super().run_batch(batch, **kwargs)

    silent = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = make(model=torch.nn.Sequential(torch.nn.Linear(10, 2), torch.nn.Dropout(0.5)))
    predicted = L.Trainer(**silent).predict(trainer.lightning_module, valid_loader)
    assert torch.equal(torch.cat(predicted), trainer.predict(valid_loader))
    assert trainer.model.training
    for cls in (Labels, OwnBatches):
        trainer = make(cls)
        predicted = L.Trainer(**silent).predict(trainer.lightning_module, valid_loader)
        assert torch.equal(torch.cat([part["label"] for part in predicted]), trainer.predict(valid_loader)["label"])
        assert [part["n"] for part in predicted] == [12, 12]


def test_unlabelled_rows_are_predicted_in_one_piece(make):
    silent = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer, rows = make(), torch.randn(7, 10)
    loader = torch.utils.data.DataLoader(rows, 3)
    predicted = L.Trainer(**silent).predict(trainer.lightning_module, loader)
    assert torch.equal(torch.cat(predicted), trainer.predict(rows))
    assert [len(part) for part in predicted] == [3, 3, 1]


def test_loggers_of_the_users_trainer_receive_every_nth_step(make, loader, tmp_path):
    logger = CSVLogger(tmp_path)
    own = L.Trainer(
        accelerator="cpu", max_epochs=2, logger=logger, log_every_n_steps=2, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    own.fit(make().lightning_module, loader)
    rows = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text().splitlines()
    column, step = rows[0].split(",").index("loss"), rows[0].split(",").index("step")
    assert [row.split(",")[step] for row in rows[1:] if row.split(",")[column]] == ["1", "3", "5"]


def test_tensors_are_scalars():
    assert tensors({"loss": 0.5}) == {"loss": torch.tensor(0.5)}


def test_a_module_that_is_set_becomes_the_trainers_model(make):
    trainer = make()
    module = trainer.lightning_module
    module.model = nn.Sequential(module.model)
    assert trainer.model is module.model


def test_a_model_that_the_user_has_set_is_trained_by_a_module_made_before(make, loader):
    trainer = make()
    module = trainer.lightning_module
    trainer.model = nn.Linear(10, 2)
    trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=0.1)
    before = trainer.model.weight.detach().clone()
    own_trainer().fit(module, loader)
    assert module.model is trainer.model
    assert not torch.equal(trainer.model.weight, before)


def own_trainer():
    return L.Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu"
    )


def test_the_example_input_is_the_modules_own_or_the_models(make):
    module = make(model=Backbone()).lightning_module
    assert module.example_input_array is None
    module.model.example_input_array = torch.zeros(3, 10)
    assert module.example_input_array is module.model.example_input_array
    module.example_input_array = torch.zeros(5, 10)
    assert len(module.example_input_array) == 5


def test_an_input_of_forward_is_not_unpacked_as_a_batch(make):
    """Lightning's private name: without a device it is called for examples, with one for batches of a loop."""
    assert hasattr(L.LightningModule, "_apply_batch_transfer_handler")
    module = make().lightning_module
    x = torch.ones(3, 10)
    assert torch.equal(module._apply_batch_transfer_handler(x), x)
    rows = module._apply_batch_transfer_handler(x, device=torch.device("cpu"))
    assert isinstance(rows, tuple)
    assert len(rows) == 3


def test_one_module_serves_several_calls_and_keeps_its_trainer(make, loader, valid_loader):
    module = make().lightning_module  # nobody else holds the trainer
    own = own_trainer()
    own.fit(module, loader, valid_loader)
    tested = own.test(module, valid_loader, verbose=False)[0]
    assert set(tested) == {"test_loss"}
    own.predict(module, valid_loader)
    own_trainer().fit(module, loader)
    assert len(module.hooks.trainer.history) == 2


def test_weights_carry_the_records_home_where_a_process_returns_them(make, loader):
    first, second = make(), make()
    own_trainer().fit(module := first.lightning_module, loader)
    assert "zae_engine" not in module.state_dict()
    module._returns_records = True  # as in a process that a strategy has started
    receiver = second.lightning_module
    receiver.load_state_dict(module.state_dict())
    assert len(second.history) == 1
    assert torch.equal(second.model.weight, first.model.weight)


def test_a_number_becomes_a_tensor_once_and_again_if_somebody_has_changed_it():
    shown = ScalarTensors()
    loss = float("nan")
    first = shown.of({"loss": loss, "acc": 0.5})
    assert shown.of({"loss": loss})["loss"] is first["loss"]
    assert shown.of({"loss": 2.0})["loss"].item() == 2.0
    changed = shown.of({"loss": loss})["loss"].fill_(3.0)
    assert changed == 3.0
    assert shown.of({"loss": loss})["loss"].isnan()
    with torch.inference_mode():
        inside = shown.of({"loss": loss, "new": loss})["new"]
    assert shown.of({"new": loss})["new"] is not inside
