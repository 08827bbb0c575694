"""Cases of training and evaluating a model that FSDP2 shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from zae_engine.trainer.addons import MultiGPUAddon, PrecisionMixerAddon

from .common import Sharded, case, data, loaders, observe, run, trainer_of


@case
def adam(folder: Path) -> dict[str, Any]:
    return observe(run(trainer_of()))


@case
def sgd_with_momentum_and_uneven_batches(folder: Path) -> dict[str, Any]:
    def sgd(groups: Any, lr: float) -> Any:
        return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)

    return observe(run(trainer_of(optimizer=sgd), n=37))


@case
def with_multi_gpu_addon(folder: Path) -> dict[str, Any]:
    return observe(run(trainer_of(Sharded.add_on(MultiGPUAddon))))


@case
def clipped_by_gradient_clip(folder: Path) -> dict[str, Any]:
    return observe(run(trainer_of(optimizer=torch.optim.SGD, lr=0.5, gradient_clip=0.05)))


@case
def clipped_by_lightning(folder: Path) -> dict[str, Any]:
    return observe(run(trainer_of(optimizer=torch.optim.SGD, lr=0.5, lightning={"gradient_clip_val": 0.05})))


@case
def clipped_by_torch_in_run_batch(folder: Path) -> dict[str, Any]:
    class Clips(Sharded):
        def run_batch(self, batch: Any, **kwargs: Any) -> None:
            batch = self._to_device(*batch)
            self.model.train(self.mode == "train")
            with torch.set_grad_enabled(self.mode == "train"):
                step = self.train_step(batch)
            if self.mode == "train":
                self.optimizer.zero_grad()
                step["loss"].backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 0.05)
                self.optimizer.step()
            self.logging(step)
            self.progress_checker.update_step()

    return observe(run(trainer_of(Clips, optimizer=torch.optim.SGD, lr=0.5)))


@case
def run_batch_that_calls_super(folder: Path) -> dict[str, Any]:
    class Calls(Sharded):
        def run_batch(self, batch: Any, **kwargs: Any) -> None:
            super().run_batch(batch, **kwargs)

    return observe(run(trainer_of(Calls, gradient_clip=0.1), n=37))


@case
def accumulated(folder: Path) -> dict[str, Any]:
    return observe(run(trainer_of(lightning={"accumulate_grad_batches": 2})))


@case
def bf16(folder: Path) -> dict[str, Any]:
    return observe(run(trainer_of(Sharded.add_on(PrecisionMixerAddon), precision="bf16")))


@case
def bf16_weights(folder: Path) -> dict[str, Any]:
    return observe(run(trainer_of(lr=0.01, lightning={"precision": "bf16-true"})))


@case
def two_runs_and_evaluations(folder: Path) -> dict[str, Any]:
    trainer = run(trainer_of(), epochs=2)
    first = trainer.evaluate(loaders()[1])
    run(trainer, epochs=2)
    numbers = data(30).tensors[0]
    outputs = [trainer.predict(DataLoader(data(30), 4)), trainer.predict(numbers, batch_size=7)]
    best = [trainer.evaluate(loaders()[1], weights="best"), trainer.predict(numbers, weights="best")]
    indices = torch.cat(trainer.inference(DataLoader(data(30), 4)))
    return observe(trainer, evaluated=[first, best], outputs=outputs, indices=indices)


@case
def evaluated_before_the_first_run(folder: Path) -> dict[str, Any]:
    trainer = trainer_of()
    before = [trainer.predict(data(30).tensors[0]), trainer.evaluate(loaders()[1])]
    return observe(run(trainer), before=before)
