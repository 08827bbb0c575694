"""Kill a run that saves every epoch, again and again, and see that what it leaves is always of one epoch.

``python -m tests.integration.crash_safety.kill_during_save [how many]`` (``nox -s kills``) prints the numbers.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
import warnings

import torch

from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import StateManagerAddon

STEPS = 3


class Falling(Trainer):
    """Every step adds one to every weight, and the loss falls with every epoch, so that each is saved."""

    def train_step(self, batch):
        self.optimizer.param_groups[0]["steps"] = self.progress_checker.get_step()  # saved with the optimizer
        return {"loss": -sum(parameter.sum() for parameter in self.model.parameters())}

    def check_better(self, cur_epoch, cur_loss):
        return super().check_better(cur_epoch, -cur_epoch)

    test_step = train_step


Counting = Falling.add_on(StateManagerAddon)  # the add-on's methods are the outermost: it saves in the background


def make(folder, cls=Counting):
    # A few hundred kilobytes: writing them is most of an epoch, so that most kills come while it is going on.
    model = torch.nn.Sequential(torch.nn.Linear(300, 300, bias=False), torch.nn.Linear(300, 1, bias=False))
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0)
    return cls(model, "cpu", optimizer=optimizer, scheduler=scheduler, save_path=folder, log_bar=False)


def epoch_of(trainer):
    """Return the epoch that a trainer's parts are of; an error if they are of several."""
    steps = trainer.progress_checker.get_step() - 1
    weights = {value.item() for parameter in trainer.model.parameters() for value in parameter.unique()}
    parts = {
        "weights": weights,
        "optimizer": {float(trainer.optimizer.param_groups[0]["steps"])},
        "scheduler": {float(trainer.scheduler.last_epoch * STEPS)},
        "history": {float(len(trainer.history) * STEPS)},
        "losses": {float(len(trainer.history.steps()))},
        "epochs": {float((trainer.progress_checker.get_epoch() - 1) * STEPS)},
        "best": {float((-trainer.loss_buffer + 1) * STEPS)},
        "best weights": set(trainer.weight_buffer["weight"][-1]["1.weight"].unique().tolist()),
    }
    if any(values != {float(steps)} for values in parts.values()):
        raise AssertionError(f"after {steps} steps: {parts}")
    return steps // STEPS


def run_until_killed(folder, seconds):
    """Start a run in a process of its own and kill it; return whether it was saving at that moment."""
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            trainer = make(folder)
            if os.path.exists(os.path.join(folder, "trainer.zae")) or os.path.exists(os.path.join(folder, ".saved")):
                trainer.load_state()
            trainer.run(10**6, [torch.zeros(1)] * STEPS)
        finally:
            os._exit(1)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise AssertionError("the run ended before it was killed")
    return any(name.startswith(".sav") for name in os.listdir(folder))


def kill(times, folder, luck):
    """Kill so many times; return how many recoveries were whole, how many kills hit a save, and the last epoch."""
    whole = hits = epoch = 0
    torch.set_num_threads(1)
    make(os.path.join(folder, "first")).run(1, [torch.zeros(1)] * STEPS)  # all is imported before the forks
    folder = os.path.join(folder, "killed")
    os.makedirs(folder)
    while not os.path.exists(os.path.join(folder, "trainer.zae")):
        run_until_killed(folder, 0.5)
    for _ in range(times):
        hits += run_until_killed(folder, luck.uniform(0.05, 0.35))
        trainer = make(folder)
        trainer.load_state()
        found = epoch_of(trainer)
        if found < epoch:
            raise AssertionError(f"epoch {epoch} had been saved, but {found} was found")
        whole, epoch = whole + 1, found
    left = sorted(os.listdir(folder))
    trainer.save_state()
    return whole, hits, epoch, left, sorted(os.listdir(folder))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as place:
        recovered, during, last, _, after = kill(number, place, random.Random(0))
    print(f"kills: {number}; while saving: {during}; recoveries, each of one epoch: {recovered}; last epoch: {last}")
    print(f"files after one more save: {', '.join(after)}")
    sys.exit(recovered != number)
