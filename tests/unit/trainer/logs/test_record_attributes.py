"""Record attributes: the history and the losses under their names on the trainer."""

from __future__ import annotations

from tests.conftest import Classifier
from zae_engine.trainer import Trainer
from zae_engine.trainer.logs.record_attributes import HistoryAttribute, LossHistoryAttribute


def test_the_history_is_read_through_the_trainer_and_a_subclass_may_use_its_name(make, loader):
    class Named(Classifier):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.history = "mine"

    trainer = make(Named)
    trainer.run(1, loader)
    assert trainer.history == "mine"
    assert len(make().history) == 0
    assert isinstance(Trainer.history, HistoryAttribute)


def test_the_losses_are_a_list_that_can_be_replaced(make, loader):
    trainer = make()
    trainer.run(1, loader)
    assert len(trainer.loss_history_train) == 3
    assert trainer.loss_history_train is trainer.get_loss_history("train")
    trainer.loss_history_test = [1.0]
    assert trainer.history.steps("test") == [1.0]
    assert isinstance(Trainer.loss_history_train, LossHistoryAttribute)
