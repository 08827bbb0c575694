"""The script that torchrun restarts: it loads the latest state, if there is one, and trains the epochs that are left."""

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

RANK, ATTEMPT = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])


class Elastic(Classifier.add_on(StateManagerAddon, MultiGPUAddon)):
    """Raises in one rank's validation, in the attempts and epochs that the arguments name."""

    failures: tuple[str, ...] = ()
    pause: float = 0.0

    def train_step(self, batch):
        time.sleep(self.pause)
        return {**super().train_step(batch), "world": float(os.environ["WORLD_SIZE"])}

    def test_step(self, batch):
        epoch = self.progress_checker.get_epoch()
        if f"{ATTEMPT}:{epoch}" in self.failures and RANK == 1:
            raise ValueError("of rank 1")
        return super().test_step(batch)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--fail", nargs="*", default=(), help="attempt:epoch")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds in each step")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = torch.randn(96, 10, generator=torch.Generator().manual_seed(1))
    data = TensorDataset(data, (data.sum(1) > 0).long())
    model = torch.nn.Linear(10, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    trainer = Elastic(
        model, "cpu", optimizer=optimizer, log_bar=False, save_path=str(arguments.folder / "state"), save_every=1
    )
    trainer.failures = tuple(arguments.fail)
    trainer.pause = arguments.pause
    trainer.load_state(missing_ok=True)
    trainer.run(until=arguments.epochs, loader=DataLoader(data, 4, shuffle=True), valid_loader=DataLoader(data, 16))
    found = {
        "attempt": ATTEMPT,
        "epochs": len(trainer.history),
        "losses": [record["train_loss"] for record in trainer.history],
        "worlds": [record["train_world"] for record in trainer.history],
        "weights": model.weight.tolist(),
    }
    (arguments.folder / f"rank{RANK}.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
