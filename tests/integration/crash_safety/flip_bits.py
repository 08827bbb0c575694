"""Flip single bits in every file of a saved state, and see that none of them is loaded in silence.

``python -m tests.integration.crash_safety.flip_bits [how many]`` prints the numbers for each file, in both formats.
"""

from __future__ import annotations

import os
import pickle
import random
import sys
import tempfile
import warnings
from functools import partial

import numpy as np
import torch

from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import StateManagerAddon

FILES = {
    "ckpt": ("model.ckpt", "optimizer.zae", "scheduler.zae", "trainer.zae"),
    "safetensor": ("model.safetensor", "optimizer.zae", "scheduler.zae", "trainer.zae"),
}


class Saving(Trainer.add_on(StateManagerAddon)):
    def train_step(self, batch):
        return {"loss": self.model(torch.stack(batch)).square().mean()}

    test_step = train_step


def make(folder, save_format="ckpt", seed=0):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)
    return Saving(
        model, "cpu", optimizer=optimizer, scheduler=scheduler, save_path=folder, save_format=save_format, log_bar=False
    )


def train(trainer, epochs=2):
    trainer.run(epochs, [torch.randn(5, 4) for _ in range(2)])
    trainer.save_state()
    return trainer


def fingerprint(trainer):
    """Return all that loading could change, as bytes."""
    parts = [trainer.model.state_dict(), trainer.optimizer.state_dict(), trainer.scheduler.state_dict()]
    records = [list(trainer.history), trainer.history.steps("train"), trainer.history.steps("test")]
    best = [trainer.weight_buffer, trainer.loss_buffer, trainer.saved_loss]
    progress = [trainer.progress_checker.get_step(), trainer.progress_checker.get_epoch(), trainer.mode]
    results = [trainer.train_metrics, trainer.test_metrics]
    generators = [torch.get_rng_state(), np.random.get_state(), random.getstate()]
    return pickle.dumps([_plain(value) for value in (parts, records, best, progress, results, generators)])


def _plain(value):
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return np.asarray(value).dtype.str, np.asarray(value).shape, np.asarray(value).tobytes()
    if isinstance(value, dict):
        return [(key, _plain(element)) for key, element in value.items()]
    return [_plain(element) for element in value] if isinstance(value, (list, tuple)) else value


def flipped(data, luck):
    """Return the data with one bit changed."""
    place = luck.randrange(len(data) * 8)
    changed = bytearray(data)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def all_flipped(data, times, luck):
    """Return so many copies of the data, each with one bit changed."""
    return (flipped(data, luck) for _ in range(times))


def try_damages(folder, name, save_format, damages):
    """Try to load a state with each damage to a file; return how many were refused by name, with nothing changed."""
    trainer = train(make(os.path.join(folder, "..", "other"), save_format, seed=1), 1)
    trainer.save_path = folder
    before, path, refused = fingerprint(trainer), os.path.join(folder, name), 0
    with open(path, "rb") as file:
        whole = file.read()
    for damaged in damages(whole):
        with open(path, "wb") as file:
            file.write(damaged)
        try:
            trainer.load_state()
        except ValueError as error:
            refused += name in str(error) and "Nothing has been loaded" in str(error) and fingerprint(trainer) == before
    with open(path, "wb") as file:
        file.write(whole)
    trainer.load_state()  # the same file without the damage
    assert fingerprint(trainer) != before
    return refused


if __name__ == "__main__":
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", module=r"(torch|lightning)\.")
    torch.set_num_threads(1)
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    is_complete = True
    for kind, names in FILES.items():
        for file_name in names:
            with tempfile.TemporaryDirectory() as place:
                state = os.path.join(place, "state")
                train(make(state, kind))
                number = try_damages(state, file_name, kind, partial(all_flipped, times=times, luck=random.Random(0)))
            print(f"{kind}: {file_name}: {times} bits flipped, {number} refused by name, the trainer unchanged")
            is_complete &= number == times
    sys.exit(not is_complete)
