import pytest
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger

from tests.conftest import Classifier
from zae_engine.trainer.addons import StateManagerAddon
from zae_engine.trainer.loops.lightning_parts import has_lightning_parts


def trainer(cls=Classifier, **kwargs):
    import torch

    model = torch.nn.Linear(3, 2)
    return cls(model, "cpu", optimizer=torch.optim.SGD(model.parameters(), lr=0.1), log_bar=False, **kwargs)


@pytest.mark.parametrize(
    "kwargs", [{"callbacks": [Callback()]}, {"callbacks": Callback()}, {"lightning": {"accumulate_grad_batches": 2}}]
)
def test_callbacks_and_accumulation_are_parts(kwargs):
    assert has_lightning_parts(trainer(**kwargs))


@pytest.mark.parametrize("kwargs", [{}, {"lightning": {"accumulate_grad_batches": 1}}])
def test_a_trainer_alone_has_no_parts(kwargs):
    assert not has_lightning_parts(trainer(**kwargs))


def test_loggers_are_no_parts(tmp_path):
    assert not has_lightning_parts(trainer(loggers=[CSVLogger(tmp_path)]))


def test_the_callbacks_of_addons_are_no_parts(tmp_path):
    from zae_lightning.callbacks import StateCheckpoint

    saving = trainer(Classifier.add_on(StateManagerAddon), save_path=str(tmp_path))
    saving.callbacks = [StateCheckpoint(saving)]
    assert not has_lightning_parts(saving)
