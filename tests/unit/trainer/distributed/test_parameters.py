"""Parameters: find what a trainer trains, without searching the trainer at every step."""

import pytest
import torch

from zae_engine.trainer import Trainer
from zae_engine.trainer.distributed.parameters import TrainableParameters


class Two(Trainer):
    def train_step(self, batch):
        return {"loss": self.model(batch[0]).mean()}

    test_step = train_step


def new_attribute(trainer, layer):
    trainer.head = layer


def new_in_a_list(trainer, layer):
    trainer.heads.append(layer)


def new_in_a_dict(trainer, layer):
    trainer.named["new"] = layer


def new_in_an_optimizer(trainer, layer):
    trainer.optimizer.add_param_group({"params": list(layer.parameters())})


def new_optimizer_in_a_list(trainer, layer):
    trainer.heads.append(torch.optim.SGD(layer.parameters(), lr=1.0))


def lone_parameters(trainer, layer):
    trainer.weight, trainer.bias = layer.weight, layer.bias


def deep_in_a_list(trainer, layer):
    trainer.heads[0].append(layer)


@pytest.fixture
def trainer():
    model = torch.nn.Linear(3, 2)
    trainer = Two(model, "cpu", optimizer=torch.optim.SGD(model.parameters(), lr=1.0), log_bar=False)
    trainer.heads, trainer.named = [[]], {"first": torch.nn.Linear(1, 1)}
    return trainer


@pytest.mark.parametrize(
    "change",
    [
        *(new_attribute, new_in_a_list, new_in_a_dict, new_in_an_optimizer, new_optimizer_in_a_list, lone_parameters),
        deep_in_a_list,
    ],
)
def test_new_parameters_are_found_at_the_next_step_or_epoch(trainer, change):
    trained, layer = TrainableParameters(trainer), torch.nn.Linear(5, 5)
    before = trained()
    change(trainer, layer)
    after = trained(search=change is deep_in_a_list)
    assert {id(p) for p in after} - {id(p) for p in before} == {id(p) for p in layer.parameters()}


def test_the_trainer_is_not_searched_while_nothing_is_new(trainer, monkeypatch):
    trained = TrainableParameters(trainer)
    found = trained()
    monkeypatch.setattr(TrainableParameters, "_find", lambda self: pytest.fail("searched the trainer"))
    trainer.last_loss, trainer.note, trainer.own = torch.zeros(()), "text", 5
    trainer.logging({"loss": torch.zeros(())})
    assert trained(search=False) is found


def test_the_logs_are_neither_searched_nor_read(trainer):
    trainer.logging({"loss": torch.zeros(())})
    TrainableParameters(trainer)()
    assert not vars(trainer)["log_train"]._was_read


def test_a_lazy_parameter_is_found_once_it_has_a_shape(trainer):
    trainer.lazy = torch.nn.LazyLinear(2)
    trained = TrainableParameters(trainer)
    before = len(trained())
    trainer.lazy(torch.zeros(1, 4))
    assert len(trained(search=False)) == before + 2
