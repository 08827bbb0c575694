"""Added modules: they move to the module of the next run, and their weights are told from the model's."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn
from zae_lightning.added_modules import added_weights, load_added_weights, move_added_modules

from zae_engine.trainer.addons import StateManagerAddon


class AddsProbe(Callback):
    def setup(self, trainer, pl_module, stage):
        if not hasattr(pl_module, "probe"):
            pl_module.probe = nn.Linear(2, 2)
            pl_module.register_buffer("seen", torch.zeros(1))
            pl_module.register_buffer("scratch", torch.zeros(1), persistent=False)
            pl_module.scale = nn.Parameter(torch.ones(1))

    def on_train_batch_end(self, trainer, pl_module, *rest):
        pl_module.seen += 1
        pl_module.scratch += 1
        pl_module.probe.weight.data += 1


def test_the_models_weights_are_not_added_ones(make):
    module = make().lightning_module
    module.probe = nn.Linear(2, 2, bias=False)
    assert list(added_weights(module.state_dict())) == ["probe.weight"]


def test_weights_load_into_what_a_callback_has_added(make):
    module = make().lightning_module
    module.probe = nn.Linear(2, 2, bias=False)
    load_added_weights(module, {"probe.weight": torch.ones(2, 2)})
    assert torch.equal(module.probe.weight.detach(), torch.ones(2, 2))


def test_weights_that_no_module_takes_are_named(make):
    load_added_weights(make().lightning_module, {})  # no error
    with pytest.raises(ValueError, match=r"probe\.weight.*in setup"):
        load_added_weights(make().lightning_module, {"probe.weight": torch.ones(1)})


def test_modules_parameters_and_buffers_move(make):
    source, target = make().lightning_module, make().lightning_module
    AddsProbe().setup(None, source, "fit")
    model = target.model
    move_added_modules(source, target)
    assert target.model is model
    assert target.probe is source.probe
    assert target.scale is source.scale
    assert [name for name in target.state_dict() if "model" not in name] == [
        name for name in source.state_dict() if "model" not in name
    ]
    assert target.scratch is source.scratch
    move_added_modules(None, target)  # no previous run


def test_a_second_run_goes_on_with_added_modules(make, loader):
    trainer = make(callbacks=AddsProbe())
    trainer.run(1, loader)
    probe = trainer.lightning_trainer.lightning_module.probe
    trainer.run(1, loader)
    module = trainer.lightning_trainer.lightning_module
    assert module.probe is probe
    assert float(module.seen) == float(module.scratch) == 6


def test_state_files_have_the_weights_of_added_modules(make, loader, valid_loader, tmp_path):
    cls = type(make()).add_on(StateManagerAddon)
    first = make(cls, callbacks=AddsProbe(), save_path=str(tmp_path))
    first.run(1, loader, valid_loader)
    saved = first.lightning_trainer.lightning_module.probe.weight.detach().clone()
    second = make(cls, callbacks=AddsProbe(), save_path=str(tmp_path))
    second.load_state()
    loaded = []

    class Look(Callback):
        def on_train_start(self, trainer, pl_module):
            loaded.append(pl_module.probe.weight.detach().clone())

    second.callbacks.append(Look())
    second.run(1, loader, valid_loader)
    assert torch.equal(loaded[0], saved)
