"""Run upstream's shipped examples with the trainer of one of the two packages: ``shipped.py upstream|ours FILE``."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import random
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

FOLDER = Path(__file__).parent


def seed() -> None:
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)


def state(trainer: Any) -> dict[str, Any]:
    return {
        "weights": dict(trainer.model.state_dict()),
        "log_train": {key: list(values) for key, values in trainer.log_train.items()},
        "log_test": {key: list(values) for key, values in trainer.log_test.items()},
        "learning rate": trainer.optimizer.param_groups[0]["lr"],
        "steps": trainer.progress_checker.get_step(),
        "random state": torch.get_rng_state(),
    }


def cores() -> dict[str, Any]:
    """The 1-D classification and segmentation, on the ECG that is shipped, on noise, and on nothing.

    Their networks are untrained and find little; so what the trainers returned to them is looked at, too.
    """
    from zae_engine.examples import classification1D, segmentation1D
    from zae_engine.utils import example_ecg

    ecg = np.resize(example_ecg()[0], 5 * 2048).astype(float)
    noise = np.random.default_rng(0).normal(size=5 * 2048)
    found: dict[str, Any] = {}
    for kind, example in (("classification", classification1D), ("segmentation", segmentation1D)):
        returned = record_inference(example.InferenceTrainer)
        for name, x in (("ecg", ecg), ("noise", noise), ("zeros", np.zeros(2048)), ("nothing", np.zeros(0))):
            seed()
            found[f"{kind} of {name}"] = example.core(x)
            found[f"{kind} of {name}, random state"] = torch.get_rng_state()
        found[f"{kind}, what the trainers returned"] = returned
    return found


def record_inference(trainer_class: Any) -> list[list[torch.Tensor]]:
    """Return a list that gets what the trainers of a class return."""
    returned: list[list[torch.Tensor]] = []
    inference = trainer_class.inference

    def recorded(self: Any, loader: Any) -> Any:
        returned.append(list(outputs := inference(self, loader)))
        return outputs

    trainer_class.inference = recorded
    return returned


@contextlib.contextmanager
def torchvision_or_stand_in() -> Iterator[None]:
    """Let the diffusion example be imported: torchvision is for its MNIST and its drawing, which are not used here."""
    if importlib.util.find_spec("torchvision") is not None:
        yield
        return
    names = ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.utils")
    modules = {name: types.ModuleType(name) for name in names}
    for name in ("datasets", "transforms", "utils"):
        setattr(modules["torchvision"], name, modules[f"torchvision.{name}"])
    modules["torchvision.utils"].make_grid = None
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def diffusion() -> dict[str, Any]:
    """The diffusion trainer, as the example builds it, on small synthetic images.

    But for the collator's keys: with those that are shipped the example fails in its first step, in 0.7.6 itself.
    """
    with torchvision_or_stand_in():
        from zae_engine.examples import ddpm_mnist as example
    from zae_engine.data import CollateBase
    from zae_engine.nn_night.blocks import UNetBlock

    from zae_engine.schedulers import CosineAnnealingScheduler, SchedulerChain, WarmUpScheduler

    seed()
    images = torch.rand(24, 1, 32, 32) * 2 - 1
    noise_scheduler = example.NoiseScheduler(timesteps=12)
    collator = CollateBase(x_key=["pixel_values", "x_t", "x0", "t", "noise"], y_key=[], aux_key=[])
    collator.add_fn(name="forward_diffusion", fn=example.ForwardDiffusion(noise_scheduler=noise_scheduler))
    data = [{"pixel_values": image} for image in images]
    loader = DataLoader(data, batch_size=8, shuffle=True, collate_fn=collator.wrap())
    model = example.DDPM(UNetBlock, ch_in=1, ch_out=1, width=8, layers=[1, 1, 1, 1], skip_connect=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scheduler = SchedulerChain(
        WarmUpScheduler(optimizer=optimizer, total_iters=2),
        CosineAnnealingScheduler(optimizer=optimizer, total_iters=len(loader) * 3 - 2),
    )
    trainer = example.DDPMTrainer(
        model=model,
        device=torch.device("cpu"),
        mode="train",
        optimizer=optimizer,
        scheduler=scheduler,
        scheduler_step_on_batch=True,
        gradient_clip=0.0,
    )
    trainer.noise_scheduling(noise_scheduler)
    trainer.run(n_epoch=3, loader=loader, valid_loader=None)
    trained = state(trainer)
    samples = [trainer.generate(2, 1, 32, 32, intermediate=4, ddim=ddim) for ddim in (False, True)]
    return {"diffusion, trained": trained, "diffusion, samples": samples, "diffusion, after": state(trainer)}


def command_line_script(script: Path) -> dict[str, Any]:
    """The script that upstream's command writes, but for its MNIST: scikit-learn's digits, in its place."""
    import pandas as pd
    from sklearn.datasets import load_digits

    spec = importlib.util.spec_from_file_location("example_script", script)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    digits = load_digits()
    images = np.kron(digits.images[:96], np.ones((1, 3, 3)))
    x = pd.DataFrame(np.pad(images, ((0, 0), (2, 2), (2, 2))).reshape(96, -1) / 16)
    y = pd.Series(digits.target[:96])
    seed()
    train_loader = DataLoader(dataset=example.ExDataset(x[:64], y[:64]), batch_size=16, shuffle=True)
    valid_loader = DataLoader(dataset=example.ExDataset(x[64:], y[64:]), batch_size=32)
    model = example.CNNBase(block=example.BasicBlock, ch_in=1, ch_out=10, width=8, layers=[1, 1, 1, 1])
    optimizer = torch.optim.Adam(params=model.parameters(), lr=1e-3)
    scheduler = example.CosineAnnealingScheduler(optimizer=optimizer, total_iters=2 * len(train_loader))
    trainer = example.ExTrainer(model, device=torch.device("cpu"), optimizer=optimizer, scheduler=scheduler)
    trainer.run(n_epoch=2, loader=train_loader, valid_loader=valid_loader)
    trained = state(trainer)
    predicted = np.concatenate(trainer.inference(loader=valid_loader))
    matrix = example.confusion_matrix(y[64:].to_numpy(), predicted, num_classes=10)
    table = io.StringIO()
    with contextlib.redirect_stdout(table):
        example.print_confusion_matrix(matrix)
    return {"script": {"trained": trained, "predicted": predicted, "matrix": matrix, "table": table.getvalue()}}


def main(which: str, file: str) -> None:
    sys.path.insert(0, str(FOLDER.parents[1] / "parity"))
    import reference

    folder = reference.fetch()
    if which == "upstream":
        reference.install(folder)
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        found = {**cores(), **command_line_script(folder / "zae_cli" / "example_script.py"), **diffusion()}
    torch.save({"results": found, "trainer": sys.modules["zae_engine.trainer"].__file__}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
