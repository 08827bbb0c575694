"""Sharding hooks: what ``configure_model`` must do, on a mesh of one process."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tests.conftest import Classifier
from zae_engine.trainer.loops.epoch_hooks import EpochHooks
from zae_engine.trainer.loops.sharding_hooks import check_is_sharded
from zae_engine.trainer.utilities.sharded_tensors import is_sharded


class Sharded(Classifier):
    calls = 0

    def configure_model(self, device_mesh):
        from torch.distributed.fsdp import fully_shard

        self.calls += 1
        fully_shard(self.model, mesh=device_mesh["data_parallel"])


def hooks_of(trainer):
    return EpochHooks(trainer, None, {})


def test_the_model_is_sharded_once_with_optimizers_and_best_weights(make, device_mesh):
    trainer = make(Sharded)
    trainer.other = torch.optim.Adam(trainer.model.parameters())
    trainer.check_better(0, 1.0)
    best = trainer.weight_buffer["weight"][0]["weight"].clone()
    assert hooks_of(trainer).shards_model
    hooks_of(trainer).configure_model(device_mesh)
    hooks_of(trainer).configure_model(device_mesh)
    assert trainer.calls == 1
    for optimizer in (trainer.optimizer, trainer.other):
        assert optimizer.param_groups[0]["params"] == list(trainer.model.parameters())
    assert is_sharded(trainer.weight_buffer["weight"][0]["weight"])
    assert torch.equal(trainer.weight_buffer["weight"][0]["weight"].full_tensor(), best)


def test_an_optimizer_that_configure_model_makes_is_kept(make, device_mesh):
    class Making(Sharded):
        def configure_model(self, device_mesh):
            super().configure_model(device_mesh)
            self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.5)

    trainer = make(Making)
    hooks_of(trainer).configure_model(device_mesh)
    assert trainer.optimizer.param_groups[0]["lr"] == 0.5
    assert trainer.optimizer.param_groups[0]["params"] == list(trainer.model.parameters())


def test_a_trainer_without_configure_model_shards_nothing(make, device_mesh):
    trainer = make()
    assert not hooks_of(trainer).shards_model
    with pytest.raises(NotImplementedError, match=r"configure_model\(self, device_mesh\).*fully_shard"):
        hooks_of(trainer).configure_model(device_mesh)


def test_an_optimizer_with_a_closure_and_one_without_groups_are_errors(make, device_mesh):
    model = nn.Linear(10, 2)
    trainer = make(Sharded, model=model, optimizer=torch.optim.LBFGS(model.parameters()))
    with pytest.raises(TypeError, match=r"LBFGS needs a closure.*AdamW"):
        hooks_of(trainer).configure_model(device_mesh)
    trainer.optimizer = SimpleNamespace(step=None, zero_grad=None)
    with pytest.raises(TypeError, match=r"no list of param_groups.*set self\.optimizer in configure_model"):
        hooks_of(trainer).configure_model(device_mesh)


@contextmanager
def mesh(data, tensor):
    """Yield the mesh of rank 0 of several processes: torch's "fake" process group has no others."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=data * tensor)
    try:
        yield init_device_mesh("cpu", (data, tensor), mesh_dim_names=("data_parallel", "tensor_parallel"))
    finally:
        dist.destroy_process_group()


def test_what_is_not_sharded_is_named():
    model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(3)])
    with mesh(2, 1) as two:
        with pytest.raises(ValueError, match=r"not sharded 0\.weight, 0\.bias, 1\.weight and 3 more.*fully_shard"):
            check_is_sharded(model, two)
        check_is_sharded(nn.Linear(2, 2).requires_grad_(False), two)
    with mesh(1, 2) as two, pytest.raises(ValueError, match="has sharded no parameter"):
        check_is_sharded(model, two)
    with mesh(1, 1) as one:
        check_is_sharded(model, one)


def test_wrongly_weighted_samples_of_a_sharded_model_are_an_error(make, device_mesh):
    trainer = make(Sharded)
    hooks = hooks_of(trainer)
    hooks.check_shares(0.5, {})
    hooks.configure_model(device_mesh)
    hooks.check_shares(1.0, {})
    hooks.check_shares(0.5, {"loss": 1.0})
    with pytest.raises(ValueError, match=r"super\(\)\.run_batch\(batch\).*drop_last=True"):
        hooks.check_shares(0.5, {})


def test_a_run_epoch_that_leaves_the_model_whole_is_an_error(make, loader):
    from lightning.pytorch.strategies import ModelParallelStrategy

    class Own(Sharded):
        def run_epoch(self, loader, **kwargs):
            for batch in loader:
                self.run_batch(batch)

    strategy = ModelParallelStrategy(data_parallel_size=1, tensor_parallel_size=1)
    trainer = make(Own, lightning={"strategy": strategy})
    with pytest.raises(ValueError, match=r"does not call super\(\)\.run_epoch"):
        trainer.run(1, loader)


def test_states_are_whole_and_gradients_are_clipped_by_the_norm_of_all(make, device_mesh):
    trainer = make(Sharded)
    hooks = hooks_of(trainer)
    hooks.configure_model(device_mesh)
    assert not is_sharded(hooks.whole(trainer.model.state_dict())["weight"])
    trainer.model(torch.ones(3, 10)).sum().backward()
    hooks.clip_norm(list(trainer.model.parameters()), 0.5)
    norm = torch.stack([p.grad.full_tensor().norm() for p in trainer.model.parameters()]).norm()
    assert norm == pytest.approx(0.5, rel=1e-4)


def test_evaluation_leaves_the_parameters_sharded(make, device_mesh):
    trainer = make(Sharded)
    hooks = hooks_of(trainer)
    hooks.configure_model(device_mesh)
    with torch.no_grad():
        trainer.model(torch.ones(3, 10))
    assert not is_sharded(trainer.model.weight)
    hooks.leave_evaluation()
    assert is_sharded(trainer.model.weight)
