"""The script that torchrun restarts: it loads the latest state, if there is one, and trains the other epochs."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

import torch
from torch.utils.data import DataLoader, TensorDataset

from tests.conftest import Classifier
from zae_engine.trainer.addons import MultiGPUAddon, StateManagerAddon

RANK, SIZE = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
ATTEMPT = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))


class Elastic(Classifier.add_on(StateManagerAddon, MultiGPUAddon)):
    arguments: argparse.Namespace

    def train_step(self, batch):
        epoch, final = self.progress_checker.get_epoch(), self.arguments.final
        if final is None or not final.exists():
            time.sleep(self.arguments.pause)
        while final is not None and epoch == self.arguments.epochs and not final.exists():
            time.sleep(0.05)
        return {**super().train_step(batch), "size": float(SIZE)}

    def test_step(self, batch):
        if RANK == 1 and f"{ATTEMPT}:{self.progress_checker.get_epoch()}" in self.arguments.fail:
            raise ValueError("of rank 1")
        return super().test_step(batch)

    def check_better(self, cur_epoch, cur_loss):
        if RANK == 0:
            write(self.arguments.folder / "size.json", SIZE)
        return super().check_better(cur_epoch, cur_loss)


def write(path: Path, value: object) -> None:
    """Write a value, at once: other processes read the file meanwhile."""
    path.with_suffix(".part").write_text(json.dumps(value), encoding="utf-8")
    os.replace(path.with_suffix(".part"), path)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--fail", nargs="*", default=(), help="attempt:epoch, in the validation of rank 1")
    parser.add_argument(
        "--pause", type=float, default=0.0, help="seconds in each step, until there is the file --final"
    )
    parser.add_argument("--final", type=Path, help="a file without which the last epoch waits")
    parser.add_argument("--apart", action="store_true", help="whether each rank has a state of its own")
    arguments = Elastic.arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x = torch.randn(96, 10, generator=torch.Generator().manual_seed(1))
    data = TensorDataset(x, (x.sum(1) > 0).long())
    model = torch.nn.Linear(10, 2)
    state = arguments.folder / (f"state{RANK}" if arguments.apart and RANK else "state")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    trainer = Elastic(model, "cpu", optimizer=optimizer, log_bar=False, save_path=str(state), save_every=1)
    trainer.load_state(missing_ok=True)
    trainer.run(until=arguments.epochs, loader=DataLoader(data, 4, shuffle=True), valid_loader=DataLoader(data, 16))
    found = {
        "attempt": ATTEMPT,
        "epochs": len(trainer.history),
        "losses": [record["train_loss"] for record in trainer.history],
        "sizes": [record["train_size"] for record in trainer.history],
        "weights": model.weight.tolist(),
    }
    write(arguments.folder / f"rank{RANK}.json", found)


if __name__ == "__main__":
    main()
