"""Kill the processes of a sharded model while they save every epoch, and see that each state is of one epoch.

``python -m tests.integration.crash_safety.kill_sharded_save [how many]`` prints the numbers.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import tempfile
import time
import warnings

import torch

from zae_engine.trainer.addons import StateManagerAddon
from zae_engine.trainer.utilities.sharded_tensors import is_sharded_module

from .kill_during_save import STEPS, Falling, epoch_of

SIZE = 2


class FallingShards(Falling):
    """Every step adds one to every weight of a sharded model."""

    def configure_model(self, device_mesh):
        from torch.distributed.fsdp import fully_shard

        for layer in self.model:
            fully_shard(layer, mesh=device_mesh["data_parallel"])
        fully_shard(self.model, mesh=device_mesh["data_parallel"])

    def train_step(self, batch):
        self.optimizer.param_groups[0]["steps"] = self.progress_checker.get_step()  # saved with the optimizer
        one = torch.ones(1, 300)  # each weight of the first layer has the gradient -1 times the sum of the next one
        return {"loss": -self.model[0](one).sum() - self.model[1](one).sum()}

    test_step = train_step


Counting = FallingShards.add_on(StateManagerAddon)


def make(folder, sharded):
    model = torch.nn.Sequential(torch.nn.Linear(300, 300, bias=False), torch.nn.Linear(300, 1, bias=False))
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0)
    arguments = {}
    if sharded:
        from lightning.pytorch.strategies import ModelParallelStrategy

        strategy = ModelParallelStrategy(data_parallel_size=SIZE, tensor_parallel_size=1)
        arguments["lightning"] = {"strategy": strategy}
    return Counting(
        model, "cpu", optimizer=optimizer, scheduler=scheduler, save_path=folder, log_bar=False, **arguments
    )


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def train(folder, rank, port):
    """Go on from the state in the folder without end, as one rank."""
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(SIZE), "LOCAL_WORLD_SIZE": str(SIZE)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    trainer = make(folder, sharded=True)
    trainer.load_state(missing_ok=True)
    trainer.run(1, [torch.zeros(1)] * STEPS * SIZE)
    assert is_sharded_module(trainer.model)
    open(os.path.join(folder, f".running{rank}"), "w").close()
    trainer.run(10**6, [torch.zeros(1)] * STEPS * SIZE)


def run_until_killed(folder, seconds, luck):
    """Start the ranks and kill them, one soon after the other; return whether they were saving at that moment."""
    port, children = free_port(), []
    flags = [os.path.join(folder, f".running{rank}") for rank in range(SIZE)]
    for rank in range(SIZE):
        child = os.fork()
        if child == 0:
            try:
                train(folder, rank, port)
            finally:
                os._exit(1)
        children.append(child)
    limit = time.monotonic() + 60
    while not all(map(os.path.exists, flags)):
        if time.monotonic() > limit:
            raise AssertionError("the ranks did not begin")
        time.sleep(0.01)
    time.sleep(seconds)
    luck.shuffle(children)
    for child in children:
        os.kill(child, signal.SIGKILL)
        time.sleep(luck.choice([0.0, 0.02]))
    ends = [os.waitpid(child, 0)[1] for child in children]
    if not os.WIFSIGNALED(ends[0]):  # the other one may have ended by the error that the first is gone
        raise AssertionError("a rank ended before it was killed")
    for flag in flags:
        os.remove(flag)
    return any(name.startswith(".sav") for name in os.listdir(folder))


def kill(times, folder, luck):
    """Kill so many times; return how many recoveries were whole, how many kills hit a save, and the last epoch."""
    whole = hits = epoch = 0
    torch.set_num_threads(1)
    make(os.path.join(folder, "first"), sharded=False).run(1, [torch.zeros(1)] * STEPS)  # imported before the forks
    folder = os.path.join(folder, "killed")
    os.makedirs(folder)
    for _ in range(times):
        hits += run_until_killed(folder, luck.uniform(0.0, 0.4), luck)
        trainer = make(folder, sharded=False)  # one process loads what two have saved
        trainer.load_state()
        found = epoch_of(trainer)
        if found < epoch:
            raise AssertionError(f"epoch {epoch} had been saved, but {found} was found")
        whole, epoch = whole + 1, found
    return whole, hits, epoch


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    with tempfile.TemporaryDirectory() as place:
        recovered, during, last = kill(number, place, random.Random(0))
    print(f"kills: {number}; while saving: {during}; recoveries, each of one epoch: {recovered}; last epoch: {last}")
    sys.exit(recovered != number)
