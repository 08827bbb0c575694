import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, TensorDataset

from tests.conftest import Classifier


def loader():
    x = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), 4)


def trainer(cls=Classifier, model=None, **kwargs):
    torch.manual_seed(0)
    model = model or torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return cls(model, "cpu", optimizer=optimizer, log_bar=False, **kwargs)


def at(hook, act):
    return type("Acts", (Callback,), {hook: lambda self, trainer, module, *rest: act(trainer, module)})()


def test_the_modes_after_a_run_are_those_that_the_trainer_leaves_alone():
    for callbacks in ([], [Callback()]):
        made = trainer(callbacks=callbacks)
        made.run(1, loader(), loader())
        assert not any(part.training for part in made.model.modules())
        made.run(1, loader())
        assert all(part.training for part in made.model.modules())


def test_a_step_that_calls_backward_itself_trains_the_same_with_a_callback_that_sees_gradients():
    class Auxiliary(Classifier):
        def train_step(self, batch):
            self.model(batch[0]).square().mean().backward()
            return super().train_step(batch)

    weights = []
    for callbacks in ([], [at("on_before_zero_grad", lambda *_: None)]):
        made = trainer(Auxiliary, callbacks=callbacks)
        made.run(2, loader(), loader())
        weights.append(made.model[0].weight.detach().clone())
    assert torch.equal(*weights)


def test_a_step_that_sets_modes_trains_the_same_with_a_callback():
    class Switches(Classifier):
        def train_step(self, batch):
            output = super().train_step(batch)
            self.model.eval()
            return output

        def check_better(self, cur_epoch, cur_loss):
            self.model.eval()
            return super().check_better(cur_epoch, cur_loss)

    found = []
    for callbacks in ([], [Callback()]):
        made = trainer(Switches, callbacks=callbacks)
        made.run(2, loader(), loader())
        found.append(made.model[1].running_mean.clone())
    assert torch.equal(*found)


def test_an_optimizer_that_a_callback_puts_in_place_becomes_the_trainers():
    def replace(lightning_trainer, module):
        lightning_trainer.optimizers = [torch.optim.Adam(module.parameters(), lr=0.01)]

    made = trainer(callbacks=[at("on_train_start", replace)])
    made.run(1, loader())
    assert isinstance(made.optimizer, torch.optim.Adam)
    assert made.optimizer.state


@pytest.mark.parametrize(("clip", "cleared"), [(0.0, True), (1.0, False)])
def test_gradients_are_cleared_before_validation_unless_the_trainer_clips_by_all_of_them(clip, cleared):
    seen = []
    note = at("on_validation_start", lambda _, module: seen.append(module.model[0].weight.grad is None))
    trainer(callbacks=[note], gradient_clip=clip).run(1, loader(), loader())
    assert seen == [cleared]


def test_gradients_outlive_a_test_and_the_start_of_a_run():
    made = trainer()
    made.model[0].weight.grad = torch.ones(2, 3)
    made.inference(loader())
    assert made.model[0].weight.grad is not None


def test_the_module_of_an_own_trainer_clears_its_gradients():
    seen = []
    clear = at("on_train_batch_end", lambda _, module: (module.zero_grad(), seen.append(module.model[0].weight.grad)))
    made = trainer()
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    L.Trainer(max_epochs=1, callbacks=[clear], enable_model_summary=False, **options).fit(
        made.lightning_module, loader()
    )
    assert seen == [None] * 3
