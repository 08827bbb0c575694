"""Play the cases and store what became of the trainers in a file for each rank."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import torch

from . import CASES


def observe(trainer) -> dict[str, Any]:
    lightning = trainer.lightning_trainer
    return {
        "weights": dict(trainer.model.state_dict()),
        "best weights": trainer.weight_buffer.get("weight"),
        "optimizer": trainer.optimizer.state_dict()["state"],
        "rates": [group["lr"] for group in trainer.optimizer.param_groups],
        "log_train": dict(trainer.log_train),
        "log_test": dict(trainer.log_test),
        "losses": [trainer.get_loss_history("train"), trainer.get_loss_history("test")],
        "metrics": [trainer.train_metrics, trainer.test_metrics],
        "best": [trainer.loss_buffer, trainer.weight_buffer.get("epoch")],
        "epoch": trainer.progress_checker.get_epoch(),
        "steps": None if lightning is None or trainer.mode == "test" else lightning.global_step,
        "outputs": getattr(trainer, "outputs", None),
        "random": torch.rand(3),
        "mode": trainer.mode,
    }


def main(file: str) -> None:
    torch.set_num_threads(1)
    results = {}
    for name, function in CASES.items():
        torch.manual_seed(3)
        print(name, file=sys.stderr)
        try:
            results[name] = observe(function())
        except Exception:
            results[name] = {"error": traceback.format_exc()}
    torch.save(results, Path(f"{file}.{os.environ.get('RANK', 'alone')}"))


if __name__ == "__main__":
    main(sys.argv[1])
