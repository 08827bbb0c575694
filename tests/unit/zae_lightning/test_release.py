"""Release: what an L.Trainer keeps, and the private names by which it is done."""

from __future__ import annotations

import weakref

import pytest
from lightning.pytorch.callbacks import EarlyStopping
from zae_lightning.release import LightningRun, release


@pytest.fixture
def finished(make, loader, valid_loader):
    trainer = make(callbacks=EarlyStopping("val_loss"))
    trainer.run(2, loader, valid_loader)
    return trainer


def test_names_that_lightning_may_change(finished):
    own = finished.lightning_trainer
    assert {"_lightning_module", "_model", "_optimizers", "_lightning_optimizers"} <= set(vars(own.strategy))
    assert own.strategy.lr_scheduler_configs == []
    for loop in (own.fit_loop, own.fit_loop.epoch_loop.val_loop, own.validate_loop, own.test_loop, own.predict_loop):
        assert {"_combined_loader", "_data_fetcher", "_data_source"} <= set(vars(loop))
        assert hasattr(loop._data_source, "instance")
    assert hasattr(own._data_connector, "_datahook_selector")


def test_counts_metrics_and_callbacks_stay(finished):
    own = finished.lightning_trainer
    module = weakref.ref(own.lightning_module)
    metrics = dict(own.callback_metrics)
    release(own)
    assert module() is None
    assert own.current_epoch == 2
    assert own.global_step == 6
    assert dict(own.callback_metrics) == metrics
    assert any(isinstance(callback, EarlyStopping) for callback in own.callbacks)


def test_the_end_of_a_run_object_releases(finished):
    own = finished.lightning_trainer
    module = weakref.ref(own.lightning_module)
    finished._zae_state.process.lightning_run = None
    assert module() is None
    del own
    run = LightningRun(finished.lightning_trainer)
    del run  # a second release changes nothing


def test_the_trainer_goes_on_after_a_release(finished, loader, valid_loader):
    release(finished.lightning_trainer)
    finished.run(1, loader, valid_loader)
    assert len(finished.history) == 3
