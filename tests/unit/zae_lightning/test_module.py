"""Generated module: Lightning runs the steps, and holds the objects, of a trainer."""

from __future__ import annotations

import lightning.pytorch as L
import torch
from lightning.pytorch.trainer import call
from zae_lightning import AutomaticOptimizationModule, ManualOptimizationModule

from tests.conftest import Classifier
from zae_engine.trainer import Trainer


def test_the_optimization_follows_what_the_class_overrides(make, loader):
    class Batchwise(Classifier):
        def run_batch(self, batch, **kwargs):
            super().run_batch(batch, **kwargs)

    for cls, module in ((Classifier, AutomaticOptimizationModule), (Batchwise, ManualOptimizationModule)):
        trainer = make(cls)
        trainer.run(1, loader)
        generated = trainer.lightning_trainer.lightning_module  # of a subclass, if pytorch_lightning is imported
        assert isinstance(generated, ManualOptimizationModule) is (module is ManualOptimizationModule)
        assert isinstance(generated, module)

    assigned = make()
    assigned.run_batch = lambda batch, **kwargs: Classifier.run_batch(assigned, batch, **kwargs)
    assigned.run(1, loader)
    assert isinstance(assigned.lightning_trainer.lightning_module, ManualOptimizationModule)
    assert len(assigned.get_loss_history()) == 3


def test_lightning_holds_the_users_own_objects(make, loader):
    trainer = make(scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 1))
    trainer.run(1, loader)
    lightning_trainer = trainer.lightning_trainer
    assert lightning_trainer.lightning_module.model is trainer.model
    assert lightning_trainer.optimizers == [trainer.optimizer]
    assert lightning_trainer.lr_scheduler_configs[0].scheduler is trainer.scheduler


def test_own_run_batch_has_the_users_optimizer_and_its_steps_count(make, loader):
    seen = []

    class Own(Classifier):
        def run_batch(self, batch, **kwargs):
            seen.append(self.optimizer)
            batch = self._to_device(*batch)
            self.optimizer.zero_grad()
            step = self.train_step(batch)
            step["loss"].backward()
            self.optimizer.step()
            self.logging(step)

    trainer = make(Own)
    own = trainer.optimizer
    trainer.run(1, loader)
    assert all(optimizer is own for optimizer in seen)
    assert trainer.lightning_trainer.global_step == 3
    assert not own._optimizer_step_post_hooks


def test_own_run_batch_may_do_without_the_trainers_optimizer(make, loader):
    class Own(Classifier):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.private = torch.optim.SGD(self.model.parameters(), lr=0.1)

        def run_batch(self, batch, **kwargs):
            step = self.train_step(self._to_device(*batch))
            self.private.zero_grad()
            step["loss"].backward()
            self.private.step()
            self.logging(step)

    trainer = make(Own, optimizer=None)
    before = trainer.model.weight.detach().clone()
    trainer.run(1, loader)
    assert len(trainer.log_train["loss"]) == 3
    assert not torch.equal(before, trainer.model.weight)


def test_gradients_stay_until_the_next_batch(make, loader, valid_loader):
    class Looking(Classifier):
        def metric_on_epoch_end(self):
            return {"gradient": float(self.model.weight.grad.norm())}

    trainer = make(Looking)
    trainer.run(1, loader, valid_loader)
    assert trainer.train_metrics["gradient"] == trainer.test_metrics["gradient"] > 0


def test_lightning_still_keeps_the_hook_name_in_this_attribute():
    assert "_current_fx_name" in vars(L.LightningModule())


def test_lightning_skips_hooks_that_are_none(make, loader):
    trainer = make()
    trainer.run(1, loader)
    module = trainer.lightning_trainer.lightning_module
    assert module.on_after_backward is None
    assert call._call_lightning_module_hook(trainer.lightning_trainer, "on_after_backward") is None


def test_methods_patched_on_the_class_are_called(make, loader, monkeypatch):
    calls = []
    for name in ("run_batch", "print_log"):
        original = getattr(Trainer, name)

        def patched(self, *args, _original=original, _name=name, **kwargs):
            calls.append(_name)
            return _original(self, *args, **kwargs)

        monkeypatch.setattr(Trainer, name, patched)
    make().run(1, loader)
    assert calls == ["run_batch", "print_log"] * 3

    monkeypatch.setattr(Trainer, "run_epoch", lambda self, loader, **kwargs: calls.append("run_epoch"))
    make().run(2, loader)
    assert calls[6:] == ["run_epoch"] * 2


def test_results_are_logged_once_in_an_own_trainer(make, loader, valid_loader, tmp_path):
    from lightning.pytorch.loggers import CSVLogger

    logger, logged = CSVLogger(tmp_path), []
    logger.log_metrics = lambda metrics, step: logged.extend((name, step) for name in metrics if name != "epoch")
    own = L.Trainer(max_epochs=2, val_check_interval=0.5, logger=logger, accelerator="cpu", enable_progress_bar=False)
    own.fit(make().lightning_module, loader, valid_loader)
    assert len(logged) == len(set(logged))
    assert sum(name == "val_loss" for name, _ in logged) == 6
    assert sum(name == "train_loss" for name, _ in logged) == 2
